"""What the hook ``watch`` returns besides events, so that the driver can read it without a thread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from aiflow_ext.model.attempt import AttemptEvent


@runtime_checkable
class PollableWatch(Iterator[AttemptEvent | None], Protocol):
    """An iterator of events that can be read without waiting. It is its own iterator.

    A platform with ``answers_at_once`` must return one; any other may return any iterable of events.
    """

    def fileno(self) -> int:
        """A descriptor that is readable once there may be something to tell. It is asked for once, after
        ``setblocking``. The driver looks once a second besides."""

    def setblocking(self, flag: bool) -> None:
        """Whether ``next`` waits for the next event. Without waiting, it returns None where there is none yet."""

    def close(self) -> None:
        """Release the descriptor; nothing is read any more."""


@runtime_checkable
class StartingWatch(PollableWatch, Protocol):
    """A watch whose platform can start what was submitted once another attempt has ended.

    The driver hands short jobs over before their turn then, which saves the time that it takes to notice an end and to
    answer with the next start. What waits must be forgotten once the watch is closed or its process has died.
    """

    def hold(self, beside: int | None) -> None:
        """Have what is submitted from now on, by this thread, start once at most ``beside`` other attempts of the run
        are running; None: start it at once."""

    def recall(self) -> None:
        """Start nothing of what waits, as far as it has not been started yet."""
