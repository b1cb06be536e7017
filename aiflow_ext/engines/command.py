"""A command with its names put in: exactly what will be executed, or what is wrong with it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from aiflow_ext.model.errors import CodeError, Problem
from aiflow_ext.model.graph import AINode

ARGUMENT_LIMIT = 131072 - 1  # bytes of one argument: MAX_ARG_STRLEN of Linux, execve(2)
_PROPERTY = re.compile(r"\{properties\.([^{}\s]+)\}")


def plan_command(
    node: AINode, names: Mapping[str, str], properties: Mapping[str, Any], *, check: bool = True
) -> list[str]:
    """The argument vector of a cmd_line node.

    Args:
        node: a node of kind ``cmd_line``.
        names: what stands for each keyword, as the string that the command shall get.
        properties: the job's properties, for ``{properties.NAME}``.
        check: whether to look for mistakes; the job itself, where they were looked for before, need not.

    Raises CodeError for a keyword that the command does not use, a property that the job lacks, or a command that
    Linux cannot execute.
    """
    command = node.properties["command"]
    parts = [command] if isinstance(command, str) else [str(part) for part in command]
    problems: list[Problem] = []
    for name in names if check else ():
        if not any(f"{{{name}}}" in part for part in parts):
            problems.append(
                Problem(
                    f"the command of node {node.name!r} in job {node.job!r} does not use its keyword {name!r}",
                    node.where,
                    f"write {{{name}}} where it belongs, or take the keyword away",
                )
            )
    wanted = re.compile("|".join([_PROPERTY.pattern, *(rf"\{{({re.escape(name)})\}}" for name in names)]))
    quoted = isinstance(command, str)

    def put_in(match: re.Match[str]) -> str:
        if match.group(1) is not None:
            found: Any = properties
            for key in match.group(1).split("."):
                found = found.get(key, _MISSING) if isinstance(found, Mapping) else _MISSING
                if found is _MISSING:
                    problems.append(_no_property(node, match.group(1), properties))
                    return match.group()
            text = text_of(found)
        else:
            text = names[match.group()[1:-1]]
        return shlex.quote(text) if quoted else text

    filled = [wanted.sub(put_in, part) for part in parts]
    for part in filled:
        if len(part.encode("utf-8", "surrogateescape")) > ARGUMENT_LIMIT or "\0" in part:
            what = "holds a NUL character" if "\0" in part else f"has an argument of {len(part)} characters"
            problems.append(
                Problem(
                    f"the command of node {node.name!r} in job {node.job!r} {what}; Linux cannot execute that",
                    node.where,
                    f"put it into a file: one argument holds {ARGUMENT_LIMIT} bytes",
                )
            )
    if problems:
        raise CodeError(problems=problems)
    return ["/bin/sh", "-c", filled[0]] if quoted else filled


def _no_property(node: AINode, name: str, properties: Mapping[str, Any]) -> Problem:
    has = ", ".join(map(repr, properties)) or "none"
    return Problem(
        f"the command of node {node.name!r} uses {{properties.{name}}}, which job {node.job!r} lacks",
        node.where,
        f"add it under properties in workflow.yaml; the job's properties are {has}",
    )


def text_of(value: Any) -> str:
    """A plain value as a command sees it: true and false in lower case, lists and maps as JSON."""
    if isinstance(value, (dict, list, tuple)) or value is None:
        import json

        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


_MISSING = object()


def one_command(argvs: Sequence[Sequence[str]]) -> list[str]:
    """Several argument vectors as one: the only one as it is, else a shell that runs them until one fails."""
    if len(argvs) == 1:
        return list(argvs[0])
    script = " && ".join(shlex.join(argv) for argv in argvs[:-1])
    return ["/bin/sh", "-c", f"{script} && exec {shlex.join(argvs[-1])}"]
