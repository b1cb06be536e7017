"""Attempts that run in their client's process. They have ended when that has, whether it could record it or not."""

from __future__ import annotations

import os

from aiflow_ext.model.states import JobState
from aiflow_ext.run.store.ledger import Ledger
from aiflow_ext.run.store.reconcile import end_of
from aiflow_ext.run.store.records import AttemptRecord, RunRecord

_BEGIN = "in-process:"  # of native ids; no platform's begins so


def own_native_id() -> str:
    """The native id of an attempt in this process."""
    return f"{_BEGIN}{os.getpid()}"


def process_of(attempt: AttemptRecord) -> str | None:
    """The pid of the client in whose process an attempt runs or has run; None: it is an attempt of a platform."""
    native_id = attempt.native_id or ""
    return native_id[len(_BEGIN) :] if native_id.startswith(_BEGIN) else None


def was_in_process(record: RunRecord) -> bool:
    """Whether no attempt of a run has come to a platform, because all ran in their client's process."""
    attempts = [attempt for job in record.jobs.values() for attempt in job.attempts]
    return bool(attempts) and all(process_of(attempt) is not None for attempt in attempts)


def settle(ledger: Ledger) -> None:
    """Record as LOST what a client has left that was killed. The caller holds the run's lock: no such client lives."""
    for attempt in ledger.record.live():
        if process_of(attempt) is not None:
            words = f"process {process_of(attempt)}, in which it ran, has ended without recording how"
            ledger.end(attempt, end_of(attempt, JobState.LOST, reason=words))
            ledger.note(attempt, cleaned=True)
    if ledger.pending:
        ledger.flush()
