"""The only place that changes a run's records: in memory and, before anybody is told, in the store."""

from __future__ import annotations

import time
from typing import Any

from aiflow_ext.model.states import JobState
from aiflow_ext.run.records import AttemptRecord, JobRecord, RunRecord, Transition
from aiflow_ext.run.store import Store


class Ledger:
    """The records of one run that is being driven.

    Every method raises StateError where the store cannot be written; the record in memory has changed all the same.
    """

    def __init__(self, record: RunRecord, store: Store) -> None:
        self.record, self.store = record, store
        self._seq = store.last_seq(record.run_id)

    def attempt(self, job: JobRecord, folder: str) -> AttemptRecord:
        """A new attempt of ``job``, in state INIT."""
        made = AttemptRecord(job.name, len(job.attempts) + 1, folder)
        job.attempts.append(made)
        job.state, job.reason = JobState.INIT, None
        return made

    def move(
        self, attempt: AttemptRecord, state: JobState, at: float | None = None, *, durable: bool = False, **facts: Any
    ) -> Transition | None:
        """Bring an attempt to ``state``; None where it cannot go there any more (a late or repeated event).

        ``durable``: return only once a power loss cannot undo it.
        """
        attempt.learn(**facts)
        if not attempt.state.may_become(state):
            return None
        previous, attempt.state = attempt.state, state
        now = at if at is not None else time.time()
        if state is JobState.SUBMITTING:
            attempt.submitted_at = now
        elif state is JobState.RUNNING:
            attempt.started_at = now
        elif state.ended:
            attempt.ended_at = now
        job = self.record.jobs[attempt.job]
        if job.last is attempt:
            job.state, job.reason = state, attempt.reason
        transition = Transition(
            self._next(), self.record.run_id, attempt.job, attempt.number, state, previous, now,
            native_id=attempt.native_id, exit_code=attempt.exit_code, signal=attempt.signal, reason=attempt.reason,
        )  # fmt: skip
        if durable:
            with self.store.durable():
                self.store.write(self.record.run_id, attempt, job, transition)
        else:
            self.store.write(self.record.run_id, attempt, job, transition)
        return transition

    def note(self, attempt: AttemptRecord, *, durable: bool = False, **facts: Any) -> None:
        """Write down facts of an attempt whose state stays."""
        attempt.learn(**facts)
        job = self.record.jobs[attempt.job]
        if durable:
            with self.store.durable():
                self.store.write(self.record.run_id, attempt, job, None)
        else:
            self.store.write(self.record.run_id, attempt, job, None)

    def skip(self, job: JobRecord, reason: str) -> Transition:
        """End a job that never gets an attempt."""
        previous, job.state, job.reason = job.state, JobState.SKIPPED, reason
        transition = Transition(
            self._next(), self.record.run_id, job.name, None, job.state, previous, time.time(), reason=reason
        )
        self.store.write(self.record.run_id, None, job, transition)
        return transition

    def reopen(self, job: JobRecord) -> None:
        """A job that had ended gets another attempt."""
        job.state, job.reason = JobState.INIT, None
        self.store.write(self.record.run_id, None, job, None)

    def close(self, state: JobState) -> None:
        """The run has ended."""
        self.record.state, self.record.ended_at = state, time.time()
        self.store.end_run(self.record)

    def _next(self) -> int:
        self._seq += 1
        return self._seq
