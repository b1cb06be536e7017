"""One poll for all of a run's applications on a cluster: by the run's tag, more rarely while nothing changes."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping

from aiflow_ext.plugin import AttemptEvent, BaseJob, JobState
from aiflow_ext.plugin.engines import Backoff
from aiflow_ext_yarn import poll_hints
from aiflow_ext_yarn.application import Application
from aiflow_ext_yarn.http import Busy
from aiflow_ext_yarn.job import YarnJob
from aiflow_ext_yarn.log_download import start_download
from aiflow_ext_yarn.request import run_tag

MIN_PAUSE, MAX_PAUSE = 0.15, 5.0  # seconds between two polls
LONGEST_REST = 600.0  # seconds for which a service that has too many requests is left alone
SHARE = 0.1  # of the time since the last change


class _Group:
    """The attempts of one run on one cluster."""

    def __init__(self, first: Application) -> None:
        self.first, self.tag = first, run_tag(first.run)
        self.reported: dict[str, tuple[JobState, str | None]] = {}
        self.seen: set[str] = set()  # the ResourceManager has known it
        self.backoff: dict[str, Backoff] = {}  # of those it never knew
        self.rests, self.rests_until = Backoff(1.0, 60.0), 0.0  # after an answer that there are too many requests
        self.due: dict[str, float] = {}  # when to ask for one of them

    def events(self, attempts: dict[str, Application]) -> Iterator[AttemptEvent]:
        """What has changed of these attempts. Raises Unreachable."""
        live = {report["id"]: report for report in self.first.rm.live(self.tag)}
        now = time.monotonic()
        for native_id, attempt in attempts.items():
            if self.reported.get(native_id, (JobState.INIT, None))[0].ended:
                continue
            report = live.get(native_id)
            if report is None and not self._due(native_id, now):
                continue
            if report is None:
                report = attempt.rm.report(native_id)
            if report is not None:
                self.seen.add(native_id)
                self.due.pop(native_id, None)
                self.backoff.pop(native_id, None)
            event = attempt.event(report)
            if event is None and (native_id in self.seen or poll_hints.was_submitted(native_id)):
                # The driver looks it up, and submits it again.
                self.seen.discard(native_id)
                poll_hints.absent(native_id)
                yield AttemptEvent(native_id, JobState.LOST, reason="the ResourceManager does not know the "
                                   "application, which was submitted and has not started")  # fmt: skip
                continue
            if event is None or self.reported.get(native_id) == (event.state, event.reason):
                continue
            if event.state is JobState.RUNNING:
                event.time = attempt.began_at(event.time)
            self.reported[native_id] = (event.state, event.reason)
            if event.state.ended and report is not None:
                start_download(attempt, report)
            yield event

    def _due(self, native_id: str, now: float) -> bool:
        """Whether to ask for an attempt that the poll does not show: at once where it was there before, else rarely."""
        exists = True if native_id in self.seen else poll_hints.was_submitted(native_id)
        if exists is not None:
            return exists
        if now < self.due.get(native_id, now):
            return False
        self.due[native_id] = now + self.backoff.setdefault(native_id, Backoff(0.5, 30.0)).next()
        return True


def watch(jobs: Mapping[str, BaseJob]) -> Iterator[AttemptEvent | None]:
    """The events of a run's attempts: what is so already, then what changes; None in between.

    ``jobs``, by native id, may grow and shrink while this is read. Raises Unreachable where no ResourceManager is
    active.
    """
    groups: dict[tuple[str, ...], _Group] = {}
    attempts: dict[str, Application | None] = {}  # None: of another job plugin
    changed = time.monotonic()
    while True:
        began = time.monotonic()
        for native_id in list(jobs):
            if native_id not in attempts and (job := jobs.get(native_id)) is not None:
                attempts[native_id] = job.application() if isinstance(job, YarnJob) else None
                changed = began
        for native_id in [each for each in attempts if each not in jobs]:
            del attempts[native_id]
            poll_hints.forget(native_id)
        by_group: dict[tuple[str, ...], dict[str, Application]] = {}
        for native_id, attempt in attempts.items():
            if attempt is None:
                continue
            key = (*attempt.cluster.key, attempt.run)
            groups.setdefault(key, _Group(attempt))
            by_group.setdefault(key, {})[native_id] = attempt
        for key, members in by_group.items():
            group = groups[key]
            if time.monotonic() < group.rests_until:
                continue
            try:
                for event in group.events(members):
                    changed = time.monotonic()
                    yield event
                group.rests.reset()
            except Busy as busy:
                rest = min(max(busy.after, group.rests.next()), LONGEST_REST)
                group.rests_until = time.monotonic() + rest * random.uniform(1.0, 1.2)
        pause = min(max((time.monotonic() - changed) * SHARE, MIN_PAUSE), MAX_PAUSE)
        deadline = time.monotonic() + pause * random.uniform(0.8, 1.2)  # clients that started together drift apart
        while (left := deadline - time.monotonic()) > 0:
            yield None
            if poll_hints.wait(min(left, 0.5)):
                time.sleep(0.05)  # what comes in a burst is asked for together
                changed = time.monotonic()
                break
