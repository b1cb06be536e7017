"""What a driver does next: functions that others post, and descriptors that have something to say."""

from __future__ import annotations

import collections
import os
import select
from collections.abc import Callable

Task = Callable[[], None]


class Inbox:
    """Tasks for one thread, in the order in which they come; any thread and any signal handler may post."""

    def __init__(self) -> None:
        self._tasks: collections.deque[Task] = collections.deque()
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

    def attend(self, descriptor: int, task: Task) -> None:
        """Have ``task`` done whenever there is nothing else and ``descriptor`` is readable."""
        self._attended[descriptor] = task
        self._epoll.register(descriptor, select.EPOLLIN)

    def ignore(self, descriptor: int) -> None:
        """Attend to it no more."""
        if self._attended.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def get(self, timeout: float | None) -> Task | None:
        """The next task; None where none came within ``timeout`` seconds (None: wait for one)."""
        if self._tasks:
            return self._tasks.popleft()
        self._asleep = True
        try:
            ready = self._epoll.poll(0 if self._tasks else timeout)
        finally:
            self._asleep = False
        for descriptor, _ in ready:
            if descriptor == self._bell:
                os.eventfd_read(self._bell)
            elif descriptor in self._attended:
                self._tasks.append(self._attended[descriptor])
        return self._tasks.popleft() if self._tasks else None

    def close(self) -> None:
        """Let go of the descriptors; what is posted later is not done."""
        self._epoll.close()
        os.close(self._bell)
