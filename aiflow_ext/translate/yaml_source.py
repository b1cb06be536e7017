"""YAML text as plain data with the place (file and line) of each key and item."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import yaml

from aiflow_ext.model.errors import ConfigError, Problem, shown_path
from aiflow_ext.regular_file import read_whole

# Deeper than any config; PyYAML's C composer overflows the stack on text made to be deep.
MAX_DEPTH = 100
# Values that aliases may repeat in all; a "billion laughs" file has more.
MAX_REPEATED = 100_000

_CORE = "tag:yaml.org,2002:"
# What an unquoted scalar is: YAML 1.2's core schema, and << of 1.1. PyYAML's own is YAML 1.1, where 012 is ten, no is
# false, 12:30:45 is 45045 and 1e-3 is text. By tag: the first characters, and the whole.
_PLAIN = {
    "null": ("~nN", r"~|null|Null|NULL|"),
    "bool": ("tTfF", r"true|True|TRUE|false|False|FALSE"),
    "int": ("-+0123456789", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    "float": (
        "-+.0123456789",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    ),
    "merge": ("<", r"<<"),
}


class Mark:
    """The place of a value: ``file:line``, how a scalar was written, and the marks of what is inside."""

    __slots__ = ("children", "place", "text")

    def __init__(self, place: str, text: str | None = None, children: dict[Any, Mark] | None = None) -> None:
        self.place, self.text = place, text
        self.children: dict[Any, Mark] = {} if children is None else children

    def nearest(self, path: Sequence[Any]) -> Mark:
        """The mark at ``path``, or of the nearest thing around it."""
        mark = self
        for step in path:
            inner = mark.children.get(step)
            if inner is None:
                break
            mark = inner
        return mark

    def copy(self) -> Mark:
        """A copy whose children can be replaced."""
        return Mark(self.place, self.text, dict(self.children))


class Located:
    """Plain data (dicts, lists, scalars) and the place of each part of it.

    Args:
        value: the data.
        mark: its place.
        file: the file as shown to its author, or the command line's option.
    """

    __slots__ = ("file", "mark", "value")

    def __init__(self, value: Any, mark: Mark, file: str) -> None:
        self.value, self.mark, self.file = value, mark, file

    def where(self, path: Sequence[Any] = ()) -> str:
        """``file:line`` of the key or item at ``path``, or of the nearest thing around it."""
        return self.mark.nearest(path).place

    def at(self, key: Any) -> Located:
        """The part under ``key``. Raises KeyError or IndexError where there is none."""
        return Located(self.value[key], self.mark.nearest((key,)), self.file)


def read_yaml(path: str | os.PathLike[str], problems: list[Problem] | None = None) -> Located:
    """The mapping that the file holds; an empty file is an empty mapping.

    Raises ConfigError with every mistake. Where ``problems`` is given, mistakes that leave something readable
    (a key given twice, a tag) are appended to it instead.
    """
    file = shown_path(path)
    try:
        text = read_whole(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError("this is not UTF-8 text", where=f"{file}:{line}", hint="save the file as UTF-8") from error
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror}", where=file, hint="check the path and its rights"
        ) from error
    found: list[Problem] = []
    located = parse_yaml(text, file, found)
    if not isinstance(located.value, dict):
        if located.value is not None:
            found.append(
                Problem(
                    f"the file holds {_kind(located.value)}, not a mapping", located.where(), "write keys: key: value"
                )
            )
        located = Located({}, Mark(located.where()), file)
    if problems is not None:
        problems += found
    elif found:
        raise ConfigError(problems=found)
    return located


def parse_yaml(text: str, file: str, problems: list[Problem], place: str | None = None) -> Located:
    """The data in ``text``; None where it is empty.

    Args:
        text: YAML.
        file: the text's name in messages.
        problems: takes mistakes after which something readable is left.
        place: one place for everything in the text, instead of its lines.

    Raises ConfigError where the text is no YAML.
    """
    try:
        node = yaml.compose(text, Loader=_loader())
    except yaml.YAMLError as error:
        raise ConfigError(problems=[_syntax_problem(error, text, file, place)]) from error
    except (UnicodeEncodeError, RecursionError) as error:
        raise ConfigError(f"not valid YAML: {error}", where=place or f"{file}:1") from error
    if node is None:
        return Located(None, Mark(place or f"{file}:1"), file)
    reader = _Reader(file, problems, place)
    value, mark = reader.read(node)
    mark.place = place or f"{file}:1"
    return Located(value, mark, file)


def plain_scalar(text: str, place: str) -> Located:
    """``text`` as YAML reads an unquoted scalar: ``0.2`` is a number, ``true`` is true."""
    node = yaml.ScalarNode(cast(Any, _resolver()()).resolve(yaml.ScalarNode, text.strip(), (True, False)), text.strip())
    node.start_mark = None
    try:
        value = _scalar(node)
    except ValueError:
        value = text
    return Located(text if isinstance(value, str) else value, Mark(place, text), place)


@cache
def _loader() -> Any:
    """PyYAML's safe loader (the C one where there is one), which refuses text nested too deeply."""
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class BoundedLoader(base):  # type: ignore[misc]
        yaml_implicit_resolvers = _resolver().yaml_implicit_resolvers
        depth = 0

        def descend_resolver(self, parent: Any, index: Any) -> None:
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise yaml.MarkedYAMLError(
                    problem=f"nested more than {MAX_DEPTH} levels deep", problem_mark=parent and parent.start_mark
                )

        def ascend_resolver(self) -> None:
            self.depth -= 1

    return BoundedLoader


