"""One list and one watch a run, namespace and kind: what Jobs and pods go through, as events of attempts.

Each kind is listed, then watched from the list's resourceVersion, with bookmarks; the server ends a watch after some
minutes, and the next one begins where it ended. Where a version is too old (410), it is listed anew and compared. Where
the server does not answer, the whole breaks off, and whoever reads it begins again.
"""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from aiflow_ext.model.attempt import AttemptEvent
from aiflow_ext.model.errors import UnreachableError
from aiflow_ext.model.states import JobState
from aiflow_ext_kubernetes import ends, manifest
from aiflow_ext_kubernetes.handler import EOF_WITHIN
from aiflow_ext_kubernetes.logs.follow import Follower
from aiflow_ext_kubernetes.logs.keep import keep_to_eof
from aiflow_ext_kubernetes.objects import delete_job, job_at, pods_of
from aiflow_ext_kubernetes.places import Known, Place, attempts
from aiflow_ext_kubernetes.server import ApiError, Stream, namespace_of, server_of

KINDS = {"job": "/apis/batch/v1/namespaces/{}/jobs", "pod": "/api/v1/namespaces/{}/pods"}
PAGE = 250  # objects of one answer
LASTS = (240, 300)  # seconds that a watch lasts, drawn
SILENCE = 100.0  # seconds without a bookmark (one a minute) after which a connection is taken for dead
TICK = 1.0  # seconds between two looks at the clock
MISSING = 3.0  # seconds after which a Job that no list shows is asked for by name
FOLLOW_AFTER = 1.0  # seconds that a job has run before its log is followed: shorter ones are read at their end
EVENTS_FIRST, EVENTS_LAST = 3.0, 60.0  # seconds between two questions why Jobs have no pods
PREPARED_WITHIN = 10.0  # seconds after which it is asked why a pod that has a node does not begin
UNREADY = ("FailedMount", "FailedCreatePodSandBox")  # what only events tell


class Told(NamedTuple):
    """What a feed tells: ``listed`` (all objects), ``changed``, ``deleted`` (one), or ``failed`` (an exception)."""

    what: str
    kind: str
    content: Any


class Feed:
    """Lists and watches one kind, in a thread of its own, until it is closed or fails."""

    def __init__(self, place: Place, run: str, kind: str, tell: Callable[[Told], None]) -> None:
        self._place, self._kind, self._tell = place, kind, tell
        self._path = KINDS[kind].format(namespace_of(place))
        self._selector = manifest.selector(run)
        self._closed = False
        self._stream: Stream | None = None
        threading.Thread(target=self._run, daemon=True, name=f"aiflow-{kind}s").start()

    def close(self) -> None:
        """Tell nothing more."""
        self._closed = True
        if self._stream is not None:
            self._stream.close()

    def _run(self) -> None:
        try:
            while not self._closed:
                version: str | None = self._list()
                while version is not None and not self._closed:
                    version = self._watch(version)
        except Exception as error:
            if not self._closed:
                self._tell(Told("failed", self._kind, error))

    def _list(self) -> str:
        """List all; returns the resourceVersion."""
        server = server_of(self._place)
        items: list[Any] = []
        query: dict[str, Any] = {"labelSelector": self._selector, "limit": PAGE}
        while True:
            try:
                found = server.get(self._path, **query)
            except ApiError as error:
                if error.status != 410 or "continue" not in query:
                    raise
                items, query = [], {key: query[key] for key in ("labelSelector", "limit")}  # the rest is too old: anew
                continue
            items += [ends.slim(item) for item in found["items"]]
            if not found["metadata"].get("continue"):
                break
            query["continue"] = found["metadata"]["continue"]
        self._tell(Told("listed", self._kind, items))
        return str(found["metadata"]["resourceVersion"])

    def _watch(self, version: str) -> str | None:
        """Watch from a version on; the last version at the end, None where it must be listed anew."""
        try:
            stream = self._stream = server_of(self._place).stream(
                self._path, silence=SILENCE, labelSelector=self._selector, watch="true", resourceVersion=version,
                allowWatchBookmarks="true", timeoutSeconds=random.randint(*LASTS),
            )  # fmt: skip
        except ApiError as error:
            if error.status == 410:
                return None
            raise
        try:
            for line in stream.lines():
                if self._closed:
                    return version
                event = json.loads(line)
                what, thing = event["type"], event["object"]
                if what == "ERROR":
                    if thing.get("code") == 410:
                        return None
                    raise UnreachableError(f"the watch of {self._kind}s broke off: {thing.get('message')}")
                version = str(thing["metadata"]["resourceVersion"])
                if what != "BOOKMARK":
                    change = "deleted" if what == "DELETED" else "changed"
                    self._tell(Told(change, self._kind, ends.slim(thing)))
        except ValueError as error:  # a line that the connection has cut off
            raise UnreachableError(f"the watch of {self._kind}s broke off: {error}") from error
        finally:
            stream.close()
        return version


