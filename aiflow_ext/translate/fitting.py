"""Whether a value from a file fits a type, strictly: text is no number, true is no number, 1 is a fine float."""

from __future__ import annotations

import collections
import datetime
import inspect
import json
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from aiflow_ext.model.jsonable import Jsonable
from aiflow_ext.translate.signature import signature_of

Place = tuple[Any, ...]


class Misfit(Exception):
    """What does not fit, all of it: for each mistake the path to it, what is said of it, and what to do."""

    def __init__(
        self, message: str = "", hint: str | None = None, *, path: Place = (), items: Iterable[Item] = ()
    ) -> None:
        self.items: list[Item] = [*items] or [(path, message, hint)]
        super().__init__("; ".join(message for _, message, _ in self.items))

    def under(self, step: Any) -> list[Item]:
        """The mistakes as seen from one level further out."""
        return [((step, *path), message, hint) for path, message, hint in self.items]


Item = tuple[Place, str, str | None]


def fit(value: Any, kind: Any) -> Any:
    """``value`` as an object of type ``kind``. Raises Misfit with everything that does not fit."""
    if _is_anything(kind):
        return value
    try:
        return _converter().structure(value, kind)
    except Misfit:
        raise
    except Exception as error:
        if type(error).__name__ == "StructureHandlerNotFoundError":
            raise Misfit(f"has the type {describe(kind)}, which a file cannot hold", "leave it out") from error
        raise Misfit(f"does not fit: {error}") from error


@cache
def _converter() -> Any:
    import cattrs

    made = cattrs.Converter()
    for kind in (str, bytes, int, float, Path):
        made.register_structure_hook(kind, _scalar)
    made.register_structure_hook(Enum, _enum)  # older cattrs asks by class first
    # The last one registered is asked first.
    made.register_structure_hook_func(_is_class, _class)
    made.register_structure_hook_func(lambda kind: kind in _WRITTEN, _written)
    made.register_structure_hook_func(_is_collection, _collection)
    made.register_structure_hook_func(_is_mapping, _mapping)
    made.register_structure_hook_func(lambda kind: _origin(kind) is Literal, _literal)
    made.register_structure_hook_func(lambda kind: _origin(kind) in _UNIONS, _union)
    made.register_structure_hook_func(lambda kind: kind in (None, type(None)), _nothing)
    made.register_structure_hook_func(_is_anything, lambda value, _: value)
    return made


def _origin(kind: Any) -> Any:
    return typing.get_origin(kind)


def _is_anything(kind: Any) -> bool:
    """Whether a value of any type fits. ``Jsonable`` itself, and not a subclass, means any plain data."""
    return kind is Any or kind is object or kind is Jsonable or isinstance(kind, TypeVar)


_UNIONS = (Union, types.UnionType)
_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", bytes: "bytes", Path: "a path"}


def describe(kind: Any) -> str:
    """The type in the words of someone who writes YAML."""
    if kind in _WORDS:
        return _WORDS[kind]
    if kind in _WRITTEN:
        return _WRITTEN[kind][0]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in (None, type(None)):
        return "nothing"
    if _is_anything(kind):
        return "anything"
    if origin in _UNIONS:
        return " or ".join(describe(each) for each in arguments if each is not type(None))
    if origin is Literal:
        return _one_of(arguments)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _one_of(_choices(kind))
    if _is_mapping(kind):
        return "a mapping"
    if _is_collection(kind):
        inner = [each for each in arguments if each is not Ellipsis]
        return f"a list of {describe(inner[0])}" if len(inner) == 1 and inner[0] is not Any else "a list"
    if _is_class(kind):
        return "a mapping"
    return getattr(kind, "__name__", str(kind))


