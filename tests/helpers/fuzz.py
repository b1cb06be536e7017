"""What readers of stored and received data are tried with: how many examples, and what they are made of."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

MANY = int(os.environ.get("AIFLOW_FUZZ", "0"))

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


def examples(few: int) -> settings:
    """Settings of a test of a reader: ``few`` examples, always the same.

    With $AIFLOW_FUZZ so many, others each time.
    """
    return settings(
        max_examples=MANY or few,
        derandomize=not MANY,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


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
