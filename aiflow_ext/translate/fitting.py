"""Whether a value from a file fits a type, strictly: text is no number, true is no number, 1 is a fine float."""

from __future__ import annotations

import collections
import inspect
import json
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, MutableSet, Sequence, Set
from enum import Enum
from functools import cache, lru_cache
from pathlib import PurePath
from typing import Annotated, Any, Final, Literal, TypeVar, Union

from aiflow_ext.model.jsonable import Jsonable
from aiflow_ext.translate.forms import form_of
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
    try:
        how, bare = _how(kind)
    except TypeError:  # what cannot be hashed: Annotated with a list
        how, bare = _how.__wrapped__(kind)
    try:
        return how(value, bare)
    except Misfit:
        raise
    except Exception as error:
        if type(error).__name__ == "StructureHandlerNotFoundError":
            raise Misfit(*_refusal(kind)) from error
        raise Misfit(f"does not fit: {error}") from error


@lru_cache(maxsize=512)
def _how(kind: Any) -> tuple[Callable[[Any, Any], Any], Any]:
    """What fits a value to ``kind``, and the type that is given to it."""
    bare = _unwrapped(kind)
    if _is_anything(bare):
        return (lambda value, _: value), bare
    if not writable(bare):
        return _refuse, bare
    if form_of(bare) is not None:
        return _written, bare
    return _converter().get_structure_hook(bare), bare


def _refuse(value: Any, kind: Any) -> Any:
    raise Misfit(*_refusal(kind))


def _refusal(kind: Any) -> tuple[str, str]:
    return f"has the type {describe(kind)}, which a file cannot hold", INSTEAD


INSTEAD = (
    "leave it out; the author of the class annotates it with what a file holds (text, numbers, lists, mappings, "
    "Jsonable, a class of its own) and makes the rest in __init__"
)


def writable(kind: Any) -> bool:
    """Whether a file can hold a value of this type, in one form or another."""
    kind = _unwrapped(kind)
    if _is_anything(kind) or kind in _WORDS or kind in (None, type(None)) or form_of(kind) is not None:
        return True
    if _origin(kind) in _UNIONS:
        return any(writable(each) for each in typing.get_args(kind) if each is not type(None))
    if _origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, Enum)):
        return True
    return _is_mapping(kind) or _is_collection(kind) or _is_class(kind) or _scalar_of(kind) is not None


def _unwrapped(kind: Any) -> Any:
    """The type that a NewType, an Annotated, a Final (a field that is not set again) or an alias stands for."""
    while True:
        if isinstance(kind, typing.NewType):
            kind = kind.__supertype__
        elif kind is Final:
            return Any
        elif _origin(kind) in (Annotated, Final):
            kind = typing.get_args(kind)[0]
        elif type(kind).__name__ == "TypeAliasType":  # type X = ..., of Python 3.12
            kind = kind.__value__
        else:
            return kind


@cache
def _converter() -> Any:
    import cattrs

    made = cattrs.Converter()
    for kind in (str, bytes, int, float):
        made.register_structure_hook(kind, _scalar)
    made.register_structure_hook(Enum, _enum)  # older cattrs asks by class first
    # The last one registered is asked first.
    made.register_structure_hook_func(_is_class, _class)
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
    # A name inside its own definition (Json = Union[List["Json"], str]) is left as a reference, or, in list["Json"] on
    # Python 3.10, as text.
    return kind is Any or kind is object or kind is Jsonable or isinstance(kind, (TypeVar, typing.ForwardRef, str))


_UNIONS = (Union, types.UnionType)
_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", bytes: "bytes"}


_SAID = {"true": "true", "yes": "true", "on": "true", "false": "false", "no": "false", "off": "false"}


