"""Polling and retrying with growing pauses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from aiflow_ext.model.errors import Problem, UnreachableError

T = TypeVar("T")


class Backoff:
    """Pauses that grow.

    Args:
        first: seconds of the first pause.
        longest: seconds that no pause exceeds.
        factor: how much longer each pause is than the one before.

    Attributes:
        pause: seconds of the next one.
    """

    def __init__(self, first: float, longest: float, factor: float = 2.0) -> None:
        self._first, self._longest, self._factor = first, longest, factor
        self.pause = first

    def next(self) -> float:
        """The seconds to pause now; the pause after that is longer."""
        pause = self.pause
        self.pause = min(pause * self._factor, self._longest)
        return pause

    def reset(self) -> None:
        """Begin again with the first pause: there was an answer."""
        self.pause = self._first


def poll(seconds: float | None, backoff: Backoff | None = None) -> Iterator[None]:
    """The rounds of a polling loop: the first at once, the next after growing pauses, the last when the time is up.

    Args:
        seconds: how long to poll; None: until the loop is left.
        backoff: the pauses; from 0.05 to 1 second by default.
    """
    backoff = backoff or Backoff(0.05, 1.0, 1.3)
    deadline = float("inf") if seconds is None else time.monotonic() + seconds
    while True:
        yield
        left = deadline - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(backoff.next(), left))


def retry(function: Callable[[], T], seconds: float, backoff: Backoff | None = None) -> T:
    """Call ``function``, again while it raises UnreachableError, for at most ``seconds``; returns its result.

    A step that the driver retries (``submit_job``, ``cleanup_job``, ``watch``) needs only a few seconds, for a short
    interruption; the driver handles longer outages.

    Args:
        function: calls the service.
        seconds: how long it is retried; 0: it is called once.
        backoff: the pauses in between; from 0.2 to 5 seconds by default.

    Raises the last UnreachableError, which says for how long the call was retried if that was a second or more; and any
    other exception of ``function``.
    """
    backoff = backoff or Backoff(0.2, 5.0, 1.5)
    began = time.monotonic()
    while True:
        try:
            return function()
        except UnreachableError as error:
            waited, pause = time.monotonic() - began, backoff.next()
            if waited + pause > seconds:
                if waited >= 1:
                    first, *others = error.problems
                    words = f"{first.message} (asked for {waited:.0f} s)"
                    error.problems = (Problem(words, first.where, first.hint), *others)
                raise
        time.sleep(pause)
