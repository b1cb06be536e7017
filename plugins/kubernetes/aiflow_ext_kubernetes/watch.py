"""The events of a run's attempts: an informer a namespace, and what only the passing of time brings.

Where a server does not answer, the whole watch breaks off, and whoever reads it begins again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator
from queue import Empty, SimpleQueue
from typing import Any

from aiflow_ext.plugin import AttemptEvent, JobState
from aiflow_ext_kubernetes import status
from aiflow_ext_kubernetes.handler import EOF_WITHIN
from aiflow_ext_kubernetes.informer import Informer
from aiflow_ext_kubernetes.logs.follow import Follower
from aiflow_ext_kubernetes.logs.keep import keep_to_eof
from aiflow_ext_kubernetes.objects import delete_job, job_at, pods_of
from aiflow_ext_kubernetes.pending import PendingReasons
from aiflow_ext_kubernetes.places import Known, Place, attempts
from aiflow_ext_kubernetes.reflector import Change
from aiflow_ext_kubernetes.server import server_of

TICK = 1.0  # seconds between two looks at the clock
MISSING = 3.0  # seconds after which a Job that no list shows is asked for by name
FOLLOW_AFTER = 1.0  # seconds that a job has run before its log is followed: shorter ones are read at their end


class Watcher:
    """The events of a run's attempts in all clusters and namespaces that they are in.

    Args:
        native_ids: the attempts; it changes while it is read.
        locate: where an attempt is; None: nowhere.
    """

    def __init__(self, native_ids: Collection[str], locate: Callable[[str], Known | None]) -> None:
        self._ids, self._locate = native_ids, locate
        self._informers: dict[tuple[Place, str], Informer] = {}
        self._reasons: dict[Informer, PendingReasons] = {}
        self._where: dict[str, Informer] = {}
        self._inbox: SimpleQueue[tuple[Informer, Change]] = SimpleQueue()
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
                    if informer.complete and native_id in self._ids:
                        self._where.setdefault(native_id, informer)
                        yield from self._tell(native_id)
        finally:
            self._follower.close()
            for informer in self._informers.values():
                informer.close()

    def _look(self, now: float) -> Iterator[AttemptEvent]:
        """What the clock brings: namespaces that are not watched yet, missing Jobs, patience that is at its end."""
        for native_id in list(self._ids):
            informer = self._where.get(native_id)
            if informer is None:
                known = self._locate(native_id)
                if known is None:
                    yield status.vanished(native_id, None, False)
                    continue
                informer = self._where[native_id] = self._informer(known)
            if not informer.complete:
                continue
            found = self._status(native_id)
            if found is None:
                yield from self._missing(native_id, informer, now)
            elif found.event.state is JobState.QUEUED:
                yield from self._impatient(native_id, informer, found, now)
            elif found.event.state is JobState.RUNNING:
                self._follow(native_id, informer, now)
            if native_id not in self._signatures and found is not None:
                yield from self._tell(native_id)
        self._follower.release_all_but(self._ids)
        for informer, reasons in self._reasons.items():
            if informer.complete:
                mine = [each for each in self._ids if self._where.get(each) is informer]
                for native_id in reasons.update(mine, now):
                    yield from self._tell(native_id)

    def _informer(self, known: Known) -> Informer:
        key = (known.place, known.run)
        if key not in self._informers:
            informer = self._informers[key] = Informer(*key)
            self._reasons[informer] = PendingReasons(informer)
            informer.open(lambda informer, change: self._inbox.put((informer, change)))
        return self._informers[key]

    def _status(self, native_id: str) -> status.Status | None:
        informer = self._where[native_id]
        return informer.status_of(native_id, self._reasons[informer].by_id.get(native_id))

    def _tell(self, native_id: str) -> Iterator[AttemptEvent]:
        """The event of an attempt, where it says something new."""
        informer = self._where[native_id]
        found = self._status(native_id)
        if found is None:
            return
        self._note_pods(native_id, informer)
        event = found.event
        if event.state is JobState.QUEUED and status.is_new(informer.jobs.get(native_id, {"metadata": {}})):
            return  # it stands there suspended: not submitted yet
        signature = (event.state, event.reason, event.restarts)
        if self._signatures.get(native_id) != signature:
            self._signatures[native_id] = signature
            yield event

    def _follow(self, native_id: str, informer: Informer, now: float) -> None:
        """Have the log of a job followed that runs for more than a moment: its node keeps only the newest part."""
        known = attempts.get(native_id)
        if known is None or known.folder is None or known.pod is None or now - self._running.setdefault(
            native_id, now) < FOLLOW_AFTER:  # fmt: skip
            return
        if native_id in self._kept or native_id in server_of(informer.place).stopping:
            self._follower.release(native_id)
        else:
            self._follower.follow(known.place, native_id, known.pod, known.folder)

    def _note_pods(self, native_id: str, informer: Informer) -> None:
        """Remember the pod's name; and where it is being deleted, save its log before it is gone."""
        pods = informer.pods.get(native_id)
        known = attempts.get(native_id)
        if not pods or known is None:
            return
        name, pod = list(pods.items())[-1]
        known.pod = name
        known.has_run = known.has_run or status.has_run(pod)
        deleted = pod["metadata"].get("deletionTimestamp")
        if deleted and native_id not in self._kept and native_id not in server_of(informer.place).stopping:
            self._kept.add(native_id)
            self._follower.release(native_id)
            ends_within = float(pod["metadata"].get("deletionGracePeriodSeconds") or 0.0) + EOF_WITHIN
            keep_to_eof(known.place, native_id, known.folder, name, ends_within)

    def _missing(self, native_id: str, informer: Informer, now: float) -> Iterator[AttemptEvent]:
        """A Job that no list has shown: perhaps it is too new, else it is gone."""
        if now - self._since.setdefault(native_id, now) < MISSING:
            return
        if job_at(informer.place, native_id) is None and not pods_of(informer.place, native_id):
            yield status.vanished(native_id, None, native_id in server_of(informer.place).stopping)
        else:
            self._since[native_id] = now

    def _impatient(
        self, native_id: str, informer: Informer, found: status.Status, now: float
    ) -> Iterator[AttemptEvent]:
        """Give up an attempt whose image does not come, or which does not start in time."""
        known, job = attempts.get(native_id), informer.jobs.get(native_id)
        if known is None or job is None or status.is_new(job):
            return
        words = None
        if found.stuck is None:
            self._since.pop(native_id, None)
        elif now - self._since.setdefault(native_id, now) >= known.image_patience:
            words = f"{found.stuck} (for {known.image_patience:g} s)"
        started = status.since(job)
        if known.start_within is not None and started is not None and time.time() - started > known.start_within:
            said = f": {found.event.reason}" if found.event.reason else ""
            words = f"it has not started within {math.ceil(known.start_within)} s{said}"
        if words is None:
            return
        delete_job(informer.place, native_id, foreground=True)  # first: it must not start after it was given up
        yield AttemptEvent(native_id, JobState.FAILED, reason=words)
