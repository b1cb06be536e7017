"""Finds out when the jobs that serve others are ready."""

from __future__ import annotations

import logging
import threading
from functools import partial

from aiflow_ext.model.config import Ready
from aiflow_ext.model.errors import said_by
from aiflow_ext.run.driving.attempt import Attempt
from aiflow_ext.run.driving.scheduler import Scheduler
from aiflow_ext.run.driving.state import DriverState
from aiflow_ext.run.driving.stopping import Stopping
from aiflow_ext.run.planning.serving import ready_of
from aiflow_ext.run.store.records import AttemptRecord

_log = logging.getLogger("aiflow_ext")
_NOT_YET = "not ready yet"


class Serving:
    """Has attempts of jobs with ``ready`` checked while they run, until they are ready or it is too late."""

    def __init__(self, state: DriverState, scheduler: Scheduler, stopping: Stopping) -> None:
        self._state, self._scheduler, self._stopping = state, scheduler, stopping

    def begin(self, attempt: Attempt) -> None:
        """Check an attempt, if it runs and has to be ready; its time under an earlier driver counts. One that was ready
        then is checked again, without a limit: it may have ended since."""
        ready, record = ready_of(attempt.planned.config), attempt.record
        if ready is None or record.started_at is None or record.being_ended:
            return
        if record.ready_at is None:
            left = ready.within - max(0.0, self._state.ledger.now() - record.started_at)
            self._state.inbox.later(left, partial(self._end_late, attempt, ready))
        self._check(attempt, ready)

    def _check(self, attempt: Attempt, ready: Ready) -> None:
        if not self._is_over(attempt):
            threading.Thread(target=self._ask, args=(attempt, ready), daemon=True, name="aiflow-ready").start()

    def _ask(self, attempt: Attempt, ready: Ready) -> None:
        """Have the platform check; in a thread of its own, as a check may take its time."""
        assert attempt.job is not None
        try:
            answer = attempt.adapter.is_ready(attempt.job)
        except Exception as error:
            _log.debug("is_ready failed", exc_info=True)
            answer = said_by(error)
        self._state.post(partial(self._answered, attempt, ready, answer))

    def _answered(self, attempt: Attempt, ready: Ready, answer: bool | str) -> None:
        if self._is_over(attempt):
            return
        record, ledger = attempt.record, self._state.ledger
        if answer is True:
            if record.ready_at is None:
                ledger.note(record, ready_at=ledger.now())
            if ledger.waits(record, "ready", unreachable=record.unreachable):
                self._tell(record)
            self._scheduler.serves(attempt.planned.name)
            return
        if not record.unreachable and ledger.waits(record, f"{_NOT_YET}: {answer}" if answer else _NOT_YET):
            self._tell(record)
        self._state.inbox.later(ready.every, partial(self._check, attempt, ready))

    def _tell(self, record: AttemptRecord) -> None:
        """Report what was noted of an attempt, after the transitions before it."""
        self._state.committer.flush()
        self._state.listeners.tell_waiting(record)

    def _end_late(self, attempt: Attempt, ready: Ready) -> None:
        if self._is_over(attempt):
            return
        last = (attempt.record.reason or "").removeprefix(_NOT_YET).removeprefix(": ")
        words = f"it was not ready ({ready}) within {ready.within:g} s"
        self._stopping.end_late(attempt, f"{words}: {last}" if last else words)

    def _is_over(self, attempt: Attempt) -> bool:
        return attempt.has_ended or attempt.record.being_ended or self._scheduler.is_ready(attempt.planned.name)
