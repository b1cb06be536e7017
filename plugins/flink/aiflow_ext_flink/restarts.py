"""How often Flink restarts the jobs of attempts: its REST API alone tells, and not the platform that they run on."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from aiflow_ext.plugin import PlatformError
from aiflow_ext_flink.rest import FlinkRest
from aiflow_ext_flink.verdict import restarts_of

EVERY = 10.0  # seconds between two looks at an attempt, as far as Flink answers that fast
NO_SLOTS = "NoResourceAvailableException"  # in the cause of a job whose tasks have got no slots in time
_log = logging.getLogger("aiflow_ext")
_RESTARTING = ("RESTARTING", "FAILING")  # org.apache.flink.api.common.JobStatus


class Restarts(NamedTuple):
    """What Flink says of the restarts of an attempt's job.

    Attributes:
        times: how often it was restarted.
        why: the root cause of the last time; empty where Flink does not say.
        is_restarting: whether it is being restarted now.
    """

    times: int = 0
    why: str = ""
    is_restarting: bool = False

    @property
    def words(self) -> str | None:
        """The warning to show; None while the job runs."""
        if not self.is_restarting or not self.why:
            return None
        return f"restarted {self.times} times; the last time because of {self.why}"


def is_restarting(jobs: Iterable[Mapping[str, Any]]) -> bool:
    """Whether Flink restarts one of the jobs, each with its ``state``."""
    return any(each.get("state") in _RESTARTING for each in jobs)


def restarts_at(rest: FlinkRest, jobs: Iterable[Mapping[str, Any]]) -> Restarts:
    """The restarts of an attempt's jobs. Raises PlatformError.

    Args:
        rest: of their cluster.
        jobs: each with ``jid`` and ``state``. One that is being restarted counts, else the first one.
    """
    found = list(jobs)
    if not found:
        return Restarts()
    restarting = [each for each in found if each.get("state") in _RESTARTING]
    job = str((restarting or found)[0]["jid"])
    remembered, why = restarts_of(rest.exceptions(job))  # of the last few
    return Restarts(max(remembered, rest.restarts(job)), why, bool(restarting))


class Watch:
    """Looks at attempts from time to time, in a thread of its own: a cluster that is slow holds up no events."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[str, Callable[[], Restarts]] = {}
        self._found: dict[str, Restarts] = {}
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def follow(self, native_id: str, ask: Callable[[], Restarts]) -> None:
        """Look at an attempt from now on. ``ask`` may raise PlatformError: then it is asked again later."""
        with self._lock:
            self._asked.setdefault(native_id, ask)
            if self._thread is None:
                own = weakref.ref(self), self._closed
                self._thread = threading.Thread(target=_look, args=own, daemon=True, name="aiflow-restarts")
                self._thread.start()

    def leave(self, native_id: str) -> None:
        """Look at an attempt no more."""
        with self._lock:
            self._asked.pop(native_id, None)
            self._found.pop(native_id, None)

    def found(self, native_id: str) -> Restarts:
        """What the last look at an attempt has found; no restarts before that."""
        return self._found.get(native_id, Restarts())

    def close(self) -> None:
        """Look no more."""
        self._closed.set()

    def look(self) -> None:
        """Look at each attempt once."""
        with self._lock:
            asked = dict(self._asked)
        for native_id, ask in asked.items():
            try:
                found = ask()
            except PlatformError:
                continue
            except Exception:
                _log.debug("the restarts of %s cannot be told", native_id, exc_info=True)
                continue
            with self._lock:
                if native_id in self._asked:
                    self._found[native_id] = found


def _look(watch: weakref.ref[Watch], closed: threading.Event) -> None:
    """Look from time to time, until the watch is closed, or nobody has it any more."""
    while not closed.wait(EVERY):
        if (here := watch()) is None:
            return
        here.look()
        del here
