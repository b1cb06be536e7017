"""Whether two jobs, or a config and its copies, are equal, and where they first differ."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Mapping
from enum import Enum
from types import FunctionType, ModuleType
from typing import Any

import cloudpickle

from aiflow_ext.model.config import BaseJobConfig
from aiflow_ext.model.jsonable import Jsonable, dumps, loads
from aiflow_ext.translate.common import NAMES

# Each way in which the host copies a config: to pass it to an author's code, and to send it to an attempt host.
_COPIES: dict[str, Callable[[Any], Any]] = {
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "a pickle": lambda config: pickle.loads(cloudpickle.dumps(config)),
    "af.dumps and af.loads": lambda config: loads(dumps(config)),
}


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


def lost_in_copies(config: BaseJobConfig) -> list[str]:
    """Attributes of ``config`` that a copy lacks or has with another value, in words.

    A config that cannot be copied in one of the ways is not wrong, if it is data or can be pickled.
    """
    before, found, refused = _whole(config), [], {}
    for how, copied in _COPIES.items():
        try:
            made = copied(config)
            after = _whole(made)
        except Exception as error:
            refused[how] = f"{how}: {type(error).__name__}: {error}"
            continue
        if type(made) is not type(config):
            found.append(f"{how} gives a {type(made).__name__}")
            continue
        for name, value in before.items():
            what = f"{name} is lost" if name not in after else difference(value, after[name], name)
            if what is not None:
                found.append(f"{how}: {what}")
    lasting = ("a pickle", "af.dumps and af.loads")
    return found + ([refused[how] for how in lasting] if refused.keys() >= {*lasting} else [])


def _whole(config: BaseJobConfig) -> dict[str, Any]:
    """The common values, and whatever else is set on the object; past a to_json of its author's."""
    return {name: getattr(config, name, None) for name in NAMES} | Jsonable.to_json(config)
