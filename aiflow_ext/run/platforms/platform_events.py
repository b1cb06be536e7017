"""What the driver gets from platforms about attempts: events, and whether they can be expected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from aiflow_ext.model.attempt import AttemptEvent


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
