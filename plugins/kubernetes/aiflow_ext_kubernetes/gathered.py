"""What several threads ask at the same time is asked in one call, and each gets its own part of the answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from aiflow_ext.plugin import UnreachableError

T = TypeVar("T")


class Gathered(Generic[T]):
    """Questions by key. While a call is going on, what is asked meanwhile is gathered, and the next call asks it.

    Nothing is remembered: an answer is always from a call that began after its question.

    Args:
        ask: answers so many keys at once, each of them.
        most: keys that one call has at most.
    """

    def __init__(self, ask: Callable[[Sequence[str]], Mapping[str, T]], most: int) -> None:
        self._ask, self._most = ask, most
        self._changed = threading.Condition()  # its lock protects what follows
        self._wanted: dict[str, Future[T]] = {}
        self._is_asking = False

    def of(self, key: str) -> T:
        """The answer for a key. Raises what ``ask`` raises, whichever thread has called it."""
        with self._changed:
            mine = self._wanted.setdefault(key, Future())
            while self._is_asking and not mine.done():
                self._changed.wait()
            if mine.done():
                return mine.result()
            self._is_asking = True
            others = [each for each in self._wanted if each != key][: self._most - 1]
            batch = {each: self._wanted.pop(each) for each in (key, *others)}
        try:
            found = self._ask(list(batch))
            for each, future in batch.items():
                future.set_result(found[each])
        except BaseException as error:
            # An interrupt is for the thread that it has reached.
            told = error if isinstance(error, Exception) else UnreachableError("the call was interrupted")
            self._fail(batch, told)
            raise
        finally:
            with self._changed:
                self._is_asking = False
                self._changed.notify_all()
        return mine.result()

    def _fail(self, batch: Mapping[str, Future[T]], error: Exception) -> None:
        """Tell those who have asked; where the server is unreachable, also those whose turn would be next."""
        with self._changed:
            waiting = list(batch.values())
            if isinstance(error, UnreachableError):
                waiting += self._wanted.values()
                self._wanted.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(error)
