"""What this process has seen of attempts on the server. A cache: the server is asked for what is not in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiflow_ext_kubernetes import status
from aiflow_ext_kubernetes.target import Target


class Seen:
    """What has been seen of one attempt.

    Attributes:
        pod: the name of its pod; None: none has been seen.
        failed: its other containers that have failed: see ``status.failed_beside``.
        has_run: whether its container was seen to have started.
        is_ours: whether the Job of its name is of this attempt; None: it has not been seen.
    """

    def __init__(self) -> None:
        self.pod: str | None = None
        self.has_run = False
        self.failed: dict[str, bool] = {}
        self.is_ours: bool | None = None

    def note_pod(self, pod: Mapping[str, Any]) -> None:
        """Note the newest pod of the attempt."""
        name = str(pod["metadata"]["name"])
        self.failed = {**(self.failed if name == self.pod else {}), **status.failed_beside(pod)}
        self.pod = name
        self.has_run = self.has_run or status.has_run(pod)


_seen: dict[tuple[Target, str], Seen] = {}


def seen_of(target: Target, native_id: str) -> Seen:
    """What has been seen of an attempt so far; to be added to."""
    return _seen.setdefault((target, native_id), Seen())


def forget(target: Target, native_id: str) -> None:
    """Drop what was seen of an attempt, which has been cleaned up."""
    _seen.pop((target, native_id), None)
