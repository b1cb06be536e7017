"""The events of a run's attempts: from an informer for each namespace, and from timeouts.

Where a server does not answer, the whole watch ends with an error, and its caller starts it again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from queue import Empty, Full, Queue
from typing import Any, NamedTuple

from aiflow_ext.plugin import AttemptEvent, BaseJob, JobState
from aiflow_ext_kubernetes import status
from aiflow_ext_kubernetes.config import KubernetesJobConfig
from aiflow_ext_kubernetes.handler import EOF_WITHIN, is_stopping
from aiflow_ext_kubernetes.informer import Informer
from aiflow_ext_kubernetes.logs.beside import begin_to_keep_failed
from aiflow_ext_kubernetes.logs.follow import Follower
from aiflow_ext_kubernetes.logs.keep import keep_to_eof
from aiflow_ext_kubernetes.objects import delete_job, job_at, pods_of
from aiflow_ext_kubernetes.pending import PendingReasons
from aiflow_ext_kubernetes.pinned import of_run
from aiflow_ext_kubernetes.reflector import Change
from aiflow_ext_kubernetes.seen import seen_of
from aiflow_ext_kubernetes.target import Target, target_of

TICK = 1.0  # seconds between two checks of timeouts
REFUSED = 60.0  # seconds for which admission may refuse an attempt's pod: what is missing may be created meanwhile
MISSING = 3.0  # seconds after which a Job that no list shows is asked for by name
MOST_WAITING = 1000  # changes that have come and are not taken yet; then no more are read
FOLLOW_AFTER = 1.0  # seconds that a job has run before its log is followed: shorter ones are read at their end


class Watched(NamedTuple):
    """What a watch needs to know of an attempt's job.

    Args:
        target: where the attempt is.
        run: the run's id.
        folder: its folder on this machine; None where it has none.
        image_patience: seconds for which pulling the image may fail.
        start_within: seconds in which the container must start; None: no limit.
        queue: the queue that admits it; None: it has none.
    """

    target: Target
    run: str
    folder: str | None
    image_patience: float
    start_within: float | None
    queue: str | None


class Watcher:
    """The events of a run's attempts in all clusters and namespaces that they are in.

    Args:
        jobs: the attempts' jobs by native id; it changes while it is read, and may generate a job that is asked for.
    """

    def __init__(self, jobs: Mapping[str, BaseJob]) -> None:
        self._jobs = jobs
        self._watched: dict[str, Watched] = {}
        self._informers: dict[tuple[Target, str], Informer] = {}
        self._reasons: dict[Informer, PendingReasons] = {}
        self._inbox: Queue[tuple[Informer, Change]] = Queue(MOST_WAITING)
        self._closed = False
        self._signatures: dict[str, tuple[Any, ...]] = {}
        self._since: dict[str, float] = {}  # when an attempt was first found to be stuck, or missing
        self._kept: set[str] = set()
        self._running: dict[str, float] = {}  # since when, as far as this watcher has seen
        self._follower = Follower()

    def events(self) -> Iterator[AttemptEvent | None]:
        """The events; None at least once a second in between."""
        try:
            looked = 0.0
            while True:
                now = time.monotonic()
                if now - looked >= TICK:
                    looked = now
                    yield from self._look(now)
                try:
                    informer, change = self._inbox.get(timeout=max(0.01, looked + TICK - time.monotonic()))
                except Empty:
                    yield None
                    continue
                for native_id in informer.take(change):
                    if informer.complete and native_id in self._jobs:
                        yield from self._tell(native_id)
        finally:
            self._closed = True
            self._follower.close()
            for informer in self._informers.values():
                informer.close()

    def _look(self, now: float) -> Iterator[AttemptEvent]:
        """What is checked from time to time: namespaces that are not watched yet, missing Jobs, expired timeouts."""
        for native_id in list(self._jobs):
            watched = self._attempt(native_id)
            if watched is None:
                continue
            informer = self._informer(watched)
            if not informer.complete:
                continue
            found = self._status(native_id, watched)
            if found is None:
                yield from self._missing(native_id, watched, now)
            elif found.event.state is JobState.QUEUED:
                yield from self._impatient(native_id, watched, found, now)
            pods = informer.pods.get(native_id, {}).values()
            if found is not None and not found.event.state.ended and any(map(status.is_running, pods)):
                self._follow(native_id, watched, now)
            if native_id not in self._signatures and found is not None:
                yield from self._tell(native_id)
        self._follower.release_all_but(self._jobs)
        for informer in self._informers.values():
            informer.forget_all_but(self._jobs)
        waiting: dict[Informer, list[str]] = {}
        for native_id in self._jobs:
            if (watched := self._watched.get(native_id)) is not None:
                waiting.setdefault(self._informer(watched), []).append(native_id)
        for informer, native_ids in waiting.items():
            if informer.complete:
                for native_id in self._reasons[informer].update(native_ids, now):
                    yield from self._tell(native_id)

    def _attempt(self, native_id: str) -> Watched | None:
        """What the watch needs to know of an attempt; None if it has ended meanwhile."""
        found = self._watched.get(native_id)
        if found is None:
            try:
                job = self._jobs[native_id]
            except KeyError:
                return None
            context, config = job.job_context, job.job_config
            assert context is not None
            assert isinstance(config, KubernetesJobConfig)
            found = self._watched[native_id] = Watched(
                of_run(target_of(config), context.run_folder),
                str(context.run_id),
                context.work_folder,
                config.image_patience,
                config.start_within,
                config.queue,
            )
        return found

    def _informer(self, watched: Watched) -> Informer:
        key = (watched.target, watched.run)
        if key not in self._informers:
            informer = self._informers[key] = Informer(*key)
            self._reasons[informer] = PendingReasons(informer)
            informer.open(self._take)
        return self._informers[key]

    def _take(self, informer: Informer, change: Change) -> None:
        """Called in a reflector's thread."""
        while not self._closed:
            try:
                self._inbox.put((informer, change), timeout=TICK)
                return
            except Full:
                continue

    def _status(self, native_id: str, watched: Watched) -> status.Status | None:
        informer = self._informer(watched)
        found = informer.status_of(native_id, self._reasons[informer].by_id.get(native_id))
        if found is None or found.event.state is not JobState.LOST:
            return found
        if is_stopping(watched.folder):
            return status.Status(status.vanished(native_id, None, True))
        told = self._signatures.get(native_id)
        if told is not None and told[0] is JobState.LOST:
            return found
        # The watch of Jobs may be behind the one of pods: only the server's answer by name is proof of absence.
        job, pods = job_at(watched.target, native_id), pods_of(watched.target, native_id)
        if job is not None:
            return status.status_of(native_id, job, pods)
        return status.Status(status.without_job(native_id, informer.last_of(native_id), pods, False))

    def _tell(self, native_id: str) -> Iterator[AttemptEvent]:
        """The event of an attempt, if it differs from the last one."""
        watched = self._attempt(native_id)
        if watched is None:
            return
        found = self._status(native_id, watched)
        if found is None:
            return
        informer = self._informer(watched)
        self._note_pods(native_id, watched, informer)
        event = found.event
        if event.state is JobState.QUEUED and status.is_new(informer.jobs.get(native_id, {"metadata": {}})):
            return  # it is suspended: not submitted yet
        signature = (event.state, event.reason, event.restarts, event.instance, event.node)
        if self._signatures.get(native_id) != signature:
            if event.state.ended and event.disruption:
                self._withdraw(native_id, watched)
            self._signatures[native_id] = signature
            yield event

    def _withdraw(self, native_id: str, watched: Watched) -> None:
        """Delete a Job that its queue has suspended again, and would resume beside the next attempt."""
        if watched.queue is None:
            return
        job = job_at(watched.target, native_id)  # the watch of Jobs may be behind the one of pods
        if job is not None and job["spec"].get("suspend"):
            delete_job(watched.target, native_id, foreground=True)

    def _follow(self, native_id: str, watched: Watched, now: float) -> None:
        """Start to follow the log of a container that has run for ``FOLLOW_AFTER`` seconds: its node keeps only the
        newest part."""
        pods = self._informer(watched).pods.get(native_id)
        if watched.folder is None or not pods or now - self._running.setdefault(native_id, now) < FOLLOW_AFTER:
            return
        if native_id in self._kept:
            self._follower.release(native_id)
        else:
            self._follower.follow(watched.target, native_id, list(pods)[-1], watched.folder)

    def _note_pods(self, native_id: str, watched: Watched, informer: Informer) -> None:
        """Note the pod; if it is being deleted, copy its log before it is gone."""
        pods = informer.pods.get(native_id)
        if not pods:
            return
        name, pod = list(pods.items())[-1]
        seen = seen_of(watched.target, native_id)
        seen.note_pod(pod)
        if pod["metadata"].get("deletionTimestamp") and native_id not in self._kept:
            self._kept.add(native_id)
            self._follower.release(native_id)
            if seen.failed:
                begin_to_keep_failed(watched.target, watched.folder, name, seen.failed)
            ends_within = float(pod["metadata"].get("deletionGracePeriodSeconds") or 0.0) + EOF_WITHIN
            keep_to_eof(watched.target, native_id, watched.folder, name, ends_within)

    def _missing(self, native_id: str, watched: Watched, now: float) -> Iterator[AttemptEvent]:
        """Handle a Job that no list has shown: it may be too new, else it is gone."""
        if now - self._since.setdefault(native_id, now) < MISSING:
            return
        if job_at(watched.target, native_id) is None and not pods_of(watched.target, native_id):
            yield status.vanished(native_id, None, is_stopping(watched.folder))
        else:
            self._since[native_id] = now

    def _impatient(self, native_id: str, watched: Watched, found: status.Status, now: float) -> Iterator[AttemptEvent]:
        """Give up an attempt whose image cannot be pulled, whose pod is refused, or which does not start in time."""
        job = self._informer(watched).jobs.get(native_id)
        if job is None or status.is_new(job):
            return
        words = None
        patience = watched.image_patience if self._informer(watched).pods.get(native_id) else REFUSED
        if found.stuck is None:
            self._since.pop(native_id, None)
        elif now - self._since.setdefault(native_id, now) >= patience:
            words = f"{found.stuck} (for {patience:g} s)"
        started = status.since(job)
        if watched.start_within is not None and started is not None and time.time() - started > watched.start_within:
            said = f": {found.event.reason}" if found.event.reason else ""
            words = f"it has not started within {math.ceil(watched.start_within)} s{said}"
        if words is None:
            return
        delete_job(watched.target, native_id, foreground=True)  # first: it must not start after it was given up
        yield AttemptEvent(native_id, JobState.FAILED, reason=words)
