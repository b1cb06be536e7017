"""The only place that changes a run's records: in memory and, before anybody is told, in the store."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import Any

from aiflow_ext.model.states import JobState
from aiflow_ext.run.records import AttemptRecord, JobRecord, RunRecord, Transition
from aiflow_ext.run.store import Store


class Ledger:
    """The records of one run that is being driven.

    Every method raises StateError where the store cannot be written; the record in memory has changed all the same.

    Attributes:
        told: the number of the last transition that every extension has been told of; noted with the next change, so
            that a kill makes at most the last one repeat. None where nobody listens.
    """

    def __init__(self, record: RunRecord, store: Store) -> None:
        self.record, self.store = record, store
        self.told: int | None = None
        self._epoch = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        self._seq = store.last_seq(record.run_id)

    def now(self) -> float:
        """Seconds since the epoch, by the clock as it was when this driver began: setting it changes no duration."""
        return self._epoch + time.clock_gettime(time.CLOCK_BOOTTIME)

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
        now = at if at is not None else self.now()
        if state is JobState.SUBMITTING:
            attempt.submitted_at = now
        elif state is JobState.RUNNING:
            attempt.started_at = now
        elif state.ended:
            attempt.ended_at = max(now, attempt.started_at or now)
        job = self.record.jobs[attempt.job]
        if job.last is attempt:
            job.state, job.reason = state, attempt.reason
        transition = Transition(
            self._seq + 1, self.record.run_id, attempt.job, attempt.number, state, previous, now,
            native_id=attempt.native_id, exit_code=attempt.exit_code, signal=attempt.signal, reason=attempt.reason,
        )  # fmt: skip
        self._write(attempt, job, transition, durable)
        return transition

    def note(self, attempt: AttemptRecord, *, durable: bool = False, **facts: Any) -> None:
        """Write down facts of an attempt whose state stays."""
        attempt.learn(**facts)
        job = self.record.jobs[attempt.job]
        if job.last is attempt and not job.state.ended:
            job.reason = attempt.reason
        self._write(attempt, job, None, durable)

    def skip(self, job: JobRecord, reason: str) -> Transition:
        """End a job that never gets an attempt."""
        previous, job.state, job.reason = job.state, JobState.SKIPPED, reason
        transition = Transition(
            self._seq + 1, self.record.run_id, job.name, None, job.state, previous, self.now(), reason=reason
        )
        self._write(None, job, transition, False)
        return transition

    def reopen(self, jobs: Iterable[JobRecord]) -> None:
        """The run goes on, and these jobs, which had ended, get another attempt: all of it or none."""
        jobs = list(jobs)
        for job in jobs:
            job.state, job.reason = JobState.INIT, None
        self.record.state, self.record.ended_at = JobState.RUNNING, None
        self.store.end_run(self.record, jobs)

    def note_told(self) -> None:
        """Write down which transitions have been told."""
        if self.told is not None:
            self.store.set_told(self.record.run_id, self.told)

    def close(self, state: JobState) -> None:
        """The run has ended."""
        self.note_told()
        self.record.state, self.record.ended_at = state, max(self.now(), self.record.started_at)
        self.store.end_run(self.record)

    def _write(
        self, attempt: AttemptRecord | None, job: JobRecord, transition: Transition | None, durable: bool
    ) -> None:
        with self.store.durable() if durable else contextlib.nullcontext():
            self.store.write(self.record.run_id, attempt, job, transition, self.told)
        if transition is not None:  # only now: a number is taken by what is in the store
            self._seq = transition.seq
