"""Tables of the site that are made of the code: every key of a config, every error."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from enum import Enum
from typing import Any, NamedTuple

import aiflow_ext as af
from aiflow_ext.host.resolve import resolve
from aiflow_ext.model import errors as model_errors
from aiflow_ext.translate.file_schemas import common_keys, own_keys, project_schema
from aiflow_ext.translate.schema import DURATION, Schema
from aiflow_ext.translate.signature import signature_of

# The common keys whose values depend on what is installed.
_NAMES: dict[str, Schema] = {
    "platform": {"type": "string", "description": "where the job runs: a platform's name; `local` by default."},
    "engine": {"type": "string", "description": "what kind of job it is; by default that of its nodes."},
    "platforms": {"type": "object", "description": "by platform, keys that count for jobs on it alone."},
}
# Their former names, which are still read.
_FORMER = ("_config", "_expression")
_TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
# By the end of a text's pattern, what it is.
_PATTERNS = {
    DURATION["anyOf"][1]["pattern"]: "duration",
    r"(Ti|T|Gi|G|Mi|M|Ki|k)\s*$": "size",
    r"m?\s*$": "cores",
}


class Row(NamedTuple):
    """One key: its name, as ``volumes[].mount`` where it is one of a mapping; what may be written; its meaning."""

    key: str
    kind: str
    default: str
    meaning: str


def of_every_job() -> list[Row]:
    """The keys that every job has."""
    rows = (row for row in _rows({**_NAMES, **common_keys()}) if not any(map(_is_former, row.key.split("."))))
    return [row._replace(default=_default(getattr(af.BaseJobConfig, row.key, None)) or row.default) for row in rows]


def of_project() -> list[Row]:
    """The keys of project.yaml."""
    return [*_rows(project_schema({"$defs": {}})["properties"])]


def of_plugin(name: str, without: str = "") -> list[Row]:
    """The keys of a job plugin's own.

    Args:
        name: the plugin's, such as ``kubernetes.python``.
        without: names of plugins whose keys are left out, with spaces between.

    Raises PluginError where it cannot be used.
    """
    platform, _, engine = name.partition(".")
    (record,) = [each for each in af.plugins() if (each.kind, each.name) == ("job_plugin", name)]
    config = resolve(record, platform, engine).config_type
    keys, _ = own_keys(config)
    required = frozenset(key for key, each in signature_of(config).parameters.items() if each.required)
    others = {row.key for other in without.split() for row in of_plugin(other)}
    return [row for row in _rows(keys, required=required) if row.key not in others]


def table_of(rows: list[Row]) -> list[str]:
    """The lines of a Markdown table."""
    cells = [(f"`{row.key}`", row.kind, row.default, row.meaning) for row in rows]
    return ["| key | type | default | meaning |", "|---|---|---|---|", *(f"| {' | '.join(each)} |" for each in cells)]


def errors() -> list[str]:
    """The lines of a Markdown table of all errors that callers of ``aiflow_ext`` get."""
    found = [*vars(model_errors).values(), af.RunFailedError]
    kinds = [each for each in found if inspect.isclass(each) and issubclass(each, af.AiflowError)]
    rows = [
        f"| `{each.__name__}` | `{each.__bases__[0].__name__}` | {each.exit_code} | {_first_paragraph(each)} |"
        for each in sorted(kinds, key=lambda each: (each.exit_code, each.__name__))
    ]
    return ["| error | kind of | exit code | meaning |", "|---|---|---|---|", *rows]


def _is_former(key: str) -> bool:
    return key.endswith(_FORMER)


def _default(value: Any) -> str:
    """A default as it would be written in a file; nothing for null, which means: leave it out."""
    plain = value.value if isinstance(value, Enum) else value
    return f"`{json.dumps(plain)}`" if type(plain) in (str, int, float, bool) else ""


def _first_paragraph(cls: type) -> str:
    return " ".join(inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0].split()).replace("``", "`")


def _rows(keys: dict[str, Schema], prefix: str = "", required: frozenset[str] = frozenset()) -> Iterator[Row]:
    """Each key, followed by those of the mappings that it takes."""
    for name, schema in keys.items():
        default = "required" if name in required else ""
        default = _default(schema.get("default")) or default
        meaning = schema.get("description", "").replace("``", "`").replace("None", "`null`").replace("|", "\\|")
        yield Row(prefix + name, _kind(schema), default, meaning)
        for suffix, inner in _inner(schema):
            yield from _rows(inner["properties"], f"{prefix}{name}{suffix}.", frozenset(inner.get("required", ())))


def _choices(schema: Schema) -> list[Schema]:
    """The forms that a value may have, other than null and other than a word in another case."""
    forms = [form for each in schema.get("anyOf", ()) for form in _choices(each)] or [schema]
    return [each for each in forms if each.get("type") != "null" and not each.get("pattern", "").startswith("^([")]


def _inner(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """The mappings with keys of their own that a value may be or hold, each with what leads to it."""
    for form in _choices(schema):
        if "properties" in form:
            yield "", form
        for key, suffix in (("items", "[]"), ("additionalProperties", ".NAME")):
            if isinstance(form.get(key), dict):
                yield from ((suffix + rest, each) for rest, each in _inner(form[key]))


def _kind(schema: Schema) -> str:
    """What may be written, in words."""
    words = " or ".join(dict.fromkeys(map(_form, _choices(schema))))
    return words.replace("number or duration", "duration").replace("number or cores", "cores")


def _form(form: dict[str, Any]) -> str:
    kind, inner = form.get("type"), form.get("additionalProperties")
    if "enum" in form:
        return ", ".join(f"`{each if isinstance(each, str) else json.dumps(each)}`" for each in form["enum"])
    for pattern, words in _PATTERNS.items():
        if form.get("pattern", "").endswith(pattern):
            return words
    if kind == "array":
        return f"list of {_kind(form['items'])}" if form.get("items") else "list"
    if kind == "object" and isinstance(inner, dict) and inner:
        return f"map of names to {_kind(inner)}"
    if isinstance(kind, list):
        return " or ".join(_TYPES[each] for each in kind if each != "null")
    return _TYPES.get(str(kind), "mapping" if kind == "object" or "$ref" in form else "anything")