@cache
def _resolver() -> type[yaml.resolver.BaseResolver]:
    class CoreResolver(yaml.resolver.BaseResolver): ...

    for kind, (first, whole) in _PLAIN.items():
        characters = [*first, ""] if kind == "null" else [*first]
        cast(Any, CoreResolver).add_implicit_resolver(f"{_CORE}{kind}", _Whole(whole), characters)
    return CoreResolver


class _Whole:
    """A regular expression for a whole scalar, as PyYAML asks it: by ``match``. Compiled once a scalar may fit it: most
    files have none that begins like a number, and each command reads one."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def match(self, scalar: str) -> re.Match[str] | None:
        return re.fullmatch(self._pattern, scalar)


def _syntax_problem(error: yaml.YAMLError, text: str, file: str, place: str | None) -> Problem:
    hint = None
    if isinstance(error, yaml.MarkedYAMLError):
        words = error.problem or error.context or "it cannot be read"
        if "maximum nesting depth" in words:  # libyaml's own limit, of 2026, is the wider one
            words = f"nested more than {MAX_DEPTH} levels deep"
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        if error.context and error.problem:
            begun = f" (begun in line {error.context_mark.line + 1})" if error.context_mark and not place else ""
            words = f"{words}, {error.context}{begun}"
        lines = text.splitlines()
        beginning = lines[line - 1] if line <= len(lines) else ""
        if "\t" in beginning[: len(beginning) - len(beginning.lstrip())]:
            hint = "indent with spaces, never with tabs"
        elif "cannot start any token" in words:
            hint = "put text that begins with such a character in quotes"
        elif "mapping values are not allowed" in words:
            hint = "put text that holds a colon in quotes, or check the indentation"
        elif "undefined alias" in words or "scanning an alias" in words:
            hint = "put text that begins with * in quotes"
        elif "another document" in words:
            hint = "keep one document in the file: take the line --- away"
    else:
        position = getattr(error, "position", 0) or 0
        line = text[:position].count("\n") + 1
        words = getattr(error, "reason", None) or str(error)
    return Problem(f"not valid YAML: {words}", place or f"{file}:{line}", hint)


class _Reader:
    """From PyYAML's nodes to plain data and marks; notes every mistake on the way."""

    def __init__(self, file: str, problems: list[Problem], place: str | None) -> None:
        self.file, self.problems, self.place = file, problems, place
        self.seen: set[int] = set()
        self.open: set[int] = set()
        self.repeated = 0

    def at(self, node: yaml.Node) -> str:
        return self.place or f"{self.file}:{node.start_mark.line + 1}"

    def wrong(self, node: yaml.Node, message: str, hint: str | None = None) -> None:
        self.problems.append(Problem(message, self.at(node), hint))

    def read(self, node: yaml.Node) -> tuple[Any, Mark]:
        place = self.at(node)
        if id(node) in self.open:
            self.wrong(node, "an alias stands inside what it names", "write the value out")
            return None, Mark(place)
        if id(node) in self.seen:
            self.repeated += 1
            if self.repeated > MAX_REPEATED:
                problem = Problem(f"aliases repeat more than {MAX_REPEATED} values", place, "write the values out")
                raise ConfigError(problems=[*self.problems, problem])
        self.seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            try:
                return _scalar(node), Mark(place, node.value)
            except ValueError:
                self._wrong_tag(node)
                return node.value, Mark(place, node.value)
        if node.tag not in (f"{_CORE}map", f"{_CORE}seq"):
            self._wrong_tag(node)
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, place)
            items = [self.read(item) for item in node.value]
            return [value for value, _ in items], Mark(place, None, {n: mark for n, (_, mark) in enumerate(items)})
        finally:
            self.open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, place: str) -> tuple[dict[Any, Any], Mark]:
        own: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        marks: dict[Any, Mark] = {}
        merged_marks: dict[Any, Mark] = {}
        for key_node, value_node in node.value:
            if key_node.tag == f"{_CORE}merge":
                self._merge(value_node, merged, merged_marks)
                continue
            key = self._key(key_node)
            value, mark = self.read(value_node)
            mark.place = self.at(key_node)
            if key is _NO_KEY:
                continue
            if key in own:
                self.wrong(
                    key_node, f"the key {key!r} is given twice, first at {marks[key].place}", "keep one of the two"
                )
            own[key], marks[key] = value, mark
        return {**merged, **own}, Mark(place, None, {**merged_marks, **marks})

    def _key(self, node: yaml.Node) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return self.read(node)[0]
        self.wrong(node, "a key is a word, not a list or mapping", "write the key as text")
        return _NO_KEY

    def _merge(self, node: yaml.Node, merged: dict[Any, Any], marks: dict[Any, Mark]) -> None:
        for each in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(each, yaml.MappingNode):
                self.wrong(each, "<< takes a mapping or a list of mappings", "name one: <<: *anchor")
                continue
            value, mark = self.read(each)
            for key in value or {}:
                if key not in merged:
                    merged[key], marks[key] = value[key], mark.nearest((key,))

    def _wrong_tag(self, node: yaml.Node) -> None:
        tag = node.tag.replace(_CORE, "!!")
        if node.tag in _SCALARS:
            self.wrong(node, f"{node.value!r} is no {tag}", f"write a value that is one, or take {tag} away")
        else:
            self.wrong(node, f"the tag {tag} wants an object built, and a config is plain data", f"take {tag} away")


