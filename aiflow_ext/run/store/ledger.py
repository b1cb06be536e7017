"""The only place that changes a run's records: in memory at once, and in the store with the next flush."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from aiflow_ext.model.states import JobState
from aiflow_ext.run.store.reconcile import Decision
from aiflow_ext.run.store.records import AttemptRecord, JobRecord, RunRecord, Transition, shortened
from aiflow_ext.run.store.store import Store
from aiflow_ext.supervise.clock import Clock

STOPPED_BEFORE = "the run was stopped before it started"  # why a job is SKIPPED: by this the run is a stopped one
JOB_STOPPED_BEFORE = "it was stopped before it started"  # the job alone
BEING_STOPPED = "it is being stopped"  # the end of an attempt's reason while a call that stops it has not failed
_STATELESS = ("restarts", "instance", "node")  # facts that may change while the state stays as it is


class Ledger:
    """The records of one run, for its driver.

    Changes between two flushes are written in one transaction, each record once.
    """

    def __init__(self, record: RunRecord, store: Store) -> None:
        self.record, self.store = record, store
        self._clock = Clock(record.folder)
        self._seq = store.transitions.last_seq(record.run_id)
        self._attempts: dict[int, AttemptRecord] = {}  # changed since the last flush, by identity
        self._jobs: dict[str, JobRecord] = {}
        self._transitions: list[Transition] = []
        self._start_intents: dict[str, tuple[int, str]] = {}  # by job, number and native id; since the last flush
        self._intents_stored: dict[str, int] = {}  # by job, the number of the attempt that is in the store

    @property
    def pending(self) -> bool:
        """Whether there is something to flush."""
        return bool(self._attempts or self._jobs or self._start_intents)

    def holds(self, attempt: AttemptRecord) -> bool:
        """Whether changes of this attempt are not in the store yet."""
        return id(attempt) in self._attempts

    def flush(self, *, durable: bool = False) -> list[Transition]:
        """Write the changes, and return their transitions, which may be reported now.

        ``durable``: return only once a power loss cannot undo it. Raises StateError if they cannot be written: then
        none is, although the records in memory have changed.
        """
        attempts, jobs, transitions = list(self._attempts.values()), list(self._jobs.values()), self._transitions
        with self.store.database.durable() if durable else _NOTHING:
            self.store.write(self.record.run_id, attempts, jobs, transitions, self._start_intents)
        self._intents_stored.update((job, number) for job, (number, _) in self._start_intents.items())
        self._attempts, self._jobs, self._transitions, self._start_intents = {}, {}, [], {}
        return transitions

    def now(self) -> float:
        """Seconds since the epoch, by the run's own clock: setting the machine's changes no duration."""
        return self._clock.now()

    def intend_start(self, job: JobRecord, native_id: str) -> None:
        """The job's next attempt may be started under this id from the next flush on, whatever is recorded by then."""
        self._start_intents[job.name] = (len(job.attempts) + 1, native_id)

    def start_intended(self, attempt: AttemptRecord) -> bool:
        """Whether the store has a start intent of this attempt."""
        return self._intents_stored.get(attempt.job) == attempt.number

    def attempt(self, job: JobRecord, folder: str, gpus: str | None = None) -> AttemptRecord:
        """A new attempt of ``job``, in state INIT; ``gpus``: what it was given of this machine's."""
        made = AttemptRecord(job.name, len(job.attempts) + 1, folder)
        made.gpus = gpus
        job.attempts.append(made)
        job.state, job.reason = JobState.INIT, None
        return made

    def move(self, attempt: AttemptRecord, state: JobState, at: float | None = None, **facts: Any) -> bool:
        """Bring an attempt to ``state``; False if that is not possible any more (a late or repeated event)."""
        attempt.learn(**facts)
        if not attempt.state.may_become(state):
            return False
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
            self._jobs[job.name] = job
        self._attempts[id(attempt)] = attempt
        self._seq += 1
        self._transitions.append(Transition(
            self._seq, self.record.run_id, attempt.job, attempt.number, state, previous, now,
            native_id=attempt.native_id, exit_code=attempt.exit_code, signal=attempt.signal, reason=attempt.reason,
        ))  # fmt: skip
        return True

    def note(self, attempt: AttemptRecord, **facts: Any) -> None:
        """Record facts of an attempt; its state does not change."""
        attempt.learn(**facts)
        job = self.record.jobs[attempt.job]
        if job.last is attempt and not job.state.ended:
            job.reason = attempt.reason
            self._jobs[job.name] = job
        self._attempts[id(attempt)] = attempt

    def end(self, attempt: AttemptRecord, decision: Decision) -> None:
        """Record the decided end of an attempt; one that had ended before is not changed, unless it was LOST."""
        assert decision.state is not None
        if not attempt.state.may_become(decision.state):
            return
        attempt.reason, attempt.unreachable = None, False  # what held while it ran
        self.move(attempt, decision.state, decision.at, **decision.facts)

    def follow(self, attempt: AttemptRecord, decision: Decision) -> bool:
        """Record that an attempt goes on, as its platform reports; returns whether the reason why it waits has changed.

        The same state without a ``reason`` among the facts leaves the reason as it is.
        """
        new = {
            name: value
            for name in _STATELESS
            if (value := decision.facts.get(name)) is not None and value != getattr(attempt, name)
        }
        if new:
            self.note(attempt, **new)
        if decision.state is None:
            return False
        if attempt.state is decision.state:
            return "reason" in decision.facts and self.waits(attempt, decision.facts["reason"])
        if attempt.state.may_become(decision.state):
            attempt.reason = None  # the reason why it waited does not apply to a running job
        self.move(attempt, decision.state, decision.at, reason=decision.facts.get("reason"))
        return False

    def waits(self, attempt: AttemptRecord, reason: str | None, *, unreachable: bool = False) -> bool:
        """Record what an attempt waits for (None: not known); returns False if nothing changes.

        ``unreachable``: its platform does not answer.
        """
        reason = None if reason is None else shortened(reason)
        if (attempt.reason, attempt.unreachable) == (reason, unreachable):
            return False
        attempt.reason, attempt.unreachable = reason, unreachable
        self.note(attempt)
        return True

    def reachable(self, attempt: AttemptRecord) -> bool:
        """Record that its platform answers; returns False if it was not unreachable."""
        return attempt.unreachable and self.waits(attempt, None)

    def show_unreachable(self, attempt: AttemptRecord, reason: str) -> None:
        """Show in this process's record that its platform does not answer; that is not stored."""
        attempt.unreachable, attempt.reason = True, shortened(reason)

    def rewind(self, attempt: AttemptRecord) -> None:
        """Record that nothing of an attempt was started, so that a driver continues with the first missing step."""
        attempt.step, attempt.unreachable, attempt.reason = None, False, None
        self.note(attempt)

    def skip(self, job: JobRecord, reason: str) -> None:
        """Skip a job, which never gets an attempt."""
        reason = shortened(reason)
        previous, job.state, job.reason = job.state, JobState.SKIPPED, reason
        self._jobs[job.name] = job
        self._seq += 1
        self._transitions.append(
            Transition(self._seq, self.record.run_id, job.name, None, job.state, previous, self.now(), reason=reason)
        )

    def reopen(self, jobs: Iterable[JobRecord]) -> None:
        """Reopen the run: these jobs, which had ended, get another attempt; atomic."""
        jobs = list(jobs)
        if self.record.ended_at is not None:  # requests to the run that had ended do not apply to this one
            self.store.requests.drop(self.record.run_id)
        for job in jobs:
            job.state, job.reason = JobState.INIT, None
        self.record.state, self.record.ended_at = JobState.RUNNING, None
        self.store.end_run(self.record, jobs)

    def replan(self, plan: Mapping[str, Any], options: dict[str, Any]) -> None:
        """Record another plan, with the jobs as they are in the record, and the jobs that were skipped; atomic."""
        self.store.replace_plan(self.record, plan, options, self._transitions)
        self._jobs, self._transitions = {}, []

    def close(self, *, closed: bool = False) -> None:
        """Record the run's end; everything is flushed before. ``closed``: nothing more was to start in it."""
        self.record.state, self.record.ended_at = self._verdict(closed), max(self.now(), self.record.started_at)
        self.store.end_run(self.record)

    def _verdict(self, closed: bool) -> JobState:
        states = {job.state for job in self.record.jobs.values() if not _ended_unneeded(job)}
        if any(state.failed for state in states):
            return JobState.FAILED
        stopped = any(job.reason == STOPPED_BEFORE for job in self.record.jobs.values())  # by an earlier driver, too
        return JobState.STOPPED if closed or stopped or JobState.STOPPED in states else JobState.FINISHED


def _ended_unneeded(job: JobRecord) -> bool:
    """Whether nobody has stopped this job, but its driver, before it had started: no job needed it any more."""
    last = job.last
    return job.state is JobState.STOPPED and last is not None and last.unneeded and not last.stop_requested


_NOTHING = contextlib.nullcontext()
