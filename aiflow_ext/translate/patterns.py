"""Keys that are patterns (``train-*``): which of them fit a job's name, and which of two is the more exact."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from functools import lru_cache
from operator import itemgetter

_WILD = "*?["
_SET = r"\[!?\]?[^\]]*\]"


def is_pattern(key: str) -> bool:
    """Whether ``key`` holds ``*``, ``?`` or ``[``."""
    return any(char in key for char in _WILD)


@lru_cache(4096)
def exactness(pattern: str) -> tuple[int, int, int]:
    """What orders patterns, the larger the more exact: characters spelled out, then ``[...]``, then ``?``."""
    sets = re.findall(_SET, pattern)
    rest = re.sub(_SET, "", pattern)
    single = rest.count("?")
    return len(rest) - single - rest.count("*"), len(sets), single


class Patterns:
    """Several patterns, to be held against many names.

    They are found by the characters that they begin with, so that a thousand of them cost a name little.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._by_stem: dict[str, list[tuple[tuple[int, int, int], str, re.Pattern[str]]]] = {}
        for pattern in patterns:
            stem = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
            entry = exactness(pattern), pattern, re.compile(fnmatch.translate(pattern))
            self._by_stem.setdefault(stem, []).append(entry)
        self._lengths = sorted({len(stem) for stem in self._by_stem})

    def fitting(self, name: str) -> list[str]:
        """Those that fit ``name``, the least exact first; equally exact ones in the order they were given."""
        found = [
            (exact, pattern)
            for length in self._lengths
            if length <= len(name)
            for exact, pattern, compiled in self._by_stem.get(name[:length], ())
            if compiled.match(name)
        ]
        return [pattern for _, pattern in sorted(found, key=itemgetter(0))]
