"""Delivers the end of a run to an extension, in a thread of its own; what fails is delivered by the next driver."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from aiflow_ext.host.extensions import Hook, call, words_of
from aiflow_ext.model.errors import StateError
from aiflow_ext.run.driving.ended import ended_run
from aiflow_ext.run.driving.notify import Notifier
from aiflow_ext.run.store.records import RunRecord
from aiflow_ext.run.store.store import Store

_log = logging.getLogger("aiflow_ext")


class RunEnd:
    """Delivers the end of a run to one extension, once; it is recorded as delivered when the hook has returned.

    Args:
        hook: the extension's ``on_run_end``.
        store: the store; only the driver's thread uses it.
        record: of the run, which has ended.
        traceparent: as :class:`~aiflow_ext.model.attempt.EndedRun`'s.
        before: delivers the transitions to this extension, which come first; None: it receives none.
        done: called in the hook's thread when it has returned or raised.
    """

    def __init__(
        self,
        hook: Hook,
        store: Store,
        record: RunRecord,
        traceparent: str | None,
        before: Notifier | None,
        done: Callable[[], None],
    ) -> None:
        assert record.ended_at is not None
        self.hook, self._store, self._run_id, self._ended_at = hook, store, record.run_id, record.ended_at
        self._before, self._done, self._raised, self._since = before, done, "", time.monotonic()
        self._returned = False
        self._thread: threading.Thread | None = None
        known = store.deliveries.run_end(record.run_id, hook.extension)
        if known is None or known < record.ended_at:
            event = ended_run(record, known, traceparent)
            name = f"aiflow-extension-{hook.extension}-end"
            self._thread = threading.Thread(target=self._call, args=(event,), daemon=True, name=name)
            self._thread.start()

    @property
    def behind(self) -> bool:
        """Whether the hook has not returned yet."""
        return self._thread is not None and not self._returned

    def until(self, limit: float, deadline: float) -> float:
        """The latest time, of ``time.monotonic()``, to wait for it."""
        return min(self._since + limit, deadline)

    def close(self, limit: float) -> None:
        """Record how the delivery has ended, in the driver's thread; a call that has not returned is abandoned."""
        if self._thread is None:
            return
        problem: str | None = self._raised or None
        if self.behind:
            seconds = time.monotonic() - self._since
            problem = f"on_run_end has not returned for {min(seconds, limit):.3g} s"
        with contextlib.suppress(StateError):  # the driver gets and reports that error itself
            if problem is None:
                self._store.deliveries.set_run_end(self._run_id, self.hook.extension, self._ended_at)
            self._store.deliveries.note(self._run_id, self.hook.extension, problem)
        if problem is not None:
            _log.warning("%s: %s; to deliver it again: aiflow-ext resume %s", self.hook.where, problem, self._run_id)

    # -- in its own thread ------------------------------------------------------------------------------------------

    def _call(self, event: object) -> None:
        while self._before is not None and self._before.behind:
            time.sleep(0.01)
        try:
            call(self.hook, event)
        except BaseException as error:  # SystemExit and KeyboardInterrupt too: they end nothing here
            self._raised = f"on_run_end raised {words_of(error)}"
            _log.debug("%s", self.hook.where, exc_info=error)
        finally:
            self._returned = True
            self._done()
