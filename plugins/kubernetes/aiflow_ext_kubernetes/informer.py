"""The current Jobs and pods of one run in one namespace; a reflector for each kind keeps them up to date."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

from aiflow_ext.plugin import PlatformError
from aiflow_ext_kubernetes import status
from aiflow_ext_kubernetes.objects import is_main
from aiflow_ext_kubernetes.reflector import KINDS, Change, Reflector
from aiflow_ext_kubernetes.target import Target

MOST_PODS = 1000  # of one attempt
MANY = 1000  # attempts whose objects are kept although nobody asks for them any more


class Informer:
    """The objects of a run in a namespace, by native id.

    Attributes:
        jobs: the Jobs that exist.
        pods: the pods of each attempt, by name; of an Indexed Job, those of index 0.
    """

    def __init__(self, target: Target, run: str) -> None:
        self.target, self.run = target, run
        self.jobs: dict[str, Any] = {}
        self.pods: dict[str, dict[str, Any]] = {}
        self._vanished: dict[str, Any] = {}  # Jobs that were there: their last state
        self._listed: set[str] = set()
        self._reflectors: list[Reflector] = []

    def open(self, tell: Callable[[Informer, Change], None]) -> None:
        """Start the threads that report changes, which are to be given to :meth:`take`."""
        self._reflectors = [Reflector(self.target, self.run, kind, lambda change: tell(self, change)) for kind in KINDS]

    def close(self) -> None:
        """End."""
        for reflector in self._reflectors:
            reflector.close()

    @property
    def complete(self) -> bool:
        """Whether both kinds have been listed."""
        return len(self._listed) == len(KINDS)

    def take(self, change: Change) -> set[str]:
        """Apply a change; returns the native ids of its attempts. Raises the exception that a reflector failed with."""
        if change.what == "failed":
            raise change.content
        if change.what == "listed":
            return self._take_list(change)
        name = _native_id(change.kind, change.content)
        if change.kind == "pod" and not is_main(change.content):
            return set()
        if change.kind == "job":
            if change.what == "deleted":
                self._vanished[name] = self.jobs.pop(name, None) or change.content
            else:
                self.jobs[name] = change.content
        else:
            pods = self.pods.setdefault(name, {})
            pods[str(change.content["metadata"]["name"])] = change.content
            if len(pods) > MOST_PODS:
                raise PlatformError(f"the API server tells of more than {MOST_PODS} pods of the Job {name[:100]}")
            if change.what == "deleted":  # its last state is kept: the Job decides what that means
                change.content["metadata"].setdefault("deletionTimestamp", "gone")
                change.content["gone"] = True
        return {name}

    def _take_list(self, change: Change) -> set[str]:
        self._listed.add(change.kind)
        if change.kind == "job":
            fresh = {str(item["metadata"]["name"]): item for item in change.content}
            missing = {name: job for name, job in self.jobs.items() if name not in fresh}
            self._vanished |= missing
            self.jobs = fresh
            return set(fresh) | set(missing)
        pods: dict[str, dict[str, Any]] = {}
        for item in filter(is_main, change.content):
            pods.setdefault(_native_id("pod", item), {})[str(item["metadata"]["name"])] = item
        names = set(self.pods) | set(pods)
        self.pods = pods
        return names

    def forget_all_but(self, native_ids: Container[str]) -> None:
        """Drop the objects of all other attempts, if those are many."""
        for kept in (self.jobs, self.pods, self._vanished):
            others = [name for name in kept if name not in native_ids]
            for name in others if len(others) > MANY else ():
                del kept[name]

    def status_of(self, native_id: str, why_pending: str | None = None) -> status.Status | None:
        """The status of an attempt; None if its Job was never seen.

        Args:
            native_id: the Job's name.
            why_pending: why it has no pod, or its pod does not begin, where the cluster has reported it.
        """
        job = self.jobs.get(native_id)
        if job is None:
            last = self._vanished.get(native_id)
            pods = [pod for pod in self.pods.get(native_id, {}).values() if not pod.get("gone")]
            if last is None and not pods:
                return None
            return status.Status(status.without_job(native_id, last, pods, False))
        return status.status_of(native_id, job, self.pods.get(native_id, {}).values(), why_pending)

    def last_of(self, native_id: str) -> Any | None:
        """The last state of a Job that is gone; None if it was never seen."""
        return self._vanished.get(native_id)


def _native_id(kind: str, thing: Any) -> str:
    metadata = thing["metadata"]
    if kind == "job":
        return str(metadata["name"])
    labels = metadata.get("labels") or {}
    return str(labels.get("batch.kubernetes.io/job-name") or labels.get("job-name"))
