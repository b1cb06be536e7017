"""What the driver gets from platforms about attempts: events, and whether they can be expected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from aiflow_ext.model.attempt import AttemptEvent
from aiflow_ext.model.errors import PlatformError
from aiflow_ext.model.states import JobState


class Unreachable(NamedTuple):
    """The platform does not answer for this attempt; ``reason`` says why, in words."""

    native_id: str
    reason: str


class Reachable(NamedTuple):
    """The platform answers again."""

    native_id: str


class Unobservable(NamedTuple):
    """The end of this attempt will never be reported; ``reason`` says why, in words."""

    native_id: str
    reason: str


PlatformEvent = AttemptEvent | Unreachable | Reachable | Unobservable
# The items of a watch; None: nothing at the moment.
WatchEvents = Iterator[AttemptEvent | Unreachable | Reachable | None]


def checked(item: Any) -> Any:
    """An item of a watch as it is. Raises PlatformError if it is neither an event nor None."""
    if item is None or isinstance(item, (Unreachable, Reachable)):
        return item
    if not isinstance(item, AttemptEvent):
        raise PlatformError(f"its watch yields a {type(item).__name__}, which is no AttemptEvent")
    if not isinstance(item.native_id, str) or not isinstance(item.state, JobState):
        raise PlatformError(f"its watch yields an event of {item.native_id!r} with the state {item.state!r}")
    return item
