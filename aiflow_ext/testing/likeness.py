"""Whether two jobs are equal, and where they first differ."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import FunctionType, ModuleType
from typing import Any


def difference(one: Any, other: Any, where: str = "it") -> str | None:
    """Where ``other`` differs from ``one``, in words; None: nowhere. Objects are compared by their attributes."""
    return _difference(one, other, where, set())


def _difference(one: Any, other: Any, where: str, seen: set[tuple[int, int]]) -> str | None:
    if one is other or (id(one), id(other)) in seen:
        return None
    seen.add((id(one), id(other)))
    if type(one) is not type(other):
        return f"{where} is {_short(one)}, then {_short(other)}"
    if isinstance(one, Mapping):
        return _of_mappings(one, other, where, seen)
    if isinstance(one, (list, tuple)):
        if len(one) != len(other):
            return f"{where} has {len(one)} items, then {len(other)}"
        pairs = zip(one, other, strict=True)
        return next(filter(None, (_difference(a, b, f"{where}[{n}]", seen) for n, (a, b) in enumerate(pairs))), None)
    own = getattr(one, "__dict__", None)
    if own is None or isinstance(one, (type, Enum, FunctionType, ModuleType)) or _says_equal(one, other):
        return None if _says_equal(one, other) else f"{where} is {_short(one)}, then {_short(other)}"
    return _of_mappings(own, vars(other), where, seen, ".")


def _of_mappings(
    one: Mapping[Any, Any], other: Mapping[Any, Any], where: str, seen: set[tuple[int, int]], dot: str = ""
) -> str | None:
    for key in [*one, *(key for key in other if key not in one)]:
        place = f"{where}.{key}" if dot else f"{where}[{key!r}]"
        if key not in one or key not in other:
            return f"{place} is there only {'the second' if key in other else 'the first'} time"
        found = _difference(one[key], other[key], place, seen)
        if found is not None:
            return found
    return None


def _says_equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # an author's __eq__
        return False


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
