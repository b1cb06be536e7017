"""What the hook ``watch`` may return instead of a plain iterable, so that the driver can read it without a thread."""

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
        """A descriptor that is readable once there may be events. It is requested once, after ``setblocking``. The
        driver also calls ``next`` once a second."""

    def setblocking(self, flag: bool) -> None:
        """Set whether ``next`` waits for the next event. If not, it returns None while there is none."""

    def close(self) -> None:
        """Release the descriptor; nothing is read any more."""


@runtime_checkable
class StartingWatch(PollableWatch, Protocol):
    """A watch whose platform can start a submitted attempt when another one has ended.

    The driver then submits short jobs in advance (prefetch), which saves the time that it takes to notice an end and to
    start the next job. Attempts that wait must be forgotten once the watch is closed or its process has died.
    """

    def hold(self, beside: int | None) -> None:
        """Let attempts that this thread submits from now on start once at most ``beside`` other attempts of the run are
        running; None: start them at once."""

    def recall(self) -> None:
        """Start none of the attempts that wait and have not been started yet."""
