"""Admission control: which jobs may start, and which attempts have a slot; slots are limited by the run's limit."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Collection, Iterable, Mapping

from aiflow_ext.run.driving.attempt import Attempt


class AdmissionQueue:
    """The jobs that may start, in the workflow's order, and the attempts that wait for a slot.

    Args:
        jobs: every job, in the workflow's order.
        streams: of these, the STREAM jobs, which end only when they are stopped: they need no slot.
        limit: how many slots there are; None for no limit.
        live: the attempts that have not ended.
    """

    def __init__(
        self, jobs: Iterable[str], streams: Collection[str], limit: int | None, live: Mapping[str, Attempt]
    ) -> None:
        self.limit = limit
        self.streams, self._live = streams, live
        self._place = {name: number for number, name in enumerate(jobs)}
        self._ready: list[tuple[int, str]] = []
        self._queue: dict[Attempt, Callable[[], None] | None] = {}  # live, without a slot; the next one first

    # -- jobs that may start

    @property
    def first(self) -> str | None:
        """The next job that may start, in the workflow's order."""
        return self._ready[0][1] if self._ready else None

    def soon(self, most: int) -> list[str]:
        """The next jobs that may start."""
        return [name for _, name in self._ready[:most]]

    def add(self, job: str) -> None:
        """Add a job that may start."""
        bisect.insort(self._ready, (self._place[job], job))

    def take(self) -> str:
        """Remove and return the next job, which starts now."""
        return self._ready.pop(0)[1]

    def withdraw(self, job: str) -> None:
        """Remove a job, which must not start."""
        self._ready = [each for each in self._ready if each[1] != job]

    def withdraw_all(self) -> list[str]:
        """Remove all jobs; returns them in the workflow's order."""
        names = [name for _, name in self._ready]
        self._ready.clear()
        return names

    def in_order(self, jobs: Iterable[str]) -> list[str]:
        """Jobs in the workflow's order."""
        return sorted(jobs, key=self._place.__getitem__)

    # -- attempts

    @property
    def has_free_slot(self) -> bool:
        """Whether another attempt may run."""
        return self.limit is None or self._running() < self.limit

    @property
    def queued(self) -> int:
        """How many attempts wait for a slot."""
        return len(self._queue)

    def has_slot(self, attempt: Attempt) -> bool:
        """Whether an attempt has a slot, so that it may run."""
        return attempt not in self._queue

    def must_wait(self, attempt: Attempt) -> bool:
        """Whether more attempts than the limit have a slot, so that this one has to wait until another one ends."""
        exceeded = self.limit is not None and self._running() > self.limit
        return exceeded and attempt.planned.name not in self.streams

    def queue(self, attempt: Attempt, then: Callable[[], None] | None = None) -> None:
        """Queue an attempt: it gets a slot when another one has ended; ``then`` is called at that moment."""
        self._queue[attempt] = then

    def leave(self, ended: Attempt) -> None:
        """Remove an attempt, which has ended; its slot, if it had one, goes to the first that waits."""
        if ended in self._queue:
            del self._queue[ended]
        elif self._queue and ended.planned.name not in self.streams:  # those have none
            attempt = next(iter(self._queue))
            then = self._queue.pop(attempt)
            if then is not None:
                then()

    def _running(self) -> int:
        streaming = sum(each.planned.name in self.streams for each in self._live.values()) if self.streams else 0
        return len(self._live) - len(self._queue) - streaming
