"""Stops a run, one job, or one attempt."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from aiflow_ext.model.errors import said_by
from aiflow_ext.model.states import JobState
from aiflow_ext.run.driving.attempt import GRACE, Attempt, Phase
from aiflow_ext.run.driving.ends import Ends
from aiflow_ext.run.driving.platform_inline import InlinePlatform
from aiflow_ext.run.driving.scheduler import Scheduler
from aiflow_ext.run.driving.state import DriverState
from aiflow_ext.run.store.ledger import BEING_STOPPED, STOPPED_BEFORE
from aiflow_ext.run.store.reconcile import UNNEEDED

_log = logging.getLogger("aiflow_ext")


class Stopping:
    """Stops attempts. The request to stop is recorded before the platform is called."""

    def __init__(self, state: DriverState, scheduler: Scheduler, ends: Ends) -> None:
        self._state, self._scheduler, self._ends = state, scheduler, ends

    def take_requests(self) -> None:
        """Handle the requests in the store."""
        store, committer = self._state.ledger.store, self._state.committer
        for number, what, name, grace in store.requests.pending(self._state.record.run_id):
            if what == "stop" and name is None:
                self.stop_all(GRACE if grace is None else grace)
            elif what == "stop" and name is not None:
                self.stop_job(name, GRACE if grace is None else grace)
            if not committer.flush():  # the next driver handles the request again
                return
            store.requests.complete(number)

    def stop_all(self, grace: float) -> None:
        """Start nothing more and stop running jobs; ``grace``: seconds between SIGTERM and the kill."""
        state, scheduler = self._state, self._scheduler
        state.end_requests += 1
        state.impatient = state.impatient or grace <= 0
        for name in scheduler.retrying:
            if (last := state.record.jobs[name].last) is not None:  # a later driver must not retry it either
                state.ledger.note(last, stop_requested=True)
        scheduler.close(STOPPED_BEFORE)
        for platform in state.platforms.values():
            if isinstance(platform, InlinePlatform):
                platform.recall()
        for attempt in list(state.live.values()):
            self.stop(attempt, grace)

    def stop_job(self, name: str, grace: float) -> None:
        """Stop one job: its running attempt ends, and no other one starts."""
        live = [attempt for attempt in self._state.live.values() if attempt.planned.name == name]
        for attempt in live:
            self.stop(attempt, grace)
        self._scheduler.withdraw(name, runs=bool(live))

    def stop(self, attempt: Attempt, grace: float) -> None:
        """Stop one attempt, as was requested: no other one follows, whatever it is being ended for already."""
        self._state.ledger.note(attempt.record, stop_requested=True)
        self.end(attempt, grace)

    def end(self, attempt: Attempt, grace: float) -> None:
        """End one attempt: at once if it was not submitted yet, else as soon as it is."""
        attempt.stop_grace = grace
        self._scheduler.serves_no_more(attempt.planned.name)
        if attempt.phase in (Phase.WAITING, Phase.DECIDING):
            self.end_unstarted(attempt)
        elif attempt.handler is not None and not attempt.has_ended:  # else its submission finds ``stop_grace``
            if attempt.stopping is None:
                attempt.stopping = f"{_because(attempt)}{BEING_STOPPED}"
                if not attempt.record.unreachable:
                    self._state.ledger.note(attempt.record, reason=attempt.stopping)
            self._state.committer.flush()
            self._call(attempt, grace)

    def end_unstarted(self, attempt: Attempt) -> None:
        """End an attempt whose stop was requested before it was started."""
        self._ends.end_as(attempt, JobState.STOPPED, reason="stopped before it started")

    def time_out(self, attempt: Attempt) -> None:
        """Stop an attempt whose timeout has expired, unless it is being stopped already."""
        if not attempt.has_ended and attempt.stop_grace is None:
            self._state.ledger.note(attempt.record, timed_out=True)
            self.end(attempt, GRACE)

    def end_late(self, attempt: Attempt, words: str) -> None:
        """Stop an attempt that was not ready in time, unless it is ready or being stopped; then it has FAILED, as these
        words say."""
        if not attempt.has_ended and attempt.stop_grace is None and attempt.record.ready_at is None:
            self._state.ledger.note(attempt.record, not_ready=words)
            self.end(attempt, GRACE)

    def end_unneeded(self, name: str) -> None:
        """Stop a job that has served others, of which the last one has ended; then it has FINISHED."""
        live = [attempt for attempt in self._state.live.values() if attempt.planned.name == name]
        for attempt in live:
            if attempt.stop_grace is None:
                self._state.ledger.note(attempt.record, unneeded=True)
                self.end(attempt, GRACE)
        if live:
            return
        self._ends.give_up(name)
        if not self._state.record.jobs[name].state.ended:
            self._scheduler.admission.withdraw(name)
            self._scheduler.skip(name, UNNEEDED)
            self._scheduler.look_after(name)

    def give_up(self, attempt: Attempt, reason: str) -> None:
        """Stop an attempt whose end will never be reported; then it has FAILED for this reason."""
        self._call(attempt, GRACE, lambda: self._ends.end_as(attempt, JobState.FAILED, reason=reason))

    def _call(self, attempt: Attempt, grace: float, then: Callable[[], None] | None = None) -> None:
        """Call the platform to stop an attempt, in a thread of its own; ``then`` is run once it has."""
        attempt.stops += 1
        arguments = (attempt, grace, then)
        threading.Thread(target=self._call_platform, args=arguments, daemon=True, name="aiflow-stop").start()

    def _call_platform(self, attempt: Attempt, grace: float, then: Callable[[], None] | None) -> None:
        post = self._state.post
        try:
            assert attempt.job is not None
            attempt.adapter.stop(attempt.job, attempt.handler, grace)
        except Exception as error:
            _log.debug("stop failed", exc_info=True)
            words = said_by(error)
            if then is None:
                post(lambda: self._failed(attempt, words))
        post(lambda: self._ends.stop_returned(attempt))
        if then is not None:
            post(then)

    def _failed(self, attempt: Attempt, words: str) -> None:
        """Record and report that a stop has failed, and retry it until the attempt has ended."""
        if attempt.has_ended:
            _log.warning("stopping %s, which has ended: %s", attempt.record.native_id, words)
            return
        attempt.stopping = f"{_because(attempt)}stopping it failed, and is tried again: {words}"
        if self._state.ledger.waits(attempt.record, attempt.stopping, unreachable=attempt.record.unreachable):
            self._state.listeners.tell_waiting(attempt.record)
        if not attempt.stops_later:
            attempt.stops_later = True
            self._state.ask_later(attempt, lambda: self._stop_again(attempt))

    def _stop_again(self, attempt: Attempt) -> None:
        attempt.stops_later = False
        if not attempt.has_ended and attempt.stop_grace is not None:
            self.end(attempt, attempt.stop_grace)


def _because(attempt: Attempt) -> str:
    record, timeout = attempt.record, attempt.planned.config.timeout
    if record.timed_out:
        return f"it ran into its timeout of {timeout or 0:g} s; "
    cause = record.not_ready or (UNNEEDED if record.unneeded else None)
    return f"{cause}; " if cause else ""
