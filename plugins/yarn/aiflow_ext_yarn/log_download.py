"""Logs kept as soon as an attempt has ended, beside what else goes on: its node has them for a moment longer."""

from __future__ import annotations

import threading
from typing import Any

from aiflow_ext.model.errors import PlatformError
from aiflow_ext_yarn.application import Application

_free = threading.BoundedSemaphore(4)  # logs of so many attempts at once
_begun: dict[str, _Keeping] = {}
_lock = threading.Lock()


class _Keeping(threading.Thread):
    """Keeps one attempt's logs. A daemon: a command that only looks does not wait for it; a file is there whole or not
    at all."""

    def __init__(self, attempt: Application, app: dict[str, Any]) -> None:
        super().__init__(name="aiflow-yarn-logs", daemon=True)
        self.attempt, self.app, self.kept = attempt, app, False

    def run(self) -> None:
        with _free:
            try:
                self.kept = self.attempt.keep(self.app)
            except (PlatformError, OSError):
                pass  # whoever needs them tries again, and tells


def start_download(attempt: Application, app: dict[str, Any]) -> None:
    """Begin to keep the logs of an attempt that has ended, in the background."""
    with _lock:
        if attempt.native_id in _begun:
            return
        keeping = _begun[attempt.native_id] = _Keeping(attempt, app)
    keeping.start()


def finish_download(attempt: Application) -> bool:
    """Whether the logs are kept; waits for what was begun, and does it where nothing was.

    A second time is for a later cleanup: others wait behind this one.
    """
    with _lock:
        begun = _begun.pop(attempt.native_id, None)
    if begun is None:
        return attempt.keep()
    begun.join()
    return begun.kept
