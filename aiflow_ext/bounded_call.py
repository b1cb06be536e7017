"""A deadline for calls that have none of their own, as those of a file system at a URL. Standard library only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class CallTooLong(TimeoutError):
    """A call has not returned in time; it goes on."""


def result_within(seconds: float, call: Callable[[], T]) -> T:
    """The result of a call that has no deadline of its own; signals are answered meanwhile.

    Raises what the call raises, and CallTooLong after so many seconds: the call goes on in a thread that the process
    does not wait for.
    """
    told: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            told.append(call())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True, name="aiflow-call")
    thread.start()
    deadline = time.monotonic() + seconds
    while thread.is_alive() and (left := deadline - time.monotonic()) > 0:
        thread.join(min(left, 0.2))
    if told:
        return told[0]
    if failed:
        raise failed[0]
    raise CallTooLong(f"it has not answered for {seconds:.0f} s")
