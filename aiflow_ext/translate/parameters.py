"""The parameters of a workflow: what its function takes, and the values that a run gives it."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aiflow_ext.model.authoring import Workflow
from aiflow_ext.model.errors import ConfigError, Problem, shown_path
from aiflow_ext.model.signature import signature
from aiflow_ext.translate.fitting import fit
from aiflow_ext.translate.layers import read_param
from aiflow_ext.translate.misfits import Misfit
from aiflow_ext.translate.structure import dotted
from aiflow_ext.translate.types_in_words import describe, unwrapped, writable
from aiflow_ext.translate.yaml_source import Located

_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Given(NamedTuple):
    """A parameter of a workflow with its value.

    Attributes:
        name: of the function's parameter.
        value: what the function gets.
        place: the option that gives it, or ``file:line`` of the workflow that has it as a default.
        is_given: whether an option gives it.
    """

    name: str
    value: Any
    place: str
    is_given: bool

    def to_data(self) -> dict[str, Any]:
        """As plain JSON, in the shape of a run's parameters."""
        value = json.loads(json.dumps(self.value, default=repr))
        return {"name": self.name, "value": value, "from": self.place, "jobs": []}


def parameters_of(workflow: Workflow, params: Sequence[str]) -> list[Given]:
    """The parameters of a workflow, in the order of its function, with their values.

    Args:
        workflow: what has them.
        params: the values of ``-p``: ``NAME=VALUE``. Names that are none of them, and texts that cannot be read, are
            left to others.

    Raises ConfigError that names each value of another type than the parameter's annotation, and each that is missing.
    """
    taken, passed_on = _taken(workflow)
    read = [each for text in params if (each := read_param(text, [])) is not None]
    options = {name: (value, said) for name, value, said in read}
    types = _types(workflow)
    found: list[Given] = []
    problems: list[Problem] = []
    for name, parameter in taken.items():
        if name in options:
            value, said = options[name]
            try:
                found.append(Given(name, _fitted(value, types.get(name, Any)), said, True))
            except Misfit as misfit:
                of = f"of workflow {workflow.name!r} ({shown_path(workflow.where)})"
                problems += [
                    Problem(f"the parameter {dotted((name, *path))!r} {of} {words}", said, hint or _colon(path))
                    for path, words, hint in misfit.items
                ]
        elif parameter.default is not parameter.empty:
            problems += _of_default(name, parameter.default, types.get(name, Any), workflow)
            found.append(Given(name, parameter.default, workflow.where, False))
        elif not passed_on:
            kind = describe(types.get(name, Any))
            words = f"the parameter {name!r} of workflow {workflow.name!r} was not given"
            words += "" if kind == "anything" else f": {kind}"
            problems.append(
                Problem(words, workflow.where, f"give it with -p {name}=VALUE, or a default in workflow.py")
            )
    if problems:
        raise ConfigError(problems=problems)
    return found


def _of_default(name: str, default: Any, kind: Any, workflow: Workflow) -> list[Problem]:
    """What is wrong with a default that does not fit its annotation, by the rules for values of ``-p``. None fits any,
    and so does an object that ``-p`` could not give."""
    try:
        if default is not None and writable(unwrapped(kind)):
            fit(_plain(default), kind)
    except _NotPlain:
        return []
    except Misfit as misfit:
        hint = f"change the default, or the annotation; -p {name}=VALUE gives another value"
        return [
            Problem(f"the default of the parameter {dotted((name, *path))!r} of workflow {workflow.name!r} {words}",
                    workflow.where, hint)
            for path, words, _ in misfit.items
        ]  # fmt: skip
    return []


class _NotPlain(Exception):
    """An object is no plain data."""


def _plain(value: Any) -> Any:
    """Plain data as a file would give it: a tuple is a list there."""
    if type(value) in (list, tuple):
        return [_plain(each) for each in value]
    if type(value) is dict:
        return {_plain(key): _plain(each) for key, each in value.items()}
    if value is not None and type(value) not in (str, int, float, bool):
        raise _NotPlain
    return value


def _taken(workflow: Workflow) -> tuple[dict[str, inspect.Parameter], bool]:
    """The parameters that can be given by name, and whether a wrapper passes them on, which may give them itself."""
    parameters = signature(workflow.function, follow_wrapped=False).parameters.values()
    passed_on = any(each.kind is each.VAR_KEYWORD for each in parameters)
    if passed_on:
        parameters = signature(workflow.function).parameters.values()
    return {each.name: each for each in parameters if each.kind in _BY_NAME}, passed_on


def _colon(path: Sequence[Any]) -> str | None:
    """A hint for ``{a:3}``, in which YAML has one key and no value."""
    key, colon, value = str(path[-1]).partition(":") if path else ("", "", "")
    return f"write a space after the colon: {key}: {value}" if colon else None


def _fitted(given: Located, kind: Any) -> Any:
    """The value as ``kind``; for text, a number is the text that it was written as."""
    if unwrapped(kind) is str and type(given.value) in (int, float, bool):
        return given.mark.text if given.mark.text is not None else str(given.value)
    return fit(given.value, kind)


def _types(workflow: Workflow) -> Mapping[str, Any]:
    """The annotations; none where they cannot be evaluated: then every value is taken as YAML has it."""
    try:
        return typing.get_type_hints(inspect.unwrap(workflow.function))
    except Exception:  # whatever an annotation raises
        return {}
