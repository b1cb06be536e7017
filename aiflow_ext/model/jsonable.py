"""Objects as data: to JSON and back, without ever importing what the data names.

A type is known here once its class exists (``Jsonable.__init_subclass__`` notes it), that is, once the plugin that
brings it has been loaded. A name that is not registered is refused; it is never imported.
"""

from __future__ import annotations

import copyreg
from base64 import b64decode, b64encode
from collections.abc import Mapping
from enum import Enum
from functools import cache
from math import inf, isfinite, nan
from types import MemberDescriptorType
from typing import Any, ClassVar, SupportsIndex, TypeVar, cast

from aiflow_ext.model.errors import DataError

T = TypeVar("T", bound="Jsonable")
TAG = "__type__"
_types: dict[str, type[Any]] = {}
_SEQUENCES: dict[Any, type[Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset}


def type_name(cls: type[Any]) -> str:
    """The name under which objects of ``cls`` are written: ``module:qualname``."""
    return f"{cls.__module__}:{cls.__qualname__}"


def register_type(cls: type[Any]) -> type[Any]:
    """Let objects of ``cls`` (an Enum, or a class with ``to_json`` and ``from_json``) be read back."""
    _types[type_name(cls)] = cls
    return cls


class Jsonable:
    """An object that can be written as JSON and read back.

    A subclass need do nothing: its instance attributes are what is written. Override ``to_json`` and ``from_json``
    to write something else.
    """

    # Attributes that are for this process only and are left out of the data.
    transient: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        register_type(cls)

    def to_json(self) -> dict[str, Any]:
        """The attributes to write. Values may be anything that :func:`dumps` takes."""
        return {name: value for name, value in _attributes(self).items() if name not in self.transient}

    @classmethod
    def from_json(cls: type[T], data: dict[str, Any]) -> T:
        """A new object with these attributes; ``__init__`` is not called, as with a copy."""
        made = cls.__new__(cls)
        for name, value in data.items():
            if not name.isidentifier() or name.startswith("__") or name in vars(Jsonable):
                raise DataError(f"{type_name(cls)} cannot have an attribute {name!r}")
            object.__setattr__(made, name, value)
        return made

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and Jsonable.to_json(self) == Jsonable.to_json(other)

    __hash__ = object.__hash__

    # copy and pickle take every attribute along, also of a frozen class and of one with slots.

    def __getstate__(self) -> Any:
        return _attributes(self)

    def __setstate__(self, state: Any) -> None:
        for part in state if isinstance(state, tuple) else (state,):  # a subclass's own may tell __dict__ and slots
            for name, value in (part or {}).items():
                object.__setattr__(self, name, value)

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        cls: Any = type(self)
        generated = _without_generated_state(cls)
        reduced = super().__reduce_ex__(protocol)
        if generated and isinstance(reduced, tuple) and reduced[0] is copyreg.__newobj__ and len(reduced[1]) == 1:  # type: ignore[attr-defined]
            return (_blank, *reduced[1:])
        return reduced

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in Jsonable.to_json(self).items())
        return f"{type(self).__name__}({shown})"


def _attributes(value: Any) -> dict[str, Any]:
    """Everything that is set on the object itself: in its ``__dict__`` and in its slots."""
    found, cls = dict(getattr(value, "__dict__", {})), cast(Any, type(value))
    for name, slot in _slots(cls):
        try:
            found.setdefault(name, slot.__get__(value))  # not by getattr, which may compute what is not there
        except AttributeError:  # not set
            continue
    if "_attrs_cached_hash" in found:
        found["_attrs_cached_hash"] = None  # the hash of a text is another one in the next process
    return found


@cache
def _slots(cls: Any) -> list[tuple[str, MemberDescriptorType]]:
    """The slots of a class and its bases, by the names that attributes have on the object."""
    found = []
    for base in cls.__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name.startswith("__") and not name.endswith("__"):  # private: kept under its mangled name
                name = f"_{base.__name__.lstrip('_')}{name}"
            slot = base.__dict__.get(name)
            if isinstance(slot, MemberDescriptorType):
                found.append((name, slot))
    return found


@cache
def _without_generated_state(cls: Any) -> bool:
    """Take away the ``__getstate__`` and ``__setstate__`` that attrs and dataclasses write for a class with slots.

    They know the declared fields alone: what the host has set beside those (platform, properties, env) would be lost
    with every copy. Returns whether there were any; an author's own are left alone.
    """
    found = False
    for base in cls.__mro__[: cls.__mro__.index(Jsonable)]:
        for name in ("__getstate__", "__setstate__"):
            if getattr(vars(base).get(name), "__module__", None) in ("attr._make", "dataclasses"):
                delattr(base, name)
                found = True
    return found


def _blank(cls: Any) -> Any:
    """An object whose attributes are still to be set; its class may be new in this process."""
    _without_generated_state(cls)
    return cls.__new__(cls)


_PLAIN = frozenset((str, int, bool, type(None)))  # most of what there is


