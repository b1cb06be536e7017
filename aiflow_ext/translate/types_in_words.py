"""What a type means to the author of the file: whether a file can hold it, and how messages describe it."""

from __future__ import annotations

import collections
import inspect
import json
import sys
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from enum import Enum
from pathlib import PurePath
from typing import Annotated, Any, Final, Literal, TypeVar, Union

from aiflow_ext.model.jsonable import Jsonable
from aiflow_ext.translate.forms import form_of
from aiflow_ext.translate.misfits import Misfit, given
from aiflow_ext.translate.signature import signature_of

UNIONS = (Union, types.UnionType)
_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", bytes: "bytes"}
_SAID = {"true": "true", "yes": "true", "on": "true", "false": "false", "no": "false", "off": "false"}
INSTEAD = (
    "leave it out; the author of the class annotates it with what a file holds (text, numbers, lists, mappings, "
    "Jsonable, a class of its own) and makes the rest in __init__"
)


def describe(kind: Any) -> str:
    """The type in the words of someone who writes YAML."""
    kind = unwrapped(kind)
    if kind in _WORDS:
        return _WORDS[kind]
    form = form_of(kind)
    if form is not None:
        return form.words
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in (None, type(None)):
        return "nothing"
    if is_anything(kind):
        return "anything"
    if origin in UNIONS:
        return " or ".join(describe(each) for each in arguments if each is not type(None))
    if origin is Literal:
        return _one_of(arguments)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _one_of(choices(kind))
    if is_mapping(kind):
        return "a mapping"
    if is_collection(kind):
        inner = [each for each in arguments if each is not Ellipsis]
        named = len(inner) == 1 and inner[0] is not Any and type(inner[0]).__name__ != "TypeAliasType"
        return f"a list of {describe(inner[0])}" if named else "a list"
    if scalar_of(kind) is not None:
        return _WORDS[scalar_of(kind)]
    if is_class(kind):
        return "a mapping"
    return getattr(kind, "__name__", str(kind))


def writable(kind: Any) -> bool:
    """Whether a file can hold a value of this type, in one form or another."""
    kind = unwrapped(kind)
    if is_anything(kind) or kind in _WORDS or kind in (None, type(None)) or form_of(kind) is not None:
        return True
    if origin_of(kind) in UNIONS:
        return any(writable(each) for each in typing.get_args(kind) if each is not type(None))
    if origin_of(kind) is Literal or (isinstance(kind, type) and issubclass(kind, Enum)):
        return True
    return is_mapping(kind) or is_collection(kind) or is_class(kind) or scalar_of(kind) is not None


def refusal(kind: Any) -> tuple[str, str]:
    """That no file can hold this type: the message, and what to do."""
    return f"has the type {describe(kind)}, which a file cannot hold", INSTEAD


def mismatch(value: Any, kind: Any) -> Misfit:
    """That ``value`` is not what ``kind`` asks for, and how to write it so that it is."""
    hint = None
    if kind in (int, float) and isinstance(value, str):
        try:
            hint = f"write {kind(value)!r} without quotes"
        except ValueError:
            pass
    elif kind is str and isinstance(value, bool):
        hint = "YAML reads this word as true or false: put it in quotes"
    elif kind is str and isinstance(value, (int, float)):
        hint = "put it in quotes"
    elif kind is bool and isinstance(value, str) and value.lower() in _SAID:
        hint = f"write {_SAID[value.lower()]} without quotes"
    elif is_collection(kind) and isinstance(value, (str, int, float)):
        hint = f"write a list: [{value}]"
    return Misfit(f"must be {describe(kind)}, not {given(value)}", hint)


def _one_of(values: Iterable[Any]) -> str:
    shown = [json.dumps(each, default=str) if not isinstance(each, str) else repr(each) for each in values]
    return f"one of {', '.join(shown)}" if len(shown) != 1 else shown[0]


def unwrapped(kind: Any) -> Any:
    """The type that a NewType, an Annotated, a Final (a field that is not set again) or an alias is for."""
    while True:
        if isinstance(kind, typing.NewType):
            kind = kind.__supertype__
        elif kind is Final:
            return Any
        elif origin_of(kind) in (Annotated, Final):
            kind = typing.get_args(kind)[0]
        elif type(kind).__name__ == "TypeAliasType":  # type X = ..., of Python 3.12
            kind = kind.__value__
        else:
            return kind


def origin_of(kind: Any) -> Any:
    """The bare type of a parametrised one: ``list`` of ``list[int]``; None of others."""
    return typing.get_origin(kind)


def is_anything(kind: Any) -> bool:
    """Whether a value of any type fits. ``Jsonable`` itself, and not a subclass, means any plain data."""
    # A name inside its own definition (Json = Union[List["Json"], str]) is left as a reference, or, in list["Json"] on
    # Python 3.10, as text.
    return kind is Any or kind is object or kind is Jsonable or isinstance(kind, (TypeVar, typing.ForwardRef, str))


def scalar_of(kind: Any) -> Any:
    """Which of the scalars an author's own class is a kind of; None where it is no scalar."""
    if not isinstance(kind, type) or issubclass(kind, Enum):
        return None
    return next((each for each in (str, int, float, bytes) if issubclass(kind, each)), None)


def choices(kind: type[Enum]) -> list[Any]:
    """How an enum's members are written in a file: their values, or their names where a value is no text or number."""
    values = [member.value for member in kind]
    return values if all(isinstance(each, (str, int)) for each in values) else [member.name for member in kind]


def is_mapping(kind: Any) -> bool:
    """Whether values of this type are written as a mapping with keys of any name."""
    origin = typing.get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, Mapping) and not typing.is_typeddict(origin)


def is_collection(kind: Any) -> bool:
    """Whether values of this type are written as a list."""
    origin = typing.get_origin(kind) or kind
    if not isinstance(origin, type) or issubclass(origin, (str, bytes, Mapping)) or hasattr(origin, "_fields"):
        return False
    if origin in (range, bytearray, memoryview) or origin.__module__ == "array":  # sequences of numbers alone
        return False
    return origin in (Collection, Iterable) or issubclass(origin, (Sequence, Set, collections.deque))


def is_class(kind: Any) -> bool:
    """Whether objects of this type are made by a call with named arguments."""
    origin = typing.get_origin(kind) or kind
    # What the standard library makes (a lock, a logger, an open file) is no data, whatever its __init__ takes.
    if not isinstance(origin, type) or (_is_standard(origin) and origin is not types.SimpleNamespace):
        return False
    if issubclass(origin, (Enum, PurePath, BaseException)):
        return False
    if getattr(origin, "_is_protocol", False) or inspect.isabstract(origin):
        return False
    try:
        signature_of(kind)
    except TypeError:
        return False
    return True


def _is_standard(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in sys.stdlib_module_names
