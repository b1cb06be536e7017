"""Handles the platforms' events of attempts, missing answers, and timeouts of running attempts."""

from __future__ import annotations

from functools import partial

from aiflow_ext.model.states import JobState
from aiflow_ext.run.driving.attempt import Attempt, Phase
from aiflow_ext.run.driving.ends import Ends
from aiflow_ext.run.driving.scheduler import Scheduler
from aiflow_ext.run.driving.serving import Serving
from aiflow_ext.run.driving.state import DriverState
from aiflow_ext.run.driving.stopping import Stopping
from aiflow_ext.run.driving.submission import Submission
from aiflow_ext.run.planning.serving import ready_of
from aiflow_ext.run.platforms.platform_events import PlatformEvent, Reachable, Unobservable, Unreachable
from aiflow_ext.run.store.reconcile import Answer, Became, reconcile


class Events:
    """Follows attempts that have been submitted."""

    def __init__(
        self,
        state: DriverState,
        scheduler: Scheduler,
        ends: Ends,
        stopping: Stopping,
        submission: Submission,
        serving: Serving,
    ) -> None:
        self._state, self._scheduler, self._ends = state, scheduler, ends
        self._stopping, self._submission, self._serving = stopping, submission, serving

    def take(self, event: PlatformEvent) -> None:
        """Handle an event of an attempt; late and repeated events do no harm."""
        attempt = self._state.live.get(event.native_id)
        if attempt is None:
            return
        if isinstance(event, Unobservable):
            self._stopping.give_up(attempt, event.reason)
            return
        if isinstance(event, Unreachable):
            self._state.unreachable(attempt, event.reason)
            return
        self._state.reachable(attempt)
        if isinstance(event, Reachable):
            return
        if attempt.record.step == "resources" and attempt.adapter.answers_at_once:
            self._submission.acknowledge(attempt)
        first = attempt.record.started_at is None
        config = attempt.planned.config
        decision = reconcile(attempt.record, Answer(event), config.timeout, serves=ready_of(config) is not None)
        if decision.became is Became.ENDED:
            if decision.state is not JobState.LOST or not attempt.may_be_submitted_again:
                self._ends.end(attempt, decision)
            elif attempt.phase is Phase.SUBMITTED:
                attempt.enter(Phase.LOOKING_UP)
                attempt.platform.call(attempt, partial(self._submission.look_up, attempt, lost=decision))
            elif attempt.phase is Phase.LOOKING_UP:
                attempt.lost = decision  # what its platform answers by name counts for more
            return  # while it is submitted: the event is of before
        if attempt.stopping is not None and decision.facts.get("reason") is None:
            decision.facts["reason"] = attempt.stopping
        if self._state.ledger.follow(attempt.record, decision):
            self._state.listeners.tell_waiting(attempt.record)
        if first:
            self.start_timers(attempt)
        if event.state is JobState.RUNNING:
            self._scheduler.look_after(attempt.planned.name)

    def start_timers(self, attempt: Attempt) -> None:
        """Start the timers of a running attempt: its timeout, and when it must be ready; its time under an earlier
        driver counts."""
        self._serving.begin(attempt)
        timeout, started = attempt.planned.config.timeout, attempt.record.started_at
        if timeout is not None and started is not None:
            left = timeout - max(0.0, self._state.ledger.now() - started)
            self._state.inbox.later(left, lambda: self._stopping.time_out(attempt))
