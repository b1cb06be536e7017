"""Start intents, committed before an attempt has a slot, and how those without a record of the attempt are resolved."""

from __future__ import annotations

from collections.abc import Callable

from aiflow_ext.model.attempt import Lookup
from aiflow_ext.model.states import JobState
from aiflow_ext.run.planning.plan import attempt_folder
from aiflow_ext.run.store.ledger import Ledger
from aiflow_ext.run.store.records import AttemptRecord, JobRecord


def open_start_intents(ledger: Ledger) -> list[tuple[JobRecord, int, str]]:
    """Start intents of attempts that have no record yet: job, number, native id."""
    jobs = ledger.record.jobs
    return [
        (jobs[name], number, native_id)
        for name, number, native_id in ledger.store.start_intents(ledger.record.run_id)
        if not jobs[name].state.ended and len(jobs[name].attempts) == number - 1
    ]


def settle_start_intents(ledger: Ledger, look_up: Callable[[AttemptRecord], Lookup]) -> None:
    """Make a record for each attempt with a start intent that has been started; flushed by the caller.

    A job that was not started gets its attempt like any other job. If the platform does not answer, it counts as
    started.
    """
    for job, number, native_id in open_start_intents(ledger):
        attempt = AttemptRecord(job.name, number, attempt_folder(ledger.record.folder, job.name, number))
        attempt.native_id = native_id
        try:
            started = look_up(attempt) is Lookup.FOUND
        except Exception:
            started = True
        if started:
            attempt = ledger.attempt(job, attempt.folder)
            ledger.move(attempt, JobState.SUBMITTING, native_id=native_id, step="resources")
