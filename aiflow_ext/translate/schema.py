"""JSON schemas (draft 2020-12) of types: what :mod:`~aiflow_ext.translate.fitting` accepts, as far as they can say."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Mapping, Set
from enum import Enum
from typing import Any, Literal

from aiflow_ext.translate.forms import form_of
from aiflow_ext.translate.signature import REQUIRED, signature_of
from aiflow_ext.translate.types_in_words import (
    UNIONS,
    choices,
    is_anything,
    is_class,
    is_collection,
    is_mapping,
    origin_of,
    scalar_of,
    unwrapped,
    writable,
)

Schema = dict[str, Any]
ANYTHING: Schema = {}
_DEEPEST = 8  # levels of classes in classes; what is deeper may be anything
_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", bytes: "string", type(None): "null"}
NUMBER = r"(\d+(\.\d*)?|\.\d+)"
# As durations.seconds and resources.parse_* read them; a schema's patterns have no flags.
_UNITS = "".join(rf"({NUMBER}\s*{unit})?\s*" for unit in ("[wW]", "[dD]", "[hH]", "[mM]", "[sS]", "[mM][sS]"))
DURATION: Schema = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": rf"^\s*(?=\.?\d)({NUMBER}|{_UNITS})\s*$"},
    ],
    "description": "a duration: seconds, or 30s, 10m, 1h30m",
}


def schema_of(kind: Any, depth: int = 0) -> Schema:
    """The schema of the values that fit ``kind``."""
    kind = unwrapped(kind)
    if depth > _DEEPEST or is_anything(kind) or not writable(kind):
        return ANYTHING
    if kind is None or kind in _PLAIN:
        return {"type": _PLAIN[type(None) if kind is None else kind]}
    if (form := form_of(kind)) is not None:
        if form.words.startswith("a duration"):
            return DURATION
        return {"type": ["string", "number"] if form.numbers else "string", "description": form.words}
    arguments = typing.get_args(kind)
    if origin_of(kind) in UNIONS:
        return _any_of([schema_of(each, depth) for each in arguments])
    if origin_of(kind) is Literal:
        return {"enum": [each.value if isinstance(each, Enum) else each for each in arguments]}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"anyOf": [{"enum": choices(kind)}, {"type": "string", "pattern": _in_any_case(kind)}]}
    if is_mapping(kind):
        value = arguments[1] if len(arguments) > 1 else Any
        return {"type": "object", "additionalProperties": schema_of(value, depth + 1)}
    if is_collection(kind):
        return _list_of(kind, arguments, depth)
    if (plain := scalar_of(kind)) is not None:
        return {"type": _PLAIN[plain]}
    return _object_of(kind, depth) if is_class(kind) else ANYTHING


def meanings(cls: Any) -> dict[str, str]:
    """What the docstrings of a class and its bases say of each argument, by its name."""
    found: dict[str, str] = {}
    for base in reversed(getattr(typing.get_origin(cls) or cls, "__mro__", ())):
        text = inspect.cleandoc(vars(base).get("__doc__") or "")
        section = re.search(r"^(?:Args|Attributes):\n((?:[ ]+.*\n?|\n)+)", text, re.MULTILINE)
        for match in re.finditer(
            r"^    (\w[\w, ]*):((?: .*)?(?:\n     .*)*)", section[1] if section else "", re.MULTILINE
        ):
            for name in match[1].split(","):
                found[name.strip()] = " ".join(match[2].split())
    return found


def _in_any_case(kind: type[Enum]) -> str:
    """A pattern for the names and values of an enum's members as text, whose case does not count."""
    words = dict.fromkeys(word for name, each in kind.__members__.items() for word in (name, str(each.value)))
    letters = ["".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() else re.escape(c) for c in word) for word in words]
    return f"^({'|'.join(letters)})$"


def _list_of(kind: Any, arguments: tuple[Any, ...], depth: int) -> Schema:
    origin = typing.get_origin(kind) or kind
    if issubclass(origin, tuple) and arguments and arguments[-1] is not Ellipsis:
        items = [schema_of(each, depth + 1) for each in arguments if each != ()]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    made: Schema = {"type": "array", "items": schema_of(arguments[0], depth + 1) if arguments else ANYTHING}
    return made if not issubclass(origin, Set) else {**made, "uniqueItems": False}


def _object_of(kind: Any, depth: int) -> Schema:
    signature, words = signature_of(kind), meanings(kind)
    needed = [name for name, each in signature.parameters.items() if each.required]
    keys = {
        name: described(parameter_schema(each, depth + 1), words.get(name))
        for name, each in signature.parameters.items()
    }
    return {
        "type": "object",
        "properties": keys,
        **({"required": needed} if needed else {}),
        "additionalProperties": signature.free,
    }


def parameter_schema(parameter: Any, depth: int = 0) -> Schema:
    """The schema of a parameter, with its default where a file could hold it."""
    made = schema_of(parameter.type, depth)
    default = parameter.default
    if default is REQUIRED or made == ANYTHING:
        return dict(made)
    if default is None:
        return or_nothing(made)
    return {**made, "default": default} if type(default) in (str, int, float, bool) else dict(made)


def described(schema: Schema, words: str | None) -> Schema:
    """The same with a description, where there is one."""
    return {**schema, "description": words} if words else schema


def or_nothing(schema: Schema) -> Schema:
    """The same, or nothing after the colon."""
    if schema == ANYTHING:
        return schema
    aside: Schema = {key: schema[key] for key in ("description", "default") if key in schema}
    inner = {key: value for key, value in schema.items() if key not in aside}
    return {**_any_of([inner, {"type": "null"}]), **aside}


def _any_of(schemas: list[Schema]) -> Schema:
    """The schema that each value of any of these fits."""
    flat: list[Schema] = []
    for each in schemas:
        if each == ANYTHING:
            return ANYTHING
        for one in each["anyOf"] if set(each) == {"anyOf"} else [each]:
            if one not in flat:
                flat.append(one)
    return flat[0] if len(flat) == 1 else {"anyOf": flat}


def any_of(schemas: Mapping[str, Schema] | list[Schema]) -> Schema:
    """As ``_any_of``, of schemas with descriptions; the first one's is kept."""
    given = [*schemas.values()] if isinstance(schemas, Mapping) else schemas
    said = next((each["description"] for each in given if "description" in each), None)
    bare = [{key: value for key, value in each.items() if key not in ("description", "default")} for each in given]
    return described(_any_of(bare), said)
