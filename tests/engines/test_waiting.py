"""A service that is away is asked again, more and more rarely, and for so long as was said."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from aiflow_ext.plugin import PlatformError, UnreachableError
from aiflow_ext.plugin.engines import Backoff, poll, retry


def failing(times: int, error: Exception) -> tuple[Callable[[], str], list[int]]:
    """A function that raises so many times, and the list of its calls."""
    calls: list[int] = []

    def ask() -> str:
        calls.append(len(calls))
        if len(calls) <= times:
            raise error
        return "answer"

    return ask, calls


def test_pauses_grow_to_the_longest_and_begin_again_after_an_answer() -> None:
    backoff = Backoff(1.0, 5.0)
    assert [backoff.next() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    backoff.reset()
    assert (backoff.pause, backoff.next(), backoff.pause) == (1.0, 1.0, 2.0)


def test_a_call_without_an_answer_is_retried_until_there_is_one() -> None:
    ask, calls = failing(3, UnreachableError("away"))
    assert retry(ask, 60.0, Backoff(0.0, 0.0)) == "answer"
    assert len(calls) == 4


def test_without_time_it_is_called_once_and_its_own_error_raised() -> None:
    class Away(UnreachableError):
        pass

    ask, calls = failing(3, Away("away", hint="look at the network"))
    with pytest.raises(Away, match="away\n    look at the network"):
        retry(ask, 0.0)
    assert len(calls) == 1


def test_a_refusal_is_not_retried() -> None:
    ask, calls = failing(1, PlatformError("no"))
    with pytest.raises(PlatformError, match="no"):
        retry(ask, 60.0, Backoff(0.0, 0.0))
    assert len(calls) == 1


def test_a_poll_looks_at_once_and_a_last_time_when_the_time_is_up() -> None:
    assert sum(1 for _ in poll(0.0)) == 1
    began = time.monotonic()
    for _ in poll(0.2, Backoff(60.0, 60.0)):
        looked = time.monotonic() - began
    assert looked >= 0.2


def test_a_poll_without_a_limit_goes_on_until_the_loop_is_left() -> None:
    looks = 0
    for _ in poll(None, Backoff(0.0, 0.0)):
        looks += 1
        if looks == 50:
            break
    assert looks == 50
