"""Logs kept as soon as an attempt has ended, beside what else goes on: its node has them for a moment longer."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from aiflow_ext.model.errors import PlatformError
from aiflow_ext_yarn.attempt import KEEP_WAIT, Attempt

AT_ONCE = 4
_pool: ThreadPoolExecutor | None = None
_kept: dict[str, Future[bool]] = {}
_lock = threading.Lock()


def keep_soon(attempt: Attempt, app: dict[str, Any]) -> None:
    """Begin to keep the logs of an attempt that has ended, in the background."""
    global _pool
    with _lock:
        if attempt.native_id in _kept:
            return
        if _pool is None:
            _pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="aiflow-yarn-logs")
        _kept[attempt.native_id] = _pool.submit(_keep, attempt, app)


def _keep(attempt: Attempt, app: dict[str, Any]) -> bool:
    try:
        return attempt.keep(app)
    except (PlatformError, OSError):
        return False


def keep_now(attempt: Attempt) -> bool:
    """Whether the logs are kept; waits for what was begun, and tries again where that failed."""
    with _lock:
        begun = _kept.pop(attempt.native_id, None)
    if begun is not None and begun.result(KEEP_WAIT * 4):
        return True
    return attempt.keep()
