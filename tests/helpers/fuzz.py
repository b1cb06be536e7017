"""What readers of stored and received data are tried with: how many examples, and what they are made of."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MANY = int(os.environ.get("AIFLOW_FUZZ", "0"))
ROUND = 1000  # examples after which hypothesis forgets them: of 100,000 it keeps 350 MB, whatever is tested
MOST_MEMORY = 200  # MB that the process of a long run may take at any time, hypothesis and the fake servers included

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["", "0", "-1", "1e400", "..", "/", "RUNNING", "KILLED", "\x1b]0;x\x07", "\0", "a\r\nX: y", "true"]
    ),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
)


def examples(few: int) -> Callable[[Any], Any]:
    """Settings of a test of a reader: ``few`` examples, always the same.

    With $AIFLOW_FUZZ so many, others each time, and the memory that the process takes for them has a limit.
    """
    at_once = settings(
        max_examples=min(MANY, ROUND) or few,
        derandomize=not MANY,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    return _repeated(at_once) if MANY else at_once


def _repeated(at_once: settings) -> Callable[[Any], Any]:
    """A decorator that has a test tried with rounds of examples, ``MANY`` in all."""

    def decorate(test: Any) -> Any:
        round_of = at_once(test)

        @functools.wraps(round_of)
        def all_rounds(**fixtures: Any) -> None:
            _make_tables()
            Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
            for _ in range(-(-MANY // ROUND)):
                round_of(**fixtures)
                peak = _peak()
                assert peak <= MOST_MEMORY
            print(f"peak memory: {peak} MB")

        return all_rounds

    return decorate


@settings(max_examples=1, database=None)
@given(st.text())
def _make_tables(text: str) -> None:
    """Has hypothesis make its table of Unicode, which takes 200 MB while it is made, once in a checkout."""


def _peak() -> int:
    """The most memory that this process has had, in MB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) >> 10


def spoilt(good: Any) -> st.SearchStrategy[Any]:
    """JSON like ``good``, in which up to three places hold something else, or are missing."""

    def at(paths: list[tuple[tuple[Any, ...], Any, bool]]) -> Any:
        found = good
        for path, value, gone in paths:
            found = _with(found, path, value, gone)
        return found

    place = st.tuples(st.sampled_from(_paths(good)), JSON, st.booleans())
    return st.lists(place, min_size=1, max_size=3).map(at)


def _paths(value: Any) -> list[tuple[Any, ...]]:
    """The way to each place in a value, itself included."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(), *((key, *path) for key, each in inner for path in _paths(each))]


def _with(value: Any, path: tuple[Any, ...], other: Any, gone: bool) -> Any:
    """A copy with ``other`` at a place, or without the place."""
    if not path:
        return other
    key, *rest = path
    copy = dict(value) if isinstance(value, dict) else list(value) if isinstance(value, list) else None
    if copy is None or (key not in copy if isinstance(copy, dict) else not isinstance(key, int) or key >= len(copy)):
        return value
    if gone and not rest:
        del copy[key]
    else:
        copy[key] = _with(copy[key], tuple(rest), other, gone)
    return copy