def encode(value: Any) -> Any:
    """``value`` as plain JSON types. Raises TypeError for what is not data."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict and TAG not in value and all(type(key) is str for key in value):
        return {key: item if type(item) in _PLAIN else encode(item) for key, item in value.items()}
    if kind is list:
        return [encode(item) for item in value]
    if isinstance(value, float) and not isfinite(value):  # JSON has no word for them
        return {TAG: "float", "value": repr(float(value))}
    if isinstance(value, (bool, int, float, str)) and not isinstance(value, Enum):
        return value
    if isinstance(value, Enum):
        return {TAG: _registered_name(value), "value": encode(value.value)}
    if isinstance(value, Jsonable):
        items = value.to_json().items()
        return {
            TAG: _registered_name(value),
            **{name: item if type(item) in _PLAIN else encode(item) for name, item in items},
        }
    if isinstance(value, (bytes, bytearray)):
        return {TAG: "bytes", "base64": b64encode(value).decode()}
    if isinstance(value, tuple):
        return {TAG: "tuple", "items": [encode(item) for item in value]}
    if isinstance(value, (set, frozenset)):
        # In a fixed order, whatever they hold, so that the same set gives the same text.
        return {TAG: "set" if isinstance(value, set) else "frozenset", "items": sorted(map(encode, value), key=repr)}
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        if TAG not in value and all(isinstance(key, str) for key in value):
            return {key: encode(item) for key, item in value.items()}
        return {TAG: "dict", "items": [[encode(key), encode(item)] for key, item in value.items()]}
    words = f"{type(value).__name__} {value!r} is not data: {type_name(type(value))} is no Jsonable"
    raise TypeError(words + _instead(value))


def _instead(value: Any) -> str:
    """What to keep in place of a value that is no data."""
    if callable(getattr(value, "isoformat", None)):
        return "; keep value.isoformat(), and make the object from it where it is used"
    if type(value).__module__.partition(".")[0] in ("decimal", "fractions", "ipaddress", "pathlib", "uuid", "zoneinfo"):
        return "; keep str(value), and make the object from it where it is used"
    return "; keep what it is made of, as text, numbers, lists and mappings"


def _place_of_no_data(value: Any) -> str:
    """The path in ``value`` to what is not data: ``SlurmHandler.limits['cpu']``; empty where it is ``value`` itself."""
    if isinstance(value, Jsonable):
        inner = [(f".{name}", item) for name, item in value.to_json().items()]
    elif isinstance(value, Mapping):
        inner = [(f"[{key!r}]", item) for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        inner = [(f"[{number}]", item) for number, item in enumerate(value)]
    else:
        return ""
    for step, item in inner:
        try:
            encode(item)
        except TypeError:
            rest = _place_of_no_data(item)
            if isinstance(item, Jsonable):
                rest = rest.removeprefix(type(item).__qualname__)
            return f"{type(value).__qualname__ if isinstance(value, Jsonable) else ''}{step}{rest}"
    return ""


def _registered_name(value: Any) -> str:
    """The name under which ``value`` will be read back. Raises TypeError where it could not be read back."""
    name = type_name(type(value))
    if name not in _types:
        raise TypeError(f"{value!r} is not data: {name} is not registered (aiflow_ext.model.jsonable.register_type)")
    return name


def decode(data: Any) -> Any:
    """The inverse of :func:`encode`. Raises DataError for a type that is not registered here."""
    if isinstance(data, list):
        return [decode(item) for item in data]
    if not isinstance(data, dict):
        return data
    if TAG not in data:
        return {key: decode(item) for key, item in data.items()}
    name = data[TAG]
    rest = {key: item for key, item in data.items() if key != TAG}
    try:
        return _decode_tagged(name, rest)
    except (DataError, RecursionError):
        raise
    except Exception as error:  # a type's own from_json may raise anything for what it was never meant to read
        raise DataError(f"damaged data for {name!r}: {type(error).__name__}: {error}") from error


def _decode_tagged(name: Any, rest: dict[str, Any]) -> Any:
    if name == "bytes":
        return b64decode(rest["base64"], validate=True)
    if name == "float":
        return {"nan": nan, "inf": inf, "-inf": -inf}[rest["value"]]
    if name in _SEQUENCES:
        return _SEQUENCES[name]([decode(item) for item in rest["items"]])
    if name == "dict":
        return {decode(key): decode(item) for key, item in rest["items"]}
    cls = _types.get(name) if isinstance(name, str) else None
    if cls is None:
        raise DataError(
            f"the data names the type {name!r}, which nothing loaded here provides",
            hint="load the plugin that wrote it; types are never imported because data names them",
        )
    if issubclass(cls, Enum):
        return cls(decode(rest["value"]))
    return cls.from_json({key: decode(item) for key, item in rest.items()})


def dumps(value: Any, *, indent: int | None = None) -> str:
    """``value`` as JSON text that UTF-8 can encode.

    Args:
        value: plain data and Jsonable objects, nested at will.
        indent: spaces of each level of indentation; None (default): one line.

    Raises TypeError for anything else.
    """
    import json

    try:
        data = encode(value)
        text = json.dumps(data, indent=indent, ensure_ascii=False, allow_nan=False)
    except TypeError as error:
        place = _place_of_no_data(value)
        raise TypeError(f"{f'{place}: ' if place else ''}{error}") from error
    except RecursionError as error:
        raise TypeError(f"a {type(value).__name__} that is nested too deeply, or holds itself, is not data") from error
    try:
        text.encode()
    except UnicodeEncodeError:  # a file name that is no text (os.fsdecode): escaped, it comes back the same
        return json.dumps(data, indent=indent, allow_nan=False)
    return text


def finite(value: Any) -> Any:
    """Plain data in which the numbers that JSON lacks, NaN and infinities, are text: for readers other than Python."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(each) for each in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def loads(text: str | bytes, expect: type[T] | None = None) -> Any:
    """The object that ``text`` (from :func:`dumps`) describes; ``expect`` is the type that it must have.

    Raises DataError where the text is damaged, names a type not registered here, or is of another type.
    """
    import json

    try:
        value = decode(json.loads(text))
    except ValueError as error:
        raise DataError(f"not JSON: {error}") from error
    except RecursionError as error:
        raise DataError("the data is nested too deeply") from error
    if expect is not None and not isinstance(value, expect):
        raise DataError(f"expected {type_name(expect)}, found {type_name(type(value))}")
    return value
