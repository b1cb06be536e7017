"""A class's object from a mapping: by its ``__init__``, with every mistake found at once."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from aiflow_ext.model.errors import Problem
from aiflow_ext.translate.fitting import TELLS, build
from aiflow_ext.translate.misfits import Item, Misfit

T = TypeVar("T")
Path = Sequence[Any]
LATEST = 100  # problems


def structure(
    cls: type[T],
    data: Mapping[Any, Any],
    *,
    where: Callable[[Path], str],
    problems: list[Problem],
    what: str,
) -> T | None:
    """An object of ``cls`` from ``data``, or None after everything that is wrong was appended to ``problems``.

    Args:
        cls: a plain class, an attrs class, a dataclass, a named tuple or a TypedDict.
        data: values by the names of ``cls``'s parameters.
        where: returns ``file:line`` of the value at a path in ``data``.
        problems: takes what is wrong.
        what: what the mapping is, for messages about all of it: ``project.yaml``.
    """
    try:
        return typing.cast(T, build(cls, data, what))
    except Misfit as misfit:
        report(misfit.items, lambda path: "" if path else what, where, problems)
        return None


def report(
    items: Iterable[Item], what: Callable[[Path], str], where: Callable[[Path], str], problems: list[Problem]
) -> None:
    """Append the mistakes to ``problems``, each with its place; one that several jobs share is reported once."""
    # The latest only: shared problems would be repeated for each job, and ten thousand jobs may each have their own.
    known = {(each.message.partition(TELLS)[0], each.where) for each in problems[-LATEST:]}
    for path, message, hint in items:
        subject = ": ".join(filter(None, [what(path), repr(dotted(path)) if path else ""]))
        problem = Problem(f"{subject} {message}", where(path), hint)
        # One key under "*" may be wrong for several kinds of jobs, each with words of its own.
        same = (problem.message.partition(TELLS)[0], problem.where)
        if same not in known:
            known.add(same)
            problems.append(problem)


def dotted(path: Path) -> str:
    """``resources.gpus[0]``: the path as its author would say it."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) and text else f"{'.' if text else ''}{step}"
    return text
