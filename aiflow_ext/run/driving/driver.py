"""The driver of one run: submits jobs that are ready, follows those that run, and leaves one record for each job."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from functools import partial

from aiflow_ext.host.extensions import Extensions
from aiflow_ext.model.collector import long_lived
from aiflow_ext.model.resources import Capacity
from aiflow_ext.run.driving.attempt import GRACE
from aiflow_ext.run.driving.cleanup import Cleanup
from aiflow_ext.run.driving.ends import Ends
from aiflow_ext.run.driving.events import Events
from aiflow_ext.run.driving.platform_inline import InlinePlatform
from aiflow_ext.run.driving.prefetch import PREFETCHED, Prefetch
from aiflow_ext.run.driving.recovery import Recovery
from aiflow_ext.run.driving.room import Room
from aiflow_ext.run.driving.scheduler import Scheduler
from aiflow_ext.run.driving.serving import Serving
from aiflow_ext.run.driving.starting import Starting
from aiflow_ext.run.driving.state import DriverState
from aiflow_ext.run.driving.stopping import Stopping
from aiflow_ext.run.driving.submission import Submission
from aiflow_ext.run.planning.attempt_job import attempt_job
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.platforms import supervised
from aiflow_ext.run.platforms.once_a_run import check_platforms, clean_up_platforms
from aiflow_ext.run.store.records import RunRecord, Transition
from aiflow_ext.run.store.store import Store

COALESCING_DELAY = 0.02  # seconds for which changes that nothing waits for are collected into one transaction
MOST_QUEUED = 16  # attempts at most that a platform has without a slot, to start each when another one has ended
LEAVING_LIMIT = 0.3  # seconds at most that calls are waited for in a run that the driver lets go of
CLOSING_LIMIT = 5.0  # in one that has come to its end
STOPPED_LIMIT = 5.0  # seconds at most that extensions which are behind are waited for in a run that was stopped


class Driver:
    """Runs a plan to its end. One thread decides; each platform has threads for its calls and one for its events.

    This class is the loop. Its parts do what the loop decides, and each names only those before it: ``Scheduler`` and
    ``AdmissionQueue`` (which jobs may start), ``Ends``, ``Stopping``, ``Submission``, ``Serving``, ``Events``,
    ``Starting``, ``Recovery``. What they share is a ``DriverState``.

    Args:
        plan: what to do.
        record: the run's record, whose folder exists and which is in the store.
        store: where the records are kept.
        limits: by pool, how many attempts run at once, those of STREAM jobs not counted; a pool that is missing has no
            limit.
        pools: by job, the pool that its slots are from; by default the name of its platform.
        capacities: by platform, what its jobs share on this machine; a platform that is missing has no such limit.
        fail_fast: after the first FAILED or LOST nothing new is submitted.
        extensions: the extension hooks.
        listener: called with every Transition, in order, in the driver's thread.
        had_ended: the run had ended before: jobs that failed then are not retried, unless it was reopened.
        traceparent: for extensions, the variable TRACEPARENT of the process that has started the run.
    """

    def __init__(
        self,
        plan: Plan,
        record: RunRecord,
        store: Store,
        *,
        limits: Mapping[str, int] | None = None,
        pools: Mapping[str, str] | None = None,
        capacities: Mapping[str, Capacity] | None = None,
        fail_fast: bool = False,
        extensions: Extensions | None = None,
        listener: Callable[[Transition], None] | None = None,
        had_ended: bool = False,
        traceparent: str | None = None,
    ) -> None:
        self._state = state = DriverState(plan, record, store, extensions, listener, had_ended, traceparent)
        self.ledger, self.listeners, self._inbox = state.ledger, state.listeners, state.inbox
        pools = pools or {name: planned.resolved.platform for name, planned in plan.jobs.items()}
        room = Room(plan, record.jobs, capacities or {}, state.live)
        self._scheduler = scheduler = Scheduler(plan, state.ledger, pools, limits or {}, state.live, room)
        self._admission = admission = scheduler.admission
        self._cleanup = cleanup = Cleanup(state)
        self._ends = ends = Ends(state, scheduler, cleanup, fail_fast=fail_fast)
        self._stopping = stopping = Stopping(state, scheduler, ends)
        submission = Submission(state, admission, ends, stopping)
        serving = Serving(state, scheduler, stopping)
        events = Events(state, scheduler, ends, stopping, submission, serving)
        self._prefetch = Prefetch(state.adapters, partial(attempt_job, plan, record), state.ledger, room.with_gpus)
        self._starting = Starting(state, admission, ends, submission, self._prefetch, events.take)
        self._recovery = Recovery(state, scheduler, cleanup, ends, submission, events, self._starting)
        # Extensions that look at jobs see one when it starts, and not before.
        self._prefetches = extensions is None or not (extensions.hooks("before_submit") or extensions.wrappers)
        self._never_queues = fail_fast or bool(admission.streams)
        self._flush_at = 0.0
        self._is_checked = False

    def run(self) -> RunRecord:
        """Run to the end and return the record. Raises PlatformError before anything starts where a platform's check
        fails, StateError where the records cannot be written any more: what runs goes on then."""
        try:
            with long_lived():
                return self._run()
        finally:
            self.listeners.close(ended=self._state.record.ended_at is not None)
            self._inbox.close()

    def _run(self) -> RunRecord:
        state, record = self._state, self._state.record
        state.own()
        self.listeners.start()
        self._look_after_extensions()
        if record.state.ended:  # and nothing was reopened
            self.listeners.run_ended()
            self._await_extensions()
            return record
        self.check_platforms()
        try:
            self._recovery.recover()
            self._scheduler.look_at(state.plan.jobs)
            while True:
                self._settle_served()
                if not state.leaving:
                    self._start_ready()
                if self._is_over:
                    break
                self._do_next()
        finally:
            limit = time.monotonic() + (LEAVING_LIMIT if state.leaving or self._cleanup.gave_up else CLOSING_LIMIT)
            for platform in state.platforms.values():
                platform.close(limit)
            state.committer.flush()
        if state.committer.broken is not None:
            raise state.committer.broken
        if state.leaving:
            self.listeners.part()
        else:
            clean_up_platforms(state.plan, record, state.adapters)
            self.ledger.close(closed=self._scheduler.closed)
            self.listeners.run_ended()
            self._await_extensions()
            if not state.folder.is_there:
                raise state.folder.gone()
        return record

    def check_platforms(self) -> None:
        """Check the platforms, once. After a run's first intent the driver waits for one that does not answer, because
        jobs may be running there, and only another one than the run's is a problem. Raises PlatformError with all
        problems."""
        state = self._state
        intended = any(attempt.native_id is not None for job in state.record.jobs.values() for attempt in job.attempts)
        if not self._is_checked:
            may_wait = intended and not state.had_ended
            check_platforms(state.plan, state.record, state.adapters, may_wait=may_wait)
        self._is_checked = True

    # -- what others ask of the driver; safe from any thread and from a signal handler ------------------------------

    def close(self) -> None:
        """Release what the driver holds in this process, whether it has run or not."""
        self._inbox.close()
        self.ledger.store.close()
        supervised.hang_up(self._state.record.folder)

    def stop(self, grace: float = GRACE) -> None:
        """Start nothing more and stop running jobs; ``run`` returns once they are gone."""
        self._inbox.put(lambda: self._stopping.stop_all(grace))

    def leave(self) -> None:
        """Start nothing more and leave the run: running jobs go on without the driver, and ``run`` returns."""
        self._inbox.put(self._state.leave)

    @property
    def end_requests(self) -> int:
        """How many requests to stop or to leave the run it has begun with."""
        return self._state.end_requests

    def look_at_requests(self) -> None:
        """Handle new requests in the store."""
        self._inbox.put(self._stopping.take_requests)

    # -- the loop ---------------------------------------------------------------------------------------------------

    @property
    def _is_over(self) -> bool:
        if self._state.leaving:
            return True
        if self._state.live or self._scheduler.has_jobs or self._ends.sweeping:
            return False
        if self._cleanup.open:
            self._cleanup.await_last()
        return not self._cleanup.open

    def _settle_served(self) -> None:
        """End the jobs that have served others which have all ended, and those that cannot be served any more."""
        scheduler = self._scheduler
        while scheduler.unneeded or scheduler.unserved:
            if scheduler.unneeded:
                self._stopping.end_unneeded(scheduler.unneeded.pop())
            else:
                self._ends.give_up(scheduler.unserved.pop())

    def _start_ready(self) -> None:
        """Start what may start now, give platforms what they may start next, and have more made ready."""
        scheduler, admission = self._scheduler, self._admission
        while scheduler.due and (job := scheduler.take_due()) is not None:
            self._starting.start(job)
        while (job := admission.take_with_slot(asking=not scheduler.due)) is not None:
            self._starting.start(job)
        while admission.first is not None and self._may_be_queued(admission.first):
            self._starting.start(admission.take(), without_slot=True)
        if self._prefetches and not self._inbox.has_idle_tasks and self._prefetch.missing(admission.soon(PREFETCHED)):
            self._inbox.when_idle(self._prefetch_next)

    def _may_be_queued(self, name: str) -> bool:
        """Whether the next job may be submitted before it has a slot, for its platform to start when another one ends:
        a driver takes as long to notice an end and to answer with the next start as a short job takes to run."""
        if not self._ends.jobs_are_short or self._never_queues or self._admission.queued >= MOST_QUEUED:
            return False
        if not self._prefetch.has(name):
            return False
        if self._admission.asks(name):  # its platform counts jobs, not what they ask for
            return False
        platform = self._state.platforms.get(self._state.adapters[name].key)
        if not isinstance(platform, InlinePlatform) or not platform.holds:
            return False
        if len(self._state.platforms) == 1:
            return True
        return all(each.platform is platform for each in self._state.live.values())  # the only ones whose ends it sees

    def _prefetch_next(self) -> None:
        for name in self._prefetch.missing(self._admission.soon(PREFETCHED)):
            self._prefetch.make_ready(self._state.record.jobs[name])

    def _do_next(self) -> None:
        """Wait for the next thing to do, and do it."""
        now = time.monotonic()
        if not self.ledger.pending:
            self._flush_at = now + COALESCING_DELAY
        elif now >= self._flush_at or not (self._state.live or self._admission.first):  # nothing more is to come
            self._state.committer.flush()
            self._flush_at = now + COALESCING_DELAY
        task = self._inbox.get(self._flush_at if self.ledger.pending else math.inf)
        if task is not None:
            task()

    # -- extensions -------------------------------------------------------------------------------------------------

    def _look_after_extensions(self) -> None:
        if self.listeners.pace is not None:
            self.listeners.look()
            self._inbox.later(self.listeners.pace, self._look_after_extensions)

    def _await_extensions(self) -> None:
        """Wait for deliveries to extensions, for a limited time, and not after a signal."""
        requests = self._state.end_requests
        seconds = min(self.listeners.limit, STOPPED_LIMIT) if requests else self.listeners.limit
        deadline = time.monotonic() + seconds
        while self._state.end_requests == requests and (until := self.listeners.awaited(deadline)) is not None:
            task = self._inbox.get(until)
            if task is not None:
                task()
