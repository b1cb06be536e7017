"""What a platform tells of an attempt, to the driver: its events, and whether there will be any."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from aiflow_ext.model.attempt import AttemptEvent


class Unreachable(NamedTuple):
    """The platform gives no answer for this attempt; ``reason`` says why, in words."""

    native_id: str
    reason: str


class Reachable(NamedTuple):
    """The platform answers again."""

    native_id: str


class Unobservable(NamedTuple):
    """Nobody will ever tell the end of this attempt; ``reason`` says why, in words."""

    native_id: str
    reason: str


PlatformEvent = AttemptEvent | Unreachable | Reachable | Unobservable
# What a watch tells of attempts; None: nothing at the moment.
WatchEvents = Iterator[AttemptEvent | Unreachable | Reachable | None]
