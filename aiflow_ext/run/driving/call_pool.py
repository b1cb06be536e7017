"""Calls of one platform in a bounded number of threads; those of one attempt in order, one after another."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import NamedTuple


class _Call(NamedTuple):
    key: Hashable
    function: Callable[[], None]
    may_wait: bool


class CallPool:
    """Calls functions in threads, which are started when they are needed.

    Calls with an equal key are made in the order in which they were put, one after another. Calls that may wait for
    long have at most half of the threads, so that they never hold up the others. With one thread all calls are made in
    the order in which they were put.

    Args:
        most: how many threads there are at most.
        fail: called with an exception of a function, which must not raise any.
    """

    def __init__(self, most: int, fail: Callable[[BaseException], None]) -> None:
        self._most, self._fail = most, fail
        self._most_waiting = most // 2
        self._waiting = 0  # running calls that may wait
        self._changed = threading.Condition()  # its lock protects all that follows
        self._ready: deque[_Call] = deque()
        self._ready_to_wait: deque[_Call] = deque()
        self._behind: dict[Hashable, deque[_Call]] = {}  # by key of a ready or running call: what follows it
        self._idle = 0
        self._closed = False
        self._threads: list[threading.Thread] = []

    def put(self, key: Hashable, function: Callable[[], None], *, may_wait: bool = False) -> None:
        """Call ``function`` after the earlier calls with this key. It must not raise.

        ``may_wait``: it may wait for something other than the platform's answer to a short request.
        """
        call = _Call(key, function, may_wait and self._most > 1)
        with self._changed:
            if (behind := self._behind.get(key)) is not None:
                behind.append(call)
            else:
                self._behind[key] = deque()
                self._make_ready(call)

    def close(self, deadline: float) -> None:
        """Make the calls that were put, until ``deadline`` of ``time.monotonic()`` at most."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _make_ready(self, call: _Call) -> None:
        (self._ready_to_wait if call.may_wait else self._ready).append(call)
        due = len(self._ready) + min(len(self._ready_to_wait), self._most_waiting - self._waiting)
        if due > self._idle and len(self._threads) < self._most:
            thread = threading.Thread(target=self._run, daemon=True, name="aiflow-calls")
            self._threads.append(thread)
            thread.start()
        else:
            self._changed.notify()

    def _run(self) -> None:
        while (call := self._take()) is not None:
            try:
                call.function()
            except BaseException as error:
                self._fail(error)
            with self._changed:
                self._waiting -= call.may_wait
                behind = self._behind[call.key]
                if behind:
                    self._make_ready(behind.popleft())
                else:
                    del self._behind[call.key]

    def _take(self) -> _Call | None:
        """The next call, which is waited for; None: the pool is closed, and there is none."""
        with self._changed:
            while True:
                if self._ready:
                    return self._ready.popleft()
                if self._ready_to_wait and self._waiting < self._most_waiting:
                    self._waiting += 1
                    return self._ready_to_wait.popleft()
                if self._closed:
                    return None
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
