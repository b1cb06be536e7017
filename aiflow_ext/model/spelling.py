"""Hints for misspelt names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from aiflow_ext.model.own_imports import without_project


def near(name: str, names: Iterable[str], shown: Callable[[str], str] = repr) -> str | None:
    """A hint with the names nearest to ``name``, ignoring case, or None; ``shown`` formats each."""
    found = _nearest(name, tuple(names))
    return f"did you mean {' or '.join(map(shown, found))}?" if found else None


@lru_cache(128)  # what is wrong with one job is wrong with a thousand
def _nearest(name: str, names: tuple[str, ...]) -> list[str]:
    with without_project():
        from difflib import get_close_matches

    found = get_close_matches(name, names, n=3, cutoff=0.6)
    if found:
        return found
    lowered = {each.lower(): each for each in names}
    return [lowered[each] for each in get_close_matches(name.lower(), lowered, n=3, cutoff=0.6)]