_NO_KEY = object()


def _scalar(node: yaml.ScalarNode) -> Any:
    """The value of a scalar. Raises ValueError for text that its tag does not allow, or a tag that is no plain data."""
    text = str(node.value)
    make = _SCALARS.get(node.tag)
    if make is None:
        raise ValueError(node.tag)
    return make(text)


def _integer(text: str) -> int:
    if len(text) > 1000:
        raise ValueError(text)  # Python would refuse to print it again
    # Digits that begin with 0 are decimal, and octal ones begin with 0o.
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _float(text: str) -> float | str:
    number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    # 1e999 is no number that anything could hold.
    return text if abs(number) == float("inf") and "inf" not in text.lower() else number


def _boolean(text: str) -> bool:
    try:
        return {"true": True, "false": False}[text.lower()]
    except KeyError:
        raise ValueError(text) from None


_SCALARS: dict[str, Any] = {
    f"{_CORE}null": lambda text: None,
    f"{_CORE}bool": _boolean,
    f"{_CORE}int": _integer,
    f"{_CORE}float": _float,
    f"{_CORE}str": str,
    f"{_CORE}timestamp": str,  # where a tag says so: JSON has no dates
}


def _kind(value: Any) -> str:
    return "a list" if isinstance(value, list) else f"only {value!r}"
