"""Starts that were written down before their turn, and what became of those that no record tells of."""

from __future__ import annotations

from collections.abc import Callable

from aiflow_ext.model.attempt import Lookup
from aiflow_ext.model.states import JobState
from aiflow_ext.run.ledger import Ledger
from aiflow_ext.run.plan import attempt_folder
from aiflow_ext.run.records import AttemptRecord, JobRecord


def open_promises(ledger: Ledger) -> list[tuple[JobRecord, int, str]]:
    """Promised attempts of which there is no record: job, number, native id."""
    jobs = ledger.record.jobs
    return [
        (jobs[name], number, native_id)
        for name, number, native_id in ledger.store.promised(ledger.record.run_id)
        if not jobs[name].state.ended and len(jobs[name].attempts) == number - 1
    ]


def keep_promises(ledger: Ledger, look_up: Callable[[AttemptRecord], Lookup]) -> None:
    """Have a record for each promised attempt that has been started; flushed by the caller.

    What has not been started, or provably never will be known to have been (a power loss takes the last records of such
    platforms anyway), comes when it is its turn. Where the platform gives no answer it may have been.
    """
    for job, number, native_id in open_promises(ledger):
        attempt = AttemptRecord(job.name, number, attempt_folder(ledger.record.folder, job.name, number))
        attempt.native_id = native_id
        try:
            started = look_up(attempt) is Lookup.FOUND
        except Exception:
            started = True
        if started:
            attempt = ledger.attempt(job, attempt.folder)
            ledger.move(attempt, JobState.SUBMITTING, native_id=native_id, step="resources")
