"""The queues of a ResourceManager's scheduler, capacity or fair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from aiflow_ext_yarn.answers import Fields
from aiflow_ext_yarn.http_failures import Refused, origin
from aiflow_ext_yarn.reports import Json
from aiflow_ext_yarn.resourcemanager import ResourceManager


class Queues:
    """The queues as the scheduler reports them now; each method asks it."""

    def __init__(self, rm: ResourceManager) -> None:
        self._rm = rm

    def named(self, name: str) -> Json | None:
        """A queue's entry in the scheduler's report, by its name or its path; None if there is no such queue."""
        return _queue_in(self._scheduler_info(), name)

    def may_be_made(self, name: str) -> bool:
        """Whether the scheduler creates a missing queue at its first application."""
        root = self._scheduler_info()
        if root.get("type") == "fairScheduler":
            return self._rm.setting("yarn.scheduler.fair.allow-undeclared-pools") != "false"
        parent = name.rpartition(".")[0] or "root"
        above = root if parent == "root" else _queue_in(root, parent)
        return above is not None and str(above.get("autoCreationEligibility", "off")) != "off"

    def paths_of(self, name: str) -> list[str]:
        """The paths of all queues with a name, of which the capacity scheduler takes none if there are several."""
        return sorted(_paths(self._scheduler_info(), name))

    def _scheduler_info(self) -> Mapping[str, Any]:
        answer = self._rm.call("GET", "/scheduler")
        found = Fields(self._rm.json_of(answer, "asking for the queues"), origin(answer.url), "a report of queues")
        return found.object("scheduler").object("schedulerInfo").value

    def may_submit(self, queue: str) -> str | None:
        """Why this user may not submit to a queue; None if it may, or the ResourceManager does not report it."""
        params = {"user": self._rm.cluster.user, "queue-acl-type": "SUBMIT_APPLICATIONS"}
        try:
            answer = self._rm.call("GET", f"/queues/{quote(queue)}/access", params)
        except Refused:
            return None
        if answer.status != 200:
            return None
        found = answer.json()
        if not isinstance(found, dict) or str(found.get("allowed", "true")).lower() != "false":
            return None
        return str(found.get("diagnostics") or "its access list does not have this user")


def _paths(info: Any, name: str) -> set[str]:
    """The paths of the queues with this name, ``info`` itself or below it."""
    if not isinstance(info, Mapping):
        return set()
    path = info.get("queuePath")
    found = {path} if info.get("queueName") == name and isinstance(path, str) else set()
    for holder in ("queues", "childQueues"):
        inner = info.get(holder) or {}
        inner = inner.get("queue") if isinstance(inner, Mapping) else inner
        for each in inner if isinstance(inner, list) else ():
            found |= _paths(each, name)
    return found


def _queue_in(info: Any, name: str) -> Json | None:
    """The queue with this name or path, ``info`` itself or below it; for capacity and fair scheduler."""
    if not isinstance(info, Mapping):
        return None
    names = [info.get("queueName"), info.get("queuePath")]
    bare = name.removeprefix("root.")
    if name in names or f"root.{bare}" in names or (bare in names and "." not in bare):
        return dict(info)
    if "rootQueue" in info:
        return _queue_in(info["rootQueue"], name)
    for holder in ("queues", "childQueues"):
        inner = info.get(holder) or {}
        inner = inner.get("queue") if isinstance(inner, Mapping) else inner
        for each in inner if isinstance(inner, list) else ():
            found = _queue_in(each, name)
            if found is not None:
                return found
    return None
