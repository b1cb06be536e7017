"""Whether a value from a file fits a type, strictly: text is no number, true is no number, 1 is a fine float."""

from __future__ import annotations

import collections
import inspect
import typing
from collections.abc import Callable, Collection, Mapping, MutableSet, Sequence, Set
from enum import Enum
from functools import cache, lru_cache
from typing import Any, Literal

from aiflow_ext.model.spelling import near
from aiflow_ext.translate.construct import create
from aiflow_ext.translate.forms import form_of
from aiflow_ext.translate.misfits import Item, Misfit, given
from aiflow_ext.translate.signature import Signature, signature_of
from aiflow_ext.translate.types_in_words import (
    UNIONS,
    choices,
    describe,
    is_anything,
    is_class,
    is_collection,
    is_mapping,
    mismatch,
    origin_of,
    refusal,
    scalar_of,
    unwrapped,
    writable,
)

TELLS = " is not a key of "
LACKS = "lacks the key "


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
            raise Misfit(*refusal(kind)) from error
        raise Misfit(f"does not fit: {error}") from error


@lru_cache(maxsize=512)
def _how(kind: Any) -> tuple[Callable[[Any, Any], Any], Any]:
    """What fits a value to ``kind``, and the type that is given to it."""
    bare = unwrapped(kind)
    if is_anything(bare):
        return (lambda value, _: value), bare
    if not writable(bare):
        return _refuse, bare
    if form_of(bare) is not None:
        return _written, bare
    return _converter().get_structure_hook(bare), bare


def _refuse(value: Any, kind: Any) -> Any:
    raise Misfit(*refusal(kind))


@cache
def _converter() -> Any:
    import cattrs

    made = cattrs.Converter()
    for kind in (str, bytes, int, float):
        made.register_structure_hook(kind, _scalar)
    made.register_structure_hook(Enum, _enum)  # older cattrs asks by class first
    # The last one registered is asked first.
    made.register_structure_hook_func(is_class, _class)
    made.register_structure_hook_func(is_collection, _collection)
    made.register_structure_hook_func(is_mapping, _mapping)
    made.register_structure_hook_func(lambda kind: origin_of(kind) is Literal, _literal)
    made.register_structure_hook_func(lambda kind: origin_of(kind) in UNIONS, _union)
    made.register_structure_hook_func(lambda kind: kind in (None, type(None)), _nothing)
    made.register_structure_hook_func(is_anything, lambda value, _: value)
    return made


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


def _own_scalar(value: Any, kind: Any) -> Any:
    if isinstance(value, kind):
        return value
    plain = _scalar(value, scalar_of(kind))
    try:
        return kind(plain)
    except Exception as error:
        raise Misfit(f"is refused by {kind.__name__}: {error}") from error


def _nothing(value: Any, kind: Any) -> None:
    if value is not None:
        raise mismatch(value, None)


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
    raise _choice_mismatch(value, kind, choices(kind))


def _literal(value: Any, kind: Any) -> Any:
    options = typing.get_args(kind)
    for each in options:
        if (type(each) is type(value) and each == value) or (isinstance(each, Enum) and each.value == value):
            return each
    raise _choice_mismatch(value, kind, options)


def _choice_mismatch(value: Any, kind: Any, options: Sequence[Any]) -> Misfit:
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
        if (isinstance(value, Mapping) and (is_mapping(member) or is_class(member)))
        or (isinstance(value, list) and is_collection(member))
    ]
    meant = same_shape if len(same_shape) == 1 else [each for each in members if each is not type(None)]
    raise misfits[meant[0]] if len(meant) == 1 else mismatch(value, kind)


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
    form, origin = form_of(kind), origin_of(kind) or kind
    assert form is not None
    if isinstance(value, origin):
        return value
    if isinstance(value, str) or (form.numbers and type(value) in (int, float)):
        try:
            return form.make(value, origin)
        except Exception as error:
            raise mismatch(value, kind) from error
    raise mismatch(value, kind)


def _class(value: Any, kind: Any) -> Any:
    origin = typing.get_origin(kind) or kind
    if not typing.is_typeddict(origin) and isinstance(value, origin):
        return value
    if not isinstance(value, Mapping):
        raise mismatch(value, kind)
    return build(kind, value)


def build(cls: Any, data: Mapping[Any, Any], owner: str | None = None) -> Any:
    """An object of ``cls`` from ``data``. Raises Misfit with everything that is wrong."""
    values, wrong = arguments(signature_of(cls), data, owner or "this mapping")
    if wrong:
        raise Misfit(items=wrong)
    return create(cls, values)


def arguments(
    signature: Signature,
    data: Mapping[Any, Any],
    owner: str,
    others: Collection[str] = (),
    renamed: Mapping[str, str] | None = None,
) -> tuple[dict[str, Any], list[Item]]:
    """The arguments that ``data`` gives, fitted to their types, and what is wrong.

    Args:
        signature: the parameters.
        data: the values by name.
        owner: what has these keys, for messages.
        others: further valid keys, which the caller handles; named in the error for an unknown key.
        renamed: by former names of keys, their names now; likewise.
    """
    values: dict[str, Any] = {}
    wrong: list[Item] = []
    for key, value in data.items():
        parameter = signature.parameters.get(key) if isinstance(key, str) else None
        if parameter is None:
            if isinstance(key, str) and signature.free:
                values[key] = value
            else:
                wrong.append(((key,), *_unknown(key, owner, [*signature.parameters, *others], renamed or {})))
        elif value is None and parameter.default is None:
            values[key] = None
        else:
            try:
                values[key] = fit(value, parameter.type)
            except Misfit as misfit:
                wrong += misfit.under(key)
    for name, parameter in signature.parameters.items():
        if parameter.required and name not in data:
            kind = describe(parameter.type)
            hint = f"add {name}: with {'its value' if kind == 'anything' else kind}"
            if not writable(parameter.type):
                hint = f"no file can hold a {kind}: the author of the class gives it a default, or makes it in __init__"
            wrong.append(((), f"{LACKS}{name!r}" + ("" if kind == "anything" else f" ({kind})"), hint))
    return values, wrong


def _unknown(key: Any, owner: str, valid: Sequence[str], renamed: Mapping[str, str]) -> tuple[str, str]:
    keys = f"its keys are {', '.join(valid)}" if valid else "it has none"
    if not isinstance(key, str):
        return f"{TELLS.strip()} {owner}: a key is text", f"put it in quotes if it is meant; {keys}"
    close = f"it is called {renamed[key]!r} now:" if key in renamed else near(key, valid)
    return f"{TELLS.strip()} {owner}", f"{close} {keys}" if close else keys
