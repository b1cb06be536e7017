"""One poll for all of a run's applications on a cluster, by the run's tag; ``pacing`` says when."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aiflow_ext.plugin import AttemptEvent, BaseJob, JobState
from aiflow_ext.plugin.engines import Backoff
from aiflow_ext_yarn import poll_hints
from aiflow_ext_yarn.application import Application
from aiflow_ext_yarn.http_failures import Busy
from aiflow_ext_yarn.job import YarnJob
from aiflow_ext_yarn.log_download import start_download
from aiflow_ext_yarn.pacing import Pacing
from aiflow_ext_yarn.request import run_tag
from aiflow_ext_yarn.states import launched

LONGEST_REST = 600.0  # seconds for which a service that has too many requests is left alone
OVERLAP = 5.0  # seconds: an end has its time before the ResourceManager has stored it and shows it
MOST_REPORTS = 20  # of applications that a poll does not show are requested at once, at most
_pacings: dict[tuple[str, ...], Pacing] = {}  # kept, so that a watch that broke off does not begin with quick polls


class _Group:
    """The attempts of one run on one cluster."""

    def __init__(self, key: tuple[str, ...], first: Application, clock: Callable[[], float]) -> None:
        self.first, self.tag, self.clock = first, run_tag(first.run), clock
        self.pacing = _pacings.setdefault(key, Pacing(clock()))
        self.attempts: dict[str, Application] = {}
        self.reported: dict[str, tuple[JobState, str | None, int]] = {}
        self.seen: set[str] = set()  # the ResourceManager has known it
        self.backoff: dict[str, Backoff] = {}  # of those it never knew
        self.rests = Backoff(1.0, 60.0)  # after an answer that there are too many requests
        self.next_request: dict[str, float] = {}  # when to ask for one of them
        self.complete_to: float | None = None  # all ends before this time of the ResourceManager's clock are known
        self.requests, self.listed = 0, -1  # of this poll; -1: no list of live ones

    def poll(self) -> Iterator[tuple[AttemptEvent, Application, dict[str, Any] | None]]:
        """What has changed of its attempts, each with its report, if there is one. Raises Unreachable."""
        began = self.clock()
        self.requests, self.listed = 0, -1
        try:
            lists = self.complete_to is None or self.pacing.may_list(began)
            changes = self._listed(began) if lists else self._ended()
            for change in changes:
                self.pacing.changed(self.clock())
                yield change
            self.rests.reset()
        except Busy as busy:
            rest = min(max(busy.after, self.rests.next()), LONGEST_REST)
            self.pacing.rests(self.clock() + rest * random.uniform(1.0, 1.2))
            return
        except Exception:
            self._done(began)
            raise
        self._done(began)

    def _done(self, began: float) -> None:
        now = self.clock()
        self.pacing.polled(now, self.requests, now - began, self.listed if self.listed >= 0 else None)
        self.pacing.only_lists = self.complete_to is None

    def _ended(self) -> Iterator[tuple[AttemptEvent, Application, dict[str, Any] | None]]:
        """The attempts that have ended since the last poll: one request, whose answer has these alone."""
        self.requests += 1
        found = self.first.rm.ended(self.tag, None if self.complete_to is None else self.complete_to - OVERLAP)
        for report in found.reports:
            attempt = self.attempts.get(report["id"])
            if attempt is not None and not self._is_over(attempt):
                yield from self._change(attempt, report)
        self.complete_to = found.at

    def _listed(self, now: float) -> Iterator[tuple[AttemptEvent, Application, dict[str, Any] | None]]:
        """What has changed by the list of live applications, and by what is known of those that are not on it."""
        self.requests += 1
        found = self.first.rm.live(self.tag)
        self.listed = found.size
        live = {report["id"]: report for report in found.reports}
        missing = []
        for native_id, attempt in self.attempts.items():
            if self._is_over(attempt):
                continue
            if native_id in live:
                yield from self._change(attempt, live[native_id])
            elif self._due(native_id, now):
                missing.append(attempt)
        if len(missing) > 1 and found.at is not None:
            yield from self._ended()
            missing = [attempt for attempt in missing if not self._is_over(attempt)]
        for attempt in missing[:MOST_REPORTS]:
            self.requests += 1
            there = self._was_there(attempt.native_id) is True  # not later: it may be submitted during the request
            yield from self._change(attempt, attempt.rm.report(attempt.native_id), there)
        self.complete_to = found.at

    def _change(
        self, attempt: Application, report: dict[str, Any] | None, there: bool = False
    ) -> Iterator[tuple[AttemptEvent, Application, dict[str, Any] | None]]:
        """The event that an attempt's report is, unless it was yielded before; ``there``: whether the application
        existed before the report was requested."""
        native_id = attempt.native_id
        if report is not None:
            self.seen.add(native_id)
            self.next_request.pop(native_id, None)
            self.backoff.pop(native_id, None)
        event = attempt.event(report)
        if event is not None and event.state.ended and report is not None:
            event = attempt.explained(event, report)
        if event is None and there:
            # The driver looks it up, and submits it again.
            self.seen.discard(native_id)
            poll_hints.absent(native_id)
            words = "the ResourceManager does not know the application, which was submitted and has not started"
            yield AttemptEvent(native_id, JobState.LOST, reason=words), attempt, None
            return
        if event is None or self.reported.get(native_id) == _facts(event):
            return
        if event.state is JobState.RUNNING:
            event.time = attempt.began_at(event.time)
        elif self._ran_unseen(event) and report is not None and (since := launched(report)) is not None:
            yield AttemptEvent(native_id, JobState.RUNNING, time=attempt.began_at(since)), attempt, report
        self.reported[native_id] = _facts(event)
        yield event, attempt, report

    def _ran_unseen(self, event: AttemptEvent) -> bool:
        """Whether this is the end of an attempt that has run between two polls, or while its node was away."""
        before = self._last_state(event.native_id)
        ended_itself = event.exit_code is not None or event.signal is not None
        return event.state.ended and ended_itself and before is not JobState.RUNNING

    def _was_there(self, native_id: str) -> bool | None:
        """Whether the application existed, by what polls and this process's calls show; None: they do not."""
        return True if native_id in self.seen else poll_hints.was_submitted(native_id)

    def _is_over(self, attempt: Application) -> bool:
        return self._last_state(attempt.native_id).ended

    def _last_state(self, native_id: str) -> JobState:
        found = self.reported.get(native_id)
        return JobState.INIT if found is None else found[0]

    def _due(self, native_id: str, now: float) -> bool:
        """Whether to ask for an attempt that the poll does not show: at once where it was there before, else rarely."""
        exists = self._was_there(native_id)
        if exists is not None:
            return exists
        if now < self.next_request.get(native_id, now):
            return False
        self.next_request[native_id] = now + self.backoff.setdefault(native_id, Backoff(0.5, 30.0)).next()
        return True


