"""A mistake that many jobs share is reported once: the first one in full, then how many more and a few names."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence

from aiflow_ext.model.errors import Problem

FEW = 3  # so many of a kind are reported one by one
ALL = 10  # of so many more every name is listed, else a few
_QUOTED = r"'[^']*'"  # only a mistake needs these: re compiles them, and keeps them, where they are used
_NAMED = r"\b(job|node|called|fits) '[^']*'"


def gathered(problems: Iterable[Problem]) -> list[Problem]:
    """``problems`` in their order, with more than a few of one kind as one, and any that say the same of one place.

    Of one kind are those that differ in the name of a job or node alone, and those at one place that differ in any
    names. An option of the command line is one place with one mistake, however few jobs it applies to.
    """
    same: dict[Hashable, list[Problem]] = {}
    for each in problems:
        same.setdefault((each.message, each.where), []).append(each)
    found = _folded(list(same.values()), _at_one_place)
    return [_told(group) for group in _folded(found, _of_another_job)]


def _at_one_place(problem: Problem) -> Hashable:
    return (problem.where, re.sub(_QUOTED, "'", problem.message)) if problem.where else problem.message


def _of_another_job(problem: Problem) -> Hashable:
    # Two at one place differ in their messages, or are one group already.
    return re.sub(_NAMED, r"\1", problem.message)


def _folded(groups: Sequence[list[Problem]], kind: Callable[[Problem], Hashable]) -> list[list[Problem]]:
    """Groups whose first problems are of one kind put together, where they hold more than a few in all."""
    by_kind: dict[Hashable, list[list[Problem]]] = {}
    for group in groups:
        by_kind.setdefault(kind(group[0]), []).append(group)
    many = {key for key, alike in by_kind.items() if sum(map(len, alike)) > (1 if _is_option(alike[0][0]) else FEW)}
    made: list[list[Problem]] = []
    for group in groups:
        key = kind(group[0])
        if key not in many:
            made.append(group)
        elif alike := by_kind.pop(key, None):
            made.append([each for one in alike for each in one])
    return made


def _is_option(problem: Problem) -> bool:
    return (problem.where or "").startswith(("--set ", "-p "))


def _told(group: Sequence[Problem]) -> Problem:
    first, others = group[0], group[1:]
    if not others:
        return first
    shown = others if len(others) <= ALL else others[:FEW]
    names = [name for each in shown if (name := _differing(first, each))]
    listed = ", ".join(dict.fromkeys(names)) + (", ..." if len(shown) < len(others) else "")
    words = f"(and {len(others)} more like this{f': {listed}' if names else ''})"
    return Problem(f"{first.message} {words}", first.where, first.hint)


def _differing(first: Problem, other: Problem) -> str:
    """How ``other`` differs from ``first``: the name, with its place if that differs, too."""
    words = [
        b
        for a, b in zip(re.findall(_QUOTED, first.message), re.findall(_QUOTED, other.message), strict=False)
        if a != b
    ]
    name = words[0] if words else ""
    place = other.where if other.where != first.where else None
    return f"{name} ({place})" if name and place else name or place or ""
