"""What happens when an attempt has ended: its slot is free, another attempt follows, or its job is settled."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from aiflow_ext.model.states import JobState
from aiflow_ext.run.driving.attempt import Attempt, Phase
from aiflow_ext.run.driving.cleanup import Cleanup
from aiflow_ext.run.driving.retries import MOST_NOT_BEGUN, Retries, not_begun
from aiflow_ext.run.driving.scheduler import Scheduler
from aiflow_ext.run.driving.state import DriverState
from aiflow_ext.run.store.reconcile import Decision, end_of
from aiflow_ext.run.store.records import AttemptRecord

SHORT_JOB = 1.0  # seconds: only after a job that was as short as this are the next ones prefetched


class Ends:
    """Ends attempts.

    Args:
        state, scheduler, cleanup: of the driver.
        fail_fast: after the first FAILED or LOST nothing new is submitted.

    Attributes:
        retries: how many retries each job has used up.
        sweeping: how many attempts have ended while a call that stops them has not returned.
        jobs_are_short: whether the last attempt that ended has run for no longer than ``SHORT_JOB``.
    """

    def __init__(self, state: DriverState, scheduler: Scheduler, cleanup: Cleanup, *, fail_fast: bool) -> None:
        self._state, self._scheduler, self._cleanup, self._fail_fast = state, scheduler, cleanup, fail_fast
        self.retries = Retries()
        self.sweeping = 0
        self.jobs_are_short = False

    def end_as(self, attempt: Attempt, job_state: JobState, **facts: Any) -> None:
        """End an attempt by the driver's own decision, in this state; ``facts`` by the names of its record."""
        timeout = attempt.planned.config.timeout
        self.end(attempt, end_of(attempt.record, job_state, timeout=timeout, **facts))

    def end(self, attempt: Attempt, decision: Decision) -> None:
        """End an attempt as was decided; nothing happens if it has ended before."""
        key = attempt.key
        if self._state.live.pop(key, None) is None:
            return
        attempt.platform.live.discard(key)
        attempt.platform.handlers.pop(key, None)
        self._scheduler.admission.leave(attempt)
        self._scheduler.settled[attempt.planned.name] = False
        self._scheduler.serves_no_more(attempt.planned.name)
        self._state.ledger.end(attempt.record, self._told(attempt, decision))
        if (started := attempt.record.started_at) is not None:
            self.jobs_are_short = (attempt.record.ended_at or math.inf) - started <= SHORT_JOB
        if attempt.stops:  # its main process has ended; other processes of it may not have
            attempt.enter(Phase.SWEEPING)
            self.sweeping += 1
        else:
            attempt.enter(Phase.ENDED)
            self.after_end(attempt)

    def _told(self, attempt: Attempt, decision: Decision) -> Decision:
        """An attempt's end; if it is the last of too many in a row that did not begin, its reason says so."""
        if not decision.facts.get("disruption") or attempt.record.started_at is not None:
            return decision
        row = 1 + not_begun(self._state.record.jobs[attempt.planned.name].attempts[:-1])
        if row % MOST_NOT_BEGUN:
            return decision
        words = decision.facts.get("reason") or "its platform does not say why"
        reason = f"{row} attempts in a row were ended before they began, and no other one is made: {words}"
        return decision._replace(facts={**decision.facts, "reason": reason})

    def stop_returned(self, attempt: Attempt) -> None:
        """Note that a call that stops an attempt has returned; after the last one, all its processes are gone."""
        attempt.stops -= 1
        if not attempt.stops and attempt.phase is Phase.SWEEPING:
            attempt.enter(Phase.ENDED)
            self.sweeping -= 1
            self.after_end(attempt)

    def after_end(self, attempt: Attempt, *, final: bool = False) -> None:
        """Clean up after an attempt that has ended, and decide whether another follows.

        ``final``: it ended in a run that has ended: no retry, and no other consequence, follows.
        """
        name, record, scheduler = attempt.planned.name, attempt.record, self._scheduler
        is_last = record.stop_requested or scheduler.closed or final or not scheduler.gets_another(name)
        hooks = self._state.hooks("should_retry")
        asks = bool(hooks) and not is_last and self.retries.open(record)
        delay = None if is_last or asks else self._delay(attempt)
        if attempt.job is not None and record.native_id is not None and not record.cleaned:
            self._cleanup.begin(attempt)
        if asks:
            from aiflow_ext.run.driving.deciding import ask_should_retry

            scheduler.retrying.add(name)
            ask_should_retry(hooks, self._state.record.run_id, record, limit=self._state.listeners.limit,
                             inbox=self._state.inbox, done=partial(self._retry_decided, attempt))  # fmt: skip
        elif delay is not None:
            scheduler.retrying.add(name)
            self._state.inbox.later(delay, lambda: scheduler.retry(name))
        else:
            self._settle(record, final=final)

    def _retry_decided(self, attempt: Attempt, delay: float | None) -> None:
        """Take the extensions' answer: in how many seconds another attempt follows, or None: the config decides."""
        name, scheduler = attempt.planned.name, self._scheduler
        if name not in scheduler.retrying:
            return  # the run was stopped meanwhile
        if delay is None:
            delay = self._delay(attempt)
        if delay is not None:
            self._state.inbox.later(delay, lambda: scheduler.retry(name))
        else:
            self.give_up(name)

    def give_up(self, name: str) -> None:
        """Make no other attempt of a job that was to be tried again."""
        last = self._state.record.jobs[name].last
        if self._scheduler.forget_retry(name) and last is not None:
            self._settle(last)

    def _delay(self, attempt: Attempt) -> float | None:
        """Seconds until another attempt follows, by the job's config; None: none does."""
        job = self._state.record.jobs[attempt.planned.name]
        return self.retries.delay(job, attempt.record, attempt.planned.config)

    def _settle(self, last: AttemptRecord, *, final: bool = False) -> None:
        """Handle the final state of a job: jobs that wait for it may start, and fail-fast may close the run."""
        name, state, scheduler = last.job, last.state, self._scheduler
        scheduler.settle(name)
        if self._fail_fast and state.failed and not (scheduler.closed or final):
            scheduler.close(f"{name} is {state}, and the run was to start nothing after that", failed=True)
        scheduler.look_after(name)