def _facts(event: AttemptEvent) -> tuple[JobState, str | None, int]:
    """What makes an event another one than the last."""
    return event.state, event.reason, event.restarts


class Polls:
    """The polls of a run's attempts, of one client.

    Args:
        jobs: by native id; may grow and shrink.
        clock: gives the time, in seconds.
    """

    def __init__(self, jobs: Mapping[str, BaseJob], clock: Callable[[], float] = time.monotonic) -> None:
        self._jobs, self._clock = jobs, clock
        self._group_of: dict[str, _Group | None] = {}  # by native id; None: of another job plugin
        self._groups: dict[tuple[str, ...], _Group] = {}

    def due(self) -> float:
        """When the next poll is to be made; infinite where there is nothing to poll for."""
        self._refresh()
        return min((group.pacing.due() for group in self._groups.values() if group.attempts), default=float("inf"))

    def changed(self) -> None:
        """This process has changed something on a cluster."""
        for group in self._groups.values():
            group.pacing.changed(self._clock())

    def poll(self) -> Iterator[tuple[AttemptEvent, Application, dict[str, Any] | None]]:
        """Poll each cluster whose turn it is: what has changed, with the attempt and its report, if there is one.

        Raises Unreachable where no ResourceManager is active.
        """
        self._refresh()
        for group in self._groups.values():
            if group.attempts and group.pacing.due() <= self._clock():
                yield from group.poll()

    def _refresh(self) -> None:
        for native_id in list(self._jobs):
            job = self._jobs.get(native_id)
            if native_id in self._group_of or job is None:
                continue
            self._group_of[native_id] = None
            if isinstance(job, YarnJob):
                attempt = job.application()
                key = (*attempt.cluster.key, attempt.run)
                if key not in self._groups:
                    self._groups[key] = _Group(key, attempt, self._clock)
                group = self._group_of[native_id] = self._groups[key]
                group.attempts[native_id] = attempt
                group.pacing.changed(self._clock())
        for native_id in [each for each in self._group_of if each not in self._jobs]:
            if (left := self._group_of.pop(native_id)) is not None:
                left.attempts.pop(native_id).leave()
            poll_hints.forget(native_id)


def watch(jobs: Mapping[str, BaseJob]) -> Iterator[AttemptEvent | None]:
    """The events of a run's attempts: what is so already, then what changes; None in between.

    ``jobs``, by native id, may grow and shrink while this is read. Raises Unreachable where no ResourceManager is
    active.
    """
    polls = Polls(jobs)
    while True:
        for event, attempt, report in polls.poll():
            if event.state.ended and report is not None:
                start_download(attempt, report)
            yield event
        while (left := polls.due() - time.monotonic()) > 0:
            yield None
            if poll_hints.wait(min(left, 0.5)):
                time.sleep(0.05)  # what comes in a burst is asked for together
                polls.changed()