def given(value: Any) -> str:
    """The value, short, in the same words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {value!r}" if len(value) <= 60 else f"the text {value[:60]!r}..."
    if isinstance(value, (int, float)):
        huge = isinstance(value, int) and value.bit_length() > 200
        return "a huge number" if huge else f"the number {value!r}"
    return "a list" if isinstance(value, (list, tuple)) else "a mapping" if isinstance(value, Mapping) else repr(value)


def mismatch(value: Any, kind: Any) -> Misfit:
    """That ``value`` is not what ``kind`` asks for, and how to write it so that it is."""
    hint = None
    if kind in (int, float) and isinstance(value, str):
        try:
            kind(value)
        except ValueError:
            pass
        else:
            hint = f"write {value} without quotes"
    elif kind is str and isinstance(value, bool):
        hint = "YAML reads this word as true or false: put it in quotes"
    elif kind is str and isinstance(value, (int, float)):
        hint = "put it in quotes"
    elif kind is bool and isinstance(value, str) and value.lower() in ("true", "false", "yes", "no"):
        hint = f"write {value} without quotes"
    elif _is_collection(kind) and isinstance(value, (str, int, float)):
        hint = f"write a list: [{value}]"
    return Misfit(f"must be {describe(kind)}, not {given(value)}", hint)


def _one_of(values: Iterable[Any]) -> str:
    shown = [json.dumps(each, default=str) if not isinstance(each, str) else repr(each) for each in values]
    return f"one of {', '.join(shown)}" if len(shown) != 1 else shown[0]


def _scalar(value: Any, kind: Any) -> Any:
    if issubclass(kind, Enum):
        return _enum(value, kind)
    if kind in (str, int, bool):
        fits = type(value) is kind
    elif kind is float:
        fits = type(value) in (int, float)
    elif kind is Path or kind is bytes:
        fits = type(value) in (str, kind) or isinstance(value, kind)
    elif issubclass(kind, Path):
        fits = isinstance(value, (str, kind))
    else:
        return _class(value, kind)  # an author's own subclass of str or int
    if not fits:
        raise mismatch(value, kind)
    if kind is bytes and isinstance(value, str):
        return value.encode()
    try:
        return value if isinstance(value, kind) else kind(value)
    except (ValueError, OverflowError) as error:
        raise mismatch(value, kind) from error


def _nothing(value: Any, kind: Any) -> None:
    if value is not None:
        raise mismatch(value, None)


def _choices(kind: type[Enum]) -> list[Any]:
    values = [member.value for member in kind]
    return values if all(isinstance(each, (str, int)) for each in values) else [member.name for member in kind]


def _enum(value: Any, kind: Any) -> Any:
    if isinstance(value, kind):
        return value
    for member in kind:
        if type(value) is type(member.value) and value == member.value:
            return member
    if isinstance(value, str):
        for name, member in kind.__members__.items():
            if value.lower() in (name.lower(), str(member.value).lower()):
                return member
    raise _choice_mismatch(value, kind, _choices(kind))


def _literal(value: Any, kind: Any) -> Any:
    options = typing.get_args(kind)
    for each in options:
        if (type(each) is type(value) and each == value) or (isinstance(each, Enum) and each.value == value):
            return each
    raise _choice_mismatch(value, kind, options)


def _choice_mismatch(value: Any, kind: Any, options: Sequence[Any]) -> Misfit:
    from aiflow_ext.translate.check import near

    words = [each for each in options if isinstance(each, str)]
    return Misfit(
        f"must be {describe(kind)}, not {given(value)}", near(value, words) if isinstance(value, str) else None
    )


def _union(value: Any, kind: Any) -> Any:
    members = typing.get_args(kind)
    if type(value) in members:
        return fit(value, type(value)) if value is not None else None
    misfits: dict[Any, Misfit] = {}
    for member in members:
        try:
            return fit(value, member)
        except Misfit as misfit:
            misfits[member] = misfit
    # Say what is wrong inside where only one member can have been meant.
    same_shape = [
        member
        for member in members
        if (isinstance(value, Mapping) and (_is_mapping(member) or _is_class(member)))
        or (isinstance(value, list) and _is_collection(member))
    ]
    meant = same_shape if len(same_shape) == 1 else [each for each in members if each is not type(None)]
    raise misfits[meant[0]] if len(meant) == 1 else mismatch(value, kind)


def _is_mapping(kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, Mapping) and not typing.is_typeddict(origin)


def _is_collection(kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    if not isinstance(origin, type) or issubclass(origin, (str, bytes, Mapping)) or hasattr(origin, "_fields"):
        return False
    return origin in (Collection, Iterable) or issubclass(origin, (Sequence, Set, collections.deque))


def _mapping(value: Any, kind: Any) -> Any:
    if not isinstance(value, Mapping):
        raise mismatch(value, kind)
    origin = typing.get_origin(kind) or kind
    key_kind, value_kind = (*typing.get_args(kind), Any, Any)[:2]
    made, wrong = {}, []
    for key, item in value.items():
        try:
            new_key = fit(key, key_kind)
        except Misfit as misfit:
            wrong += [((key, *path), f"is a key that {message}", hint) for path, message, hint in misfit.items]
            continue
        try:
            made[new_key] = fit(item, value_kind)
        except Misfit as misfit:
            wrong += misfit.under(key)
    if wrong:
        raise Misfit(items=wrong)
    if origin is collections.defaultdict:
        return collections.defaultdict(None, made)
    concrete = isinstance(origin, type) and issubclass(origin, dict) and origin is not dict
    return origin(made) if concrete else made


def _collection(value: Any, kind: Any) -> Any:
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise mismatch(value, kind)
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    items = list(value)
    kinds: list[Any] = [arguments[0] if arguments else Any] * len(items)
    if issubclass(origin, tuple) and arguments and arguments[-1] is not Ellipsis:
        kinds = [each for each in arguments if each != ()]
        if len(kinds) != len(items):
            raise Misfit(f"must have {len(kinds)} items, not {len(items)}")
    made, wrong = [], []
    for number, (item, item_kind) in enumerate(zip(items, kinds, strict=True)):
        try:
            made.append(fit(item, item_kind))
        except Misfit as misfit:
            wrong += misfit.under(number)
    if wrong:
        raise Misfit(items=wrong)
    if issubclass(origin, tuple):
        return tuple(made)
    if issubclass(origin, Set):
        try:
            return set(made) if origin is set else frozenset(made)
        except TypeError as error:
            raise Misfit("must be a list of plain values", "no lists or mappings in it") from error
    return collections.deque(made) if origin is collections.deque else made


def _seconds(text: Any) -> datetime.timedelta:
    from aiflow_ext.translate.common import seconds

    return datetime.timedelta(seconds=seconds(text))


_WRITTEN: dict[Any, tuple[str, Any]] = {
    datetime.datetime: ("a time such as 2024-05-01T12:00:00", datetime.datetime.fromisoformat),
    datetime.date: ("a date such as 2024-05-01", datetime.date.fromisoformat),
    datetime.timedelta: ("a duration such as 30s, 10m or 2h", _seconds),
}


def _written(value: Any, kind: Any) -> Any:
    if isinstance(value, kind):
        return value
    try:
        return _WRITTEN[kind][1](value)
    except (ValueError, TypeError, OverflowError, Misfit) as error:
        raise mismatch(value, kind) from error


def _is_class(kind: Any) -> bool:
    """Whether objects of this type are made by a call with named arguments."""
    origin = typing.get_origin(kind) or kind
    if not isinstance(origin, type) or origin.__module__ == "builtins" or origin in (Path, *_WRITTEN):
        return False
    if getattr(origin, "_is_protocol", False) or inspect.isabstract(origin):
        return False
    try:
        signature_of(kind)
    except TypeError:
        return False
    return True


def _class(value: Any, kind: Any) -> Any:
    from aiflow_ext.translate.structure import build

    origin = typing.get_origin(kind) or kind
    if not typing.is_typeddict(origin) and isinstance(value, origin):
        return value
    if not isinstance(value, Mapping):
        raise mismatch(value, kind)
    return build(kind, value)