class View:
    """The Jobs and pods of one run in one namespace, as the feeds tell them."""

    def __init__(self, place: Place, run: str) -> None:
        self.place, self.run = place, run
        self.jobs: dict[str, Any] = {}
        self.pods: dict[str, dict[str, Any]] = {}  # by Job, by name
        self.vanished: dict[str, Any] = {}  # Jobs that were there: their last state
        self.why: dict[str, str] = {}  # why a Job has no pod, or its pod does not begin
        self._listed: set[str] = set()
        self._asked, self._pause = -EVENTS_LAST, EVENTS_FIRST
        self._waits_since: float | None = None
        self._begun: dict[str, float] = {}  # since when pods are being made ready
        self._feeds: list[Feed] = []

    def open(self, tell: Callable[[View, Told], None]) -> None:
        """Begin."""
        self._feeds = [Feed(self.place, self.run, kind, lambda told: tell(self, told)) for kind in KINDS]

    def close(self) -> None:
        """End."""
        for feed in self._feeds:
            feed.close()

    @property
    def complete(self) -> bool:
        """Whether both kinds have been listed."""
        return len(self._listed) == len(KINDS)

    def take(self, told: Told) -> set[str]:
        """Note what is told; the native ids that it is about."""
        if told.what == "failed":
            raise told.content
        if told.what == "listed":
            return self._take_list(told)
        name = _job_of(told.kind, told.content)
        if told.kind == "job":
            if told.what == "deleted":
                self.vanished[name] = self.jobs.pop(name, None) or told.content
            else:
                self.jobs[name] = told.content
        else:
            pods = self.pods.setdefault(name, {})
            pods[str(told.content["metadata"]["name"])] = told.content
            if told.what == "deleted":  # its last words stand: the Job goes on to tell what that means
                told.content["metadata"].setdefault("deletionTimestamp", "gone")
                told.content["gone"] = True
        return {name}

    def _take_list(self, told: Told) -> set[str]:
        self._listed.add(told.kind)
        if told.kind == "job":
            fresh = {str(item["metadata"]["name"]): item for item in told.content}
            missing = {name: job for name, job in self.jobs.items() if name not in fresh}
            self.vanished |= missing
            self.jobs = fresh
            return set(fresh) | set(missing)
        pods: dict[str, dict[str, Any]] = {}
        for item in told.content:
            pods.setdefault(_job_of("pod", item), {})[str(item["metadata"]["name"])] = item
        names = set(self.pods) | set(pods)
        self.pods = pods
        return names

    def seen(self, native_id: str) -> ends.Seen | None:
        """What is so of an attempt; None where its Job was never there."""
        job = self.jobs.get(native_id)
        if job is None:
            last = self.vanished.get(native_id)
            pods = [pod for pod in self.pods.get(native_id, {}).values() if not pod.get("gone")]
            if last is None and not pods:
                return None
            return ends.Seen(ends.orphaned(native_id, last, pods, native_id in server_of(self.place).stopping))
        return ends.seen(native_id, job, self.pods.get(native_id, {}).values(), self.why.get(native_id))

    def ask_why(self, native_ids: Collection[str], now: float) -> set[str]:
        """Ask, from time to time and once for all, why started Jobs have no pods, and why pods that have a node do not
        begin; which attempts have new words."""
        waiting = {name: name for name in native_ids if name in self.jobs and not self.pods.get(name)
                   and not ends.is_new(self.jobs[name]) and not ends.is_ended(self.jobs[name])}  # fmt: skip
        preparing = self._preparing(native_ids, now)
        if not waiting and not preparing:
            self._waits_since = None
            if now - self._asked > EVENTS_LAST:  # not at once: on a busy cluster some wait a little all the time
                self._pause = EVENTS_FIRST
            return set()
        if self._waits_since is None:
            self._waits_since = now
        if now - self._waits_since < EVENTS_FIRST or now - self._asked < self._pause:
            return set()
        self._asked, self._pause = now, min(self._pause * 2, EVENTS_LAST)
        changed = set()
        for kind, reason, names in (("Job", "FailedCreate", waiting), *(("Pod", each, preparing) for each in UNREADY)):
            for name, words in self._events(kind, reason) if names else ():
                native_id = names.get(name)
                if native_id is not None and self.why.get(native_id) != words:
                    self.why[native_id] = words
                    changed.add(native_id)
        return changed

    def _preparing(self, native_ids: Collection[str], now: float) -> dict[str, str]:
        """The pods that a node has been getting ready for long, and their attempts."""
        found = {pod: native_id for native_id in native_ids for pod, thing in self.pods.get(native_id, {}).items()
                 if ends.is_prepared(thing)}  # fmt: skip
        self._begun = {pod: self._begun.get(pod, now) for pod in found}
        return {pod: native_id for pod, native_id in found.items() if now - self._begun[pod] >= PREPARED_WITHIN}

    def _events(self, kind: str, reason: str) -> Iterator[tuple[str, str]]:
        """What is said of objects, oldest first: their names, and the words."""
        path = f"/api/v1/namespaces/{namespace_of(self.place)}/events"
        try:
            found = server_of(self.place).get(path, fieldSelector=f"involvedObject.kind={kind},reason={reason}")
        except ApiError:
            return
        for event in sorted(found["items"], key=lambda item: str(item.get("lastTimestamp"))):
            words = str(event.get("message") or "")
            yield str(event["involvedObject"].get("name")), words if kind == "Job" else f"{reason}: {words}"


