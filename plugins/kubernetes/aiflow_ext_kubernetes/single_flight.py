"""Calls that several threads make at the same time are made once, and all of them get its outcome."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

from aiflow_ext.plugin import UnreachableError

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Calls by key. Calls with different keys do not wait for each other; nothing is remembered after a call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._going: dict[Hashable, Future[T]] = {}

    def call(self, key: Hashable, function: Callable[[], T]) -> T:
        """What ``function`` returns or raises; if a call with this key is going on, what that returns or raises."""
        with self._lock:
            found = self._going.get(key)
            mine = found is None
            going = self._going[key] = Future() if found is None else found
        if not mine:
            return going.result()
        try:
            result = function()
        except BaseException as error:
            # An interrupt is for the thread that it has reached.
            others = error if isinstance(error, Exception) else UnreachableError("the call was interrupted")
            self._finish(key, lambda: going.set_exception(others))
            raise
        self._finish(key, lambda: going.set_result(result))
        return result

    def _finish(self, key: Hashable, tell: Callable[[], None]) -> None:
        with self._lock:
            self._going.pop(key, None)
        tell()
