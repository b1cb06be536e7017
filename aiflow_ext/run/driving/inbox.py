"""What a driver does next: what others post, descriptors that have something to say, what is due, and chores."""

from __future__ import annotations

import collections
import heapq
import itertools
import math
import os
import select
import time
from collections.abc import Callable

Task = Callable[[], None]


class Inbox:
    """Tasks for one thread, in the order in which they come; any thread and any signal handler may put one in.

    All else is for that thread alone.
    """

    def __init__(self) -> None:
        self._tasks: collections.deque[Task] = collections.deque()
        self._chores: collections.deque[Task] = collections.deque()
        self._timers: list[tuple[float, int, Task]] = []
        self._numbers = itertools.count()
        self._attended: dict[int, Task] = {}
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll = select.epoll()
        self._epoll.register(self._bell, select.EPOLLIN)
        self._asleep = False

    def put(self, task: Task) -> None:
        """Have ``task`` done after those that are there."""
        self._tasks.append(task)
        if self._asleep:  # set before the last look at the tasks, so that none is slept over
            os.eventfd_write(self._bell, 1)

    def later(self, seconds: float, task: Task) -> None:
        """Have ``task`` done in so many seconds, or soon after."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), task))

    def spare(self, task: Task) -> None:
        """Have ``task`` done when there is nothing else to do."""
        self._chores.append(task)

    def attend(self, descriptor: int, task: Task) -> None:
        """Have ``task`` done whenever there is nothing else and ``descriptor`` is readable."""
        self._attended[descriptor] = task
        self._epoll.register(descriptor, select.EPOLLIN)

    def ignore(self, descriptor: int) -> None:
        """Attend to it no more."""
        if self._attended.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    @property
    def busy(self) -> bool:
        """Whether there are chores to do."""
        return bool(self._chores)

    def get(self, until: float = math.inf) -> Task | None:
        """The next task; None where there is none until ``until``, a moment of ``time.monotonic()``."""
        if self._tasks:
            return self._tasks.popleft()
        due = self._timers[0][0] if self._timers else math.inf
        self._listen(0.0 if self._chores else min(due, until) - time.monotonic())
        if self._tasks:
            return self._tasks.popleft()
        if self._chores:
            return self._chores.popleft()
        return heapq.heappop(self._timers)[2] if due <= time.monotonic() else None

    def _listen(self, seconds: float) -> None:
        """Wait until somebody rings or a descriptor is readable."""
        self._asleep = True
        try:
            ready = self._epoll.poll(0 if self._tasks else None if seconds == math.inf else max(0.0, seconds))
        finally:
            self._asleep = False
        for descriptor, _ in ready:
            if descriptor == self._bell:
                os.eventfd_read(self._bell)
            elif descriptor in self._attended:
                self._tasks.append(self._attended[descriptor])

    def close(self) -> None:
        """Let go of the descriptors; what is posted later is not done. Twice is fine."""
        if not self._epoll.closed:
            self._epoll.close()
            os.close(self._bell)
