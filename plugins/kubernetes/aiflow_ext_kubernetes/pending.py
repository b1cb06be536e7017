"""Why attempts that were started have no pod, or why their pods, or what runs in them, do not begin; only the cluster's
events tell that."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from aiflow_ext.plugin.engines import Backoff
from aiflow_ext_kubernetes import answers, status
from aiflow_ext_kubernetes.informer import Informer
from aiflow_ext_kubernetes.paging import listed
from aiflow_ext_kubernetes.refusals import ApiError
from aiflow_ext_kubernetes.server import namespace_of, server_of
from aiflow_ext_kubernetes.target import Target

BACK_OFF = (3.0, 60.0)  # seconds between two requests: the first, and the longest
PREPARED_WITHIN = 10.0  # seconds after which the reason why a pod that has a node does not start is requested
_EVENT = {"lastTimestamp": str, "message": str, "involvedObject": {"name": str}}
UNREADY = ("FailedMount", "FailedCreatePodSandBox")  # what only events report
UNHEALTHY = "Unhealthy"  # of a probe that has failed


class PendingReasons:
    """Requests the events of one namespace from time to time, in one request for all attempts that wait.

    Attributes:
        by_id: reasons by native id, of those attempts that the cluster has reported one for.
    """

    def __init__(self, informer: Informer) -> None:
        self._informer = informer
        self.by_id: dict[str, str] = {}
        self._backoff = Backoff(*BACK_OFF)
        self._asked = -BACK_OFF[1]
        self._waits_since: float | None = None
        self._prepared_since: dict[str, float] = {}  # since when nodes are getting pods ready

    def update(self, native_ids: Collection[str], now: float) -> set[str]:
        """Request events, if the time has come. Returns the attempts that have a new reason.

        Args:
            native_ids: the attempts that matter.
            now: the time, of ``time.monotonic``.
        """
        first, longest = BACK_OFF
        jobs, pods = self._informer.jobs, self._informer.pods
        waiting = {name: name for name in native_ids if name in jobs and not pods.get(name)
                   and not status.is_new(jobs[name]) and not status.is_ended(jobs[name])}  # fmt: skip
        preparing = self._preparing(native_ids, now)
        starting = {pod: name for name in native_ids for pod, thing in pods.get(name, {}).items()
                    if name in jobs and status.is_starting(jobs[name], thing)}  # fmt: skip
        if not waiting and not preparing and not starting:
            self._waits_since = None
            if now - self._asked > longest:  # not at once: on a busy cluster some wait a little all the time
                self._backoff.reset()
            return set()
        if self._waits_since is None:
            self._waits_since = now
        if now - self._waits_since < first or now - self._asked < self._backoff.pause:
            return set()
        self._asked = now
        self._backoff.next()
        changed = set()
        asked = (
            ("Job", "FailedCreate", waiting),
            *(("Pod", each, preparing) for each in UNREADY),
            ("Pod", UNHEALTHY, starting),
        )
        for kind, reason, names in asked:
            for name, words in self._events(kind, reason) if names else ():
                native_id = names.get(name)
                if native_id is not None and self.by_id.get(native_id) != words:
                    self.by_id[native_id] = words
                    changed.add(native_id)
        return changed

    def _preparing(self, native_ids: Collection[str], now: float) -> dict[str, str]:
        """The pods that a node has been getting ready for long, and their attempts."""
        pods = self._informer.pods
        found = {pod: native_id for native_id in native_ids for pod, thing in pods.get(native_id, {}).items()
                 if status.is_prepared(thing)}  # fmt: skip
        self._prepared_since = {pod: self._prepared_since.get(pod, now) for pod in found}
        return {
            pod: native_id for pod, native_id in found.items() if now - self._prepared_since[pod] >= PREPARED_WITHIN
        }

    def _events(self, kind: str, reason: str) -> Iterator[tuple[str, str]]:
        """The events about objects, oldest first: the objects' names, and the messages."""
        for event in _listed(self._informer.target, f"involvedObject.kind={kind},reason={reason}"):
            words = event.get("message", "")
            told = f"{reason}: {words}" if reason in UNREADY else words
            yield str(event.get("involvedObject", {}).get("name")), told


def messages(target: Target, selector: str) -> list[str]:
    """What the events of a field selector say, oldest first; nothing where they cannot be read."""
    return [str(event.get("message", "")) for event in _listed(target, selector)]


def _listed(target: Target, selector: str) -> list[dict[str, Any]]:
    path = f"/api/v1/namespaces/{namespace_of(target)}/events"
    try:
        found, _ = listed(server_of(target), path, _event, fieldSelector=selector)
    except (ApiError, answers.TooLargeError):
        return []
    return sorted(found, key=lambda item: str(item.get("lastTimestamp")))


def _event(item: Any) -> dict[str, Any]:
    found: dict[str, Any] = answers.read(item, _EVENT, "an item")
    return found
