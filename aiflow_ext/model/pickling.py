"""Values as pickles that carry the code that cannot be imported elsewhere."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

from aiflow_ext.model.own_imports import without_project

_PROTOCOL = 5  # of Python 3.8
SCALARS = frozenset((type(None), bool, int, float, complex, str, bytes, bytearray))


class TooLargeError(Exception):
    """A pickle would be larger than allowed."""


def is_plain(value: Any) -> bool:
    """Whether a value is made of built-in types alone, so that every Python opens its pickle, without cloudpickle."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        each = waiting.pop()
        kind = type(each)
        if kind in SCALARS or id(each) in seen:
            continue
        seen.add(id(each))
        if kind is dict:
            waiting += [*each.keys(), *each.values()]
        elif kind in (list, tuple, set, frozenset):
            waiting += each
        else:
            return False
    return True


def dumps_plain(value: Any, most: int | None = None) -> bytes:
    """As :func:`dumps`, for a value that :func:`is_plain`; cloudpickle is not imported."""
    made = _Buffer(most)
    pickle.Pickler(made, _PROTOCOL).dump(value)
    return made.getvalue()


class _Buffer(io.BytesIO):
    """Bytes in memory, up to a size."""

    def __init__(self, most: int | None) -> None:
        super().__init__()
        self._most = most

    def write(self, data: Any) -> int:
        written = super().write(data)
        if self._most is not None and self.tell() > self._most:
            raise TooLargeError
        return written


def dumps(value: Any, override: Callable[[Any], Any] | None = None, most: int | None = None) -> bytes:
    """``value`` as a pickle that ``pickle.loads`` opens where cloudpickle is installed.

    Args:
        value: any object.
        override: called with every object that is pickled. It returns a value as of ``__reduce_ex__``, or None for the
            default, and raises pickle.PicklingError for an object that must not be sent. None by default.
        most: bytes that it may have; None by default, for no limit.

    Raises TooLargeError, and any exception of pickling, of cloudpickle or of the object's own methods.
    """
    with without_project():
        import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            reduced = override(obj) if override is not None else None
            if reduced is not None:
                return reduced
            if sys.version_info >= (3, 14) and isinstance(obj, FunctionType):
                _evaluate_annotations(obj)
            return super().reducer_override(obj)

    made = _Buffer(most)
    Pickler(made).dump(value)
    return made.getvalue()


def _evaluate_annotations(function: FunctionType) -> None:
    # cloudpickle takes them with it, and one may name what only a type checker imports: it goes as it was written.
    try:
        function.__annotations__  # noqa: B018
    except Exception:
        with without_project():  # it imports inspect, which no job needs to begin
            from aiflow_ext.model.signature import annotations_of
        function.__annotations__ = annotations_of(function, written=True)