def describe(kind: Any) -> str:
    """The type in the words of someone who writes YAML."""
    kind = _unwrapped(kind)
    if kind in _WORDS:
        return _WORDS[kind]
    form = form_of(kind)
    if form is not None:
        return form.words
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
        named = len(inner) == 1 and inner[0] is not Any and type(inner[0]).__name__ != "TypeAliasType"
        return f"a list of {describe(inner[0])}" if named else "a list"
    if _scalar_of(kind) is not None:
        return _WORDS[_scalar_of(kind)]
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
            hint = f"write {kind(value)!r} without quotes"
        except ValueError:
            pass
    elif kind is str and isinstance(value, bool):
        hint = "YAML reads this word as true or false: put it in quotes"
    elif kind is str and isinstance(value, (int, float)):
        hint = "put it in quotes"
    elif kind is bool and isinstance(value, str) and value.lower() in _SAID:
        hint = f"write {_SAID[value.lower()]} without quotes"
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
    elif kind is bytes:
        fits = isinstance(value, (str, bytes))
    else:  # an author's own
        return _own_scalar(value, kind)
    if not fits:
        raise mismatch(value, kind)
    if kind is bytes and isinstance(value, str):
        return value.encode()
    try:
        return value if isinstance(value, kind) else kind(value)
    except (ValueError, OverflowError) as error:
        raise mismatch(value, kind) from error


def _scalar_of(kind: Any) -> Any:
    """Which of the scalars an author's own class is a kind of; None where it is no scalar."""
    if not isinstance(kind, type) or issubclass(kind, Enum):
        return None
    return next((each for each in (str, int, float, bytes) if issubclass(kind, each)), None)


def _own_scalar(value: Any, kind: Any) -> Any:
    if isinstance(value, kind):
        return value
    plain = _scalar(value, _scalar_of(kind))
    try:
        return kind(plain)
    except Exception as error:
        raise Misfit(f"is refused by {kind.__name__}: {error}") from error


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
    if origin in (range, bytearray, memoryview) or origin.__module__ == "array":  # sequences of numbers alone
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
    return made if origin is dict or inspect.isabstract(origin) else _own_container(made, origin)


def _collection(value: Any, kind: Any) -> Any:
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise mismatch(value, kind)
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    items = list(value)
    kinds: list[Any] = [arguments[0] if arguments else Any] * len(items)
    if issubclass(origin, tuple) and arguments and arguments[-1] is not Ellipsis:
        kinds = [each for each in arguments if each != ()]
        if len(kinds) != len(items):
            raise Misfit(f"must have {len(kinds)} item{'' if len(kinds) == 1 else 's'}, not {len(items)}")
    made, wrong = [], []
    for number, (item, item_kind) in enumerate(zip(items, kinds, strict=True)):
        try:
            made.append(fit(item, item_kind))
        except Misfit as misfit:
            wrong += misfit.under(number)
    if wrong:
        raise Misfit(items=wrong)
    if issubclass(origin, Set):
        try:
            unique = set(made) if issubclass(origin, MutableSet) else frozenset(made)
        except TypeError as error:
            raise Misfit("must be a list of plain values", "no lists or mappings in it") from error
        return unique if inspect.isabstract(origin) or origin in (set, frozenset) else _own_container(unique, origin)
    if origin is tuple:
        return tuple(made)
    return made if origin is list or inspect.isabstract(origin) else _own_container(made, origin)


def _own_container(made: Any, kind: Any) -> Any:
    """``made`` in the class that was asked for."""
    try:
        return kind(made)
    except Exception as error:
        raise Misfit(f"is refused by {kind.__name__}: {error}") from error


def _written(value: Any, kind: Any) -> Any:
    form, origin = form_of(kind), _origin(kind) or kind
    assert form is not None
    if isinstance(value, origin):
        return value
    if isinstance(value, str) or (form.numbers and type(value) in (int, float)):
        try:
            return form.make(value, origin)
        except Exception as error:
            raise mismatch(value, kind) from error
    raise mismatch(value, kind)


def _is_standard(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in sys.stdlib_module_names


def _is_class(kind: Any) -> bool:
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


def _class(value: Any, kind: Any) -> Any:
    from aiflow_ext.translate.structure import build

    origin = typing.get_origin(kind) or kind
    if not typing.is_typeddict(origin) and isinstance(value, origin):
        return value
    if not isinstance(value, Mapping):
        raise mismatch(value, kind)
    return build(kind, value)
