"""What the second plugin specification speaks in: requests, look-ups, events and outcomes of attempts."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from aiflow_ext.model.jsonable import Jsonable, register_type
from aiflow_ext.model.states import JobState


class Request(Jsonable):
    """Exactly what a platform is sent for one attempt, as pure data.

    Args:
        kind: how it is sent, for example ``exec``, ``kubernetes`` or ``http``.
        content: what is sent; secrets stand as references, a value that a server assigns as ``${server:...}``.
    """

    def __init__(self, kind: str, content: Mapping[str, Any]) -> None:
        self.kind, self.content = kind, dict(content)


@register_type
class Lookup(str, Enum):
    """What a platform knows of a native id.

    FOUND: it is there, or was and has ended. NEVER_STARTED: proof that it never ran. UNKNOWN: it is not there, and that
    it never started cannot be shown.
    """

    FOUND = "FOUND"
    NEVER_STARTED = "NEVER_STARTED"
    UNKNOWN = "UNKNOWN"

    __str__ = str.__str__


class AttemptEvent(Jsonable):
    """Something that a platform tells of an attempt. Late, repeated and missing events do no harm.

    Args:
        native_id: the attempt's name on its platform.
        state: the state it has reached.
        time: seconds since the epoch, by the platform's clock; None: unknown.
        exit_code: of the job's own process, where it ended by itself.
        signal: number of the signal that ended it, where one did.
        reason: in words, where there is more to say.
        disruption: the end was the platform's doing (preemption, a drained node), not the job's.
        restarts: how often the platform itself has started the job again.
        cursor: give the last one to ``watch(since=)`` to go on from there; None where the platform has none.
    """

    def __init__(
        self,
        native_id: str,
        state: JobState,
        *,
        time: float | None = None,
        exit_code: int | None = None,
        signal: int | None = None,
        reason: str | None = None,
        disruption: bool = False,
        restarts: int = 0,
        cursor: str | None = None,
    ) -> None:
        self.native_id, self.state, self.time = native_id, state, time
        self.exit_code, self.signal, self.reason = exit_code, signal, reason
        self.disruption, self.restarts, self.cursor = disruption, restarts, cursor
