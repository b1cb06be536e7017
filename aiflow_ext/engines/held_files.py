"""The Paths that a value holds, whose files are stored with it. Runs inside jobs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from aiflow_ext.model.pickling import SCALARS

_opened: Sequence[Any] = ()


def paths_in(value: Any) -> list[Path]:
    """Every Path in lists, tuples, sets, dicts, dataclasses and attrs classes, however nested.

    Other objects are not looked into: a Path in one of them stays the name that it is.
    """
    found: list[Path] = []
    seen: dict[int, Any] = {}
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if type(each) in SCALARS or id(each) in seen:
            continue
        seen[id(each)] = each
        if isinstance(each, Path):
            found.append(each)
        else:
            waiting += _parts(each)
    return found


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return value
    if isinstance(value, type):
        return ()
    # Not by the modules themselves: dataclasses takes 10 ms to import, and attrs may not be there.
    names = [*getattr(value, "__dataclass_fields__", ())]
    names += [field.name for field in getattr(value, "__attrs_attrs__", ())]
    return [getattr(value, name, None) for name in names]


def is_kept(value: Any) -> bool:
    """Whether a value that no job reads is kept for its files: all of them exist."""
    if isinstance(value, os.PathLike):
        return True
    paths = paths_in(value)
    return bool(paths) and all(map(os.path.exists, paths))


def opened(number: int) -> Any:
    """In a pickle: the file of this number, as it has been brought."""
    return _opened[number]


def bring(files: Sequence[Any]) -> None:
    """Have :func:`opened` return these, until the next call."""
    global _opened
    _opened = files
