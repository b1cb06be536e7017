"""Recovers the attempts that an earlier driver of the run has left."""

from __future__ import annotations

from functools import partial

from aiflow_ext.model.attempt import Lookup
from aiflow_ext.model.states import JobState
from aiflow_ext.run.driving.attempt import GRACE, Attempt, Phase
from aiflow_ext.run.driving.cleanup import Cleanup
from aiflow_ext.run.driving.ends import Ends
from aiflow_ext.run.driving.events import Events
from aiflow_ext.run.driving.scheduler import Scheduler
from aiflow_ext.run.driving.start_intents import settle_start_intents
from aiflow_ext.run.driving.starting import Starting
from aiflow_ext.run.driving.state import DriverState
from aiflow_ext.run.driving.submission import Submission
from aiflow_ext.run.planning.attempt_job import job_again
from aiflow_ext.run.store.reconcile import Answer, Became, reconcile
from aiflow_ext.run.store.records import AttemptRecord, JobRecord


class Recovery:
    """Continues from the records; for a new run it does nothing."""

    def __init__(
        self,
        state: DriverState,
        scheduler: Scheduler,
        cleanup: Cleanup,
        ends: Ends,
        submission: Submission,
        events: Events,
        starting: Starting,
    ) -> None:
        self._state, self._scheduler, self._cleanup, self._ends = state, scheduler, cleanup, ends
        self._submission, self._events, self._starting = submission, events, starting

    def recover(self) -> None:
        """Follow running attempts, and find out what became of those that were being submitted."""
        scheduler = self._scheduler
        settle_start_intents(self._state.ledger, self._look_up)
        last_attempts: list[Attempt] = []
        for name, job in self._state.record.jobs.items():
            last = job.last
            reopened = job.state is JobState.INIT and last is not None and last.state.ended
            if job.state is JobState.SKIPPED:
                scheduler.settle(name)
            elif last is not None and not reopened:
                last_attempts.append(self._adopt(job, last))
            if job.state.ended or (last is not None and not reopened):
                scheduler.waiting.discard(name)
            followed = job.attempts if reopened or job.state is JobState.SKIPPED else job.attempts[:-1]
            self._ends.retries.recall(name, followed)
            for record in followed:
                if record.native_id is not None and not record.cleaned:
                    self._cleanup.begin(self._adopt(job, record))
        # Only now are all jobs that wait, and all attempts that a watch reports, known.
        for attempt in last_attempts:
            self._go_on(attempt)

    def _look_up(self, record: AttemptRecord) -> Lookup:
        """What the platform knows of an attempt. Raises what the platform raises."""
        return self._state.adapters[record.job].lookup(job_again(self._state.plan, self._state.record, record))

    def _adopt(self, job: JobRecord, record: AttemptRecord) -> Attempt:
        """Adopt an attempt of an earlier driver; its job is generated again from the stored plan."""
        attempt = self._starting.attempt(job, record)
        if record.being_ended:
            attempt.stop_grace = GRACE
        if not record.state.ended:
            self._state.live[attempt.key] = attempt
        if record.native_id is not None and not (record.state.ended and record.cleaned):
            generated = attempt.job = job_again(self._state.plan, self._state.record, record)
            # A watch may report an attempt without resources as lost: submission adds it to the watch later. A platform
            # that answers at once may have started a process that is not in the record.
            if record.may_run or (attempt.adapter.answers_at_once and not record.state.ended):
                attempt.platform.live.add(record.native_id, lambda: generated)
        return attempt

    def _go_on(self, attempt: Attempt) -> None:
        became = reconcile(attempt.record, Answer()).became
        if became is Became.ENDED:
            self._ends.after_end(attempt, final=self._state.had_ended)
        elif became is Became.UNKNOWN:
            self._events.start_timers(attempt)
            attempt.enter(Phase.LOOKING_UP)
            attempt.platform.call(attempt, partial(self._submission.look_up, attempt))
        elif attempt.record.state is JobState.INIT:
            self._starting.begin(attempt)
        else:
            self._submission.submit_with_slot(attempt)