class Watcher:
    """The events of a run's attempts on all clusters and namespaces that they are in."""

    def __init__(self, native_ids: Collection[str], locate: Callable[[str], Known | None]) -> None:
        self._ids, self._locate = native_ids, locate
        self._views: dict[tuple[Place, str], View] = {}
        self._where: dict[str, View] = {}
        self._inbox: SimpleQueue[tuple[View, Told]] = SimpleQueue()
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
                    view, told = self._inbox.get(timeout=max(0.01, looked + TICK - time.monotonic()))
                except Empty:
                    yield None
                    continue
                for native_id in view.take(told):
                    if view.complete and native_id in self._ids:
                        self._where.setdefault(native_id, view)
                        yield from self._tell(native_id)
        finally:
            self._follower.close()
            for view in self._views.values():
                view.close()

    def _look(self, now: float) -> Iterator[AttemptEvent]:
        """What the clock brings: places that are not watched yet, missing Jobs, patience that is at its end."""
        for native_id in list(self._ids):
            view = self._where.get(native_id)
            if view is None:
                known = self._locate(native_id)
                if known is None:
                    yield ends.gone(native_id, None, False)
                    continue
                view = self._where[native_id] = self._view(known)
            if not view.complete:
                continue
            found = view.seen(native_id)
            if found is None:
                yield from self._missing(native_id, view, now)
            elif found.event.state is JobState.QUEUED:
                yield from self._impatient(native_id, view, found, now)
            elif found.event.state is JobState.RUNNING:
                self._follow(native_id, view, now)
            if native_id not in self._signatures and found is not None:
                yield from self._tell(native_id)
        self._follower.release_all_but(self._ids)
        for view in self._views.values():
            if view.complete:
                mine = [each for each in self._ids if self._where.get(each) is view]
                for native_id in view.ask_why(mine, now):
                    yield from self._tell(native_id)

    def _view(self, known: Known) -> View:
        key = (known.place, known.run)
        if key not in self._views:
            view = self._views[key] = View(*key)
            view.open(lambda view, told: self._inbox.put((view, told)))
        return self._views[key]

    def _tell(self, native_id: str) -> Iterator[AttemptEvent]:
        """The event of an attempt, where it says something new."""
        view = self._where[native_id]
        found = view.seen(native_id)
        if found is None:
            return
        self._note_pods(native_id, view, found)
        event = found.event
        if event.state is JobState.QUEUED and ends.is_new(view.jobs.get(native_id, {"metadata": {}})):
            return  # it stands there suspended: not submitted yet
        signature = (event.state, event.reason, event.restarts)
        if self._signatures.get(native_id) != signature:
            self._signatures[native_id] = signature
            yield event

    def _follow(self, native_id: str, view: View, now: float) -> None:
        """Have the log of a job followed that runs for more than a moment: its node keeps only the newest part."""
        known = attempts.get(native_id)
        if known is None or known.folder is None or known.pod is None or now - self._running.setdefault(
            native_id, now) < FOLLOW_AFTER:  # fmt: skip
            return
        if native_id in self._kept or native_id in server_of(view.place).stopping:
            self._follower.release(native_id)
        else:
            self._follower.follow(known.place, native_id, known.pod, known.folder)

    def _note_pods(self, native_id: str, view: View, found: ends.Seen) -> None:
        """Remember the pod's name; and where it is being deleted, save its log before it is gone."""
        pods = view.pods.get(native_id)
        known = attempts.get(native_id)
        if not pods or known is None:
            return
        name, pod = list(pods.items())[-1]
        known.pod = name
        known.has_run = known.has_run or ends.has_run(pod)
        deleted = pod["metadata"].get("deletionTimestamp")
        if deleted and native_id not in self._kept and native_id not in server_of(view.place).stopping:
            self._kept.add(native_id)
            self._follower.release(native_id)
            ends_within = float(pod["metadata"].get("deletionGracePeriodSeconds") or 0.0) + EOF_WITHIN
            keep_to_eof(known.place, native_id, known.folder, name, ends_within)

    def _missing(self, native_id: str, view: View, now: float) -> Iterator[AttemptEvent]:
        """A Job that no list has shown: perhaps it is too new, else it is gone."""
        if now - self._since.setdefault(native_id, now) < MISSING:
            return
        if job_at(view.place, native_id) is None and not pods_of(view.place, native_id):
            yield ends.gone(native_id, None, native_id in server_of(view.place).stopping)
        else:
            self._since[native_id] = now

    def _impatient(self, native_id: str, view: View, found: ends.Seen, now: float) -> Iterator[AttemptEvent]:
        """Give up an attempt whose image does not come, or which does not start in time."""
        known, job = attempts.get(native_id), view.jobs.get(native_id)
        if known is None or job is None or ends.is_new(job):
            return
        words = None
        if found.stuck is None:
            self._since.pop(native_id, None)
        elif now - self._since.setdefault(native_id, now) >= known.image_patience:
            words = f"{found.stuck} (for {known.image_patience:g} s)"
        started = ends.since(job)
        if known.start_within is not None and started is not None and time.time() - started > known.start_within:
            said = f": {found.event.reason}" if found.event.reason else ""
            words = f"it has not started within {math.ceil(known.start_within)} s{said}"
        if words is None:
            return
        delete_job(view.place, native_id, foreground=True)  # first: it must not start after it was given up
        yield AttemptEvent(native_id, JobState.FAILED, reason=words)


def _job_of(kind: str, thing: Any) -> str:
    metadata = thing["metadata"]
    if kind == "job":
        return str(metadata["name"])
    labels = metadata.get("labels") or {}
    return str(labels.get("batch.kubernetes.io/job-name") or labels.get("job-name"))
