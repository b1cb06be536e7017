"""The driver's event loop: tasks that others post, readable descriptors, timers, and tasks for idle moments."""

from __future__ import annotations

import collections
import heapq
import itertools
import math
import os
import select
import threading
import time
from collections.abc import Callable

Task = Callable[[], None]


class Inbox:
    """Tasks for one thread, in the order in which they are put; any thread and any signal handler may call ``put``.

    The other methods are for that thread only.
    """

    def __init__(self) -> None:
        self._tasks: collections.deque[Task] = collections.deque()
        self._idle_tasks: collections.deque[Task] = collections.deque()
        self._timers: list[tuple[float, int, Task]] = []
        self._numbers = itertools.count()
        self._readers: dict[int, Task] = {}
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll = select.epoll()
        self._epoll.register(self._wakeup, select.EPOLLIN)
        self._polling = False
        # Held while the eventfd is written to or closed: its number may be that of another file afterwards. Reentrant,
        # because a signal handler may put a task while its thread does so.
        self._lock = threading.RLock()

    def put(self, task: Task) -> None:
        """Queue ``task``."""
        self._tasks.append(task)
        if self._polling:  # set before the tasks are looked at for the last time: no wake-up is lost
            with self._lock:
                if not self._epoll.closed:
                    os.eventfd_write(self._wakeup, 1)

    def later(self, seconds: float, task: Task) -> None:
        """Run ``task`` in so many seconds, or soon after."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), task))

    def when_idle(self, task: Task) -> None:
        """Run ``task`` when there is nothing else to do."""
        self._idle_tasks.append(task)

    def add_reader(self, descriptor: int, task: Task) -> None:
        """Run ``task`` whenever there is nothing else to do and ``descriptor`` is readable."""
        self._readers[descriptor] = task
        self._epoll.register(descriptor, select.EPOLLIN)

    def remove_reader(self, descriptor: int) -> None:
        """Poll ``descriptor`` no more; idempotent."""
        if self._readers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    @property
    def has_idle_tasks(self) -> bool:
        """Whether tasks wait for an idle moment."""
        return bool(self._idle_tasks)

    def get(self, until: float = math.inf) -> Task | None:
        """The next task; waits for one until ``until``, a moment of ``time.monotonic()``, then returns None."""
        if self._tasks:
            return self._tasks.popleft()
        due = self._timers[0][0] if self._timers else math.inf
        self._poll(0.0 if self._idle_tasks else min(due, until) - time.monotonic())
        if self._tasks:
            return self._tasks.popleft()
        if self._idle_tasks:
            return self._idle_tasks.popleft()
        return heapq.heappop(self._timers)[2] if due <= time.monotonic() else None

    def _poll(self, seconds: float) -> None:
        """Wait until a task is put or a descriptor is readable, for at most so many seconds."""
        self._polling = True
        try:
            ready = self._epoll.poll(0 if self._tasks else None if seconds == math.inf else max(0.0, seconds))
        finally:
            self._polling = False
        for descriptor, _ in ready:
            if descriptor == self._wakeup:
                os.eventfd_read(self._wakeup)
            elif descriptor in self._readers:
                self._tasks.append(self._readers[descriptor])

    def close(self) -> None:
        """Close the descriptors; tasks that are put later are not run. Idempotent."""
        with self._lock:
            if not self._epoll.closed:
                self._epoll.close()
                os.close(self._wakeup)
