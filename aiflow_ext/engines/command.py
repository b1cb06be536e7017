"""A command with its names put in: exactly what will be executed, or what is wrong with it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aiflow_ext.engines.shells import run_by, script_of
from aiflow_ext.model.errors import CodeError, Problem
from aiflow_ext.model.graph import AINode

ARGUMENT_LIMIT = 131072 - 1  # bytes of one argument: MAX_ARG_STRLEN of Linux, execve(2)
ARGUMENTS_LIMIT = 2**21 - 2**17  # of all together, where the stack is limited to 8 MB; the rest is for the environment
_PROPERTY = re.compile(r"\{properties\.([^{}\s]+)\}")


def plan_command(node: AINode, names: Mapping[str, str], properties: Mapping[str, Any]) -> list[str]:
    """The argument vector of a cmd_line node.

    Args:
        node: a node of kind ``cmd_line``.
        names: the value of each keyword, as the string that the command shall get.
        properties: the job's properties, for ``{properties.NAME}``.

    A string is run by the shell that the node's property ``shell`` names, as the job's config has it; ``/bin/sh`` where
    there is none. In a list, the script of a shell's ``-c`` is one, too: what is put in is quoted for it, unless it is
    the whole script.

    Raises CodeError for a property that the job lacks, or a command that Linux cannot execute.
    """
    command = node.properties["command"]
    parts = [command] if isinstance(command, str) else [str(part) for part in command]
    problems: list[Problem] = []
    wanted = placeholders(tuple(names))
    shell = isinstance(command, str)
    script = 0 if shell else script_of(parts)
    filled = []
    for number, part in enumerate(parts):
        matches = list(wanted.finditer(part)) if "{" in part else ()
        if not matches:
            filled.append(part)
            continue
        from aiflow_ext.engines.quoting import contexts, quoted

        # A listed script that is nothing but a placeholder is the value itself: quoted, it would be one long word.
        is_script = number == script and (shell or matches[0].group() != part)
        places = contexts(part, [match.start() for match in matches]) if is_script else [None] * len(matches)
        pieces, end = [], 0
        for match, place in zip(matches, places, strict=True):
            text = text_at(match, node, names, properties, problems)
            pieces += [part[end : match.start()], (text or "") if place is None else quoted(text or "", place)]
            end = match.end()
        filled.append("".join(pieces) + part[end:])
    problems += _not_executable(node, filled)
    if problems:
        raise CodeError(problems=problems)
    return [*run_by(node.properties.get("shell", "sh")), filled[0]] if shell else filled


@functools.lru_cache(64)
def placeholders(names: tuple[str, ...]) -> re.Pattern[str]:
    """The placeholders of a text: ``{properties.NAME}``, and each of these names in braces."""
    return re.compile("|".join([_PROPERTY.pattern, *(rf"\{{({re.escape(name)})\}}" for name in names)]))


def text_at(
    match: re.Match[str],
    node: AINode,
    names: Mapping[str, str],
    properties: Mapping[str, Any],
    problems: list[Problem],
    what: str = "command",
) -> str | None:
    """What a placeholder stands for.

    Args:
        match: of :func:`placeholders`.
        node: whose text it is in.
        names: by keyword, the text that is put in.
        properties: the job's.
        problems: takes a property that the job lacks; the result is None then.
        what: what the node has, for that problem.
    """
    if match.group(1) is None:
        return names[match.group()[1:-1]]
    found: Any = properties
    for key in match.group(1).split("."):
        found = found.get(key, _MISSING) if isinstance(found, Mapping) else _MISSING
        if found is _MISSING:
            problems.append(_no_property(node, match.group(1), properties, what))
            return None
    return text_of(found)


def _not_executable(node: AINode, argv: Sequence[str]) -> Iterator[Problem]:
    """What Linux would refuse to execute: execve(2), "Limits on size of arguments and environment"."""
    title = f"the command of node {node.name!r} in job {node.job!r}"
    try:
        sizes = [len(part.encode("utf-8", "surrogateescape")) for part in argv]
    except UnicodeEncodeError as error:
        yield Problem(f"{title} holds {error.object[error.start]!r}, which is no character", node.where, "take it out")
        return
    if any("\0" in part for part in argv):
        yield Problem(f"{title} holds a NUL character; no command can", node.where, "write it as the command reads it")
    if max(sizes) > ARGUMENT_LIMIT:
        yield Problem(
            f"{title} has an argument of {max(sizes)} bytes; Linux executes at most {ARGUMENT_LIMIT}",
            node.where,
            _CURE,
        )
    elif sum(sizes) + 9 * len(sizes) > ARGUMENTS_LIMIT:
        yield Problem(
            f"{title} has arguments of {sum(sizes)} bytes together; Linux executes at most {ARGUMENTS_LIMIT}",
            node.where,
            _CURE,
        )


def too_long_together(job: str, argvs: Sequence[Sequence[str]], where: str | None) -> Iterator[Problem]:
    """What Linux would refuse of a job's commands, each of which it would execute, as :func:`one_command`."""
    parts = [len(part.encode("utf-8", "surrogateescape")) for argv in argvs for part in argv]
    if len(argvs) > 1 and sum(parts) + 9 * len(parts) > ARGUMENTS_LIMIT:
        yield Problem(
            f"the {len(argvs)} commands of job {job!r} have {sum(parts)} bytes together; Linux executes at most "
            f"{ARGUMENTS_LIMIT}",
            where,
            f"make several jobs of it, or {_CURE}",
        )


_CURE = "give a command the path of a file: a file of the project, or a value that a job before it makes (af.python)"


def _no_property(node: AINode, name: str, properties: Mapping[str, Any], what: str) -> Problem:
    has = ", ".join(map(repr, properties)) or "none"
    return Problem(
        f"the {what} of node {node.name!r} uses {{properties.{name}}}, which job {node.job!r} lacks",
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
    """Several argument vectors as one: the only one as it is, else a shell that runs them until one fails.

    Of several the last is executed in the shell's place, so that its exit code or signal is the job's own. A signal
    that ends an earlier one is the job's exit code 128 + its number: a shell cannot tell the two apart.
    """
    if len(argvs) == 1:
        return list(argvs[0])
    # By position, so that every argument stays as long as it may be.
    steps, number = [], 0
    for argv in argvs:
        steps.append("exec " + " ".join(f'"${{{number + place}}}"' for place in range(1, len(argv) + 1)))
        number += len(argv)
    script = " && ".join([*(f"({step})" for step in steps[:-1]), steps[-1]])  # exec: a program, never a built-in
    return ["/bin/sh", "-c", script, "sh", *(part for argv in argvs for part in argv)]
