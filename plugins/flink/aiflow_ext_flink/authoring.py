"""The authoring function ``af.flink``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from aiflow_ext.plugin import AINode, GraphError
from aiflow_ext.plugin.authoring import add_node, called_at

PROGRAMS = ("jar", "python", "sql")


def flink(
    *,
    jar: str | os.PathLike[str] | None = None,
    python: str | os.PathLike[str] | None = None,
    sql: str | os.PathLike[str] | None = None,
    entry_class: str | None = None,
    args: Sequence[Any] = (),
    py_files: Sequence[str | os.PathLike[str]] = (),
    **names: Any,
) -> AINode:
    """A program of Apache Flink. Exactly one of ``jar``, ``python`` and ``sql`` is given.

    Args:
        jar: the job's jar. This path, and those below, are relative to the project's folder, or URLs that the cluster
            reads.
        python: a PyFlink script.
        sql: an SQL script: a file whose name ends with ``.sql``, or else its text.
        entry_class: the jar's class with the ``main`` method; the one that the jar's manifest names by default.
        args: the program's arguments, each one word to it: no shell reads them.
        py_files: further Python files, folders or zip files for a PyFlink script.
        names: what ``{name}`` stands for in ``args`` and in the SQL: a node (the path of its artifact),
            ``af.output("name")`` (the path of a folder to write) or a plain value. ``{properties.alpha}`` is the job's
            property ``alpha``; any other brace is left as it is. In SQL a single quote in a value is doubled.

    Raises GraphError for a call that cannot be meant so.
    """
    given = {kind: value for kind, value in zip(PROGRAMS, (jar, python, sql), strict=True) if value is not None}
    if len(given) != 1:
        told = f"{' and '.join(given)} are given" if given else "none of them is given"
        raise GraphError(
            f"af.flink runs one program, jar=, python= or sql=, and {told}",
            where=called_at(),
            hint='give one of them: af.flink(jar="job.jar", args=["--out", "{out}"], out=af.output("out"))',
        )
    ((kind, program),) = given.items()
    if not isinstance(program, (str, os.PathLike)) or not os.fspath(program):
        raise GraphError(f"{kind}= of af.flink is a path, not {program!r}", where=called_at())
    for key, value, takes in (("entry_class", entry_class, "jar"), ("py_files", py_files, "python")):
        if value and kind != takes:
            hint = f"take {key} away, or give {takes}="
            raise GraphError(f"{key} of af.flink is for {takes}= alone", where=called_at(), hint=hint)
    words = _list("args", args)
    if kind == "sql" and words:
        hint = "write {name} in the SQL, and give its value by keyword"
        raise GraphError("SQL has no arguments", where=called_at(), hint=hint)
    for word in words:
        if not isinstance(word, (str, os.PathLike, int, float)):
            hint = "what a program uses is given by keyword: af.flink(..., args=['{data}'], data=node)"
            raise GraphError(
                f"an argument of a program is a text or a number, not {word!r}", where=called_at(), hint=hint
            )
    properties = {
        kind: os.fspath(program),
        "entry_class": entry_class,
        "args": [_text(word) for word in words],
        "py_files": [os.fspath(each) for each in _list("py_files", py_files)],
    }
    return add_node("flink", "flink", properties, names)


def _list(key: str, value: Any) -> list[Any]:
    if isinstance(value, (str, bytes, os.PathLike)) or not isinstance(value, Sequence):
        raise GraphError(f"{key} of af.flink is a list, not {value!r}", where=called_at(), hint=f"write {key}=[...]")
    return list(value)


def _text(word: Any) -> str:
    if isinstance(word, bool):
        return str(word).lower()
    return os.fspath(word) if isinstance(word, os.PathLike) else str(word)
