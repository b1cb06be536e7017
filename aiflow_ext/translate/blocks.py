"""What is said of a platform, and read for no job because the platform is misspelled."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from aiflow_ext.model.errors import Problem
from aiflow_ext.translate.config import WorkflowConfig

ALIKE = 0.8  # of difflib: less is another name


def check_blocks(
    config: WorkflowConfig, platforms: Mapping[str, str], known: Callable[[], Collection[str]]
) -> list[Problem]:
    """Problems of the blocks for platforms.

    A block may be of a platform that is not installed here. So a block is reported only where its name is a near miss
    of the platform of a job that the entry applies to, and the entry has no block for that platform.

    Args:
        config: the config of workflow.yaml.
        platforms: the platform of each job that has one.
        known: returns the names of the installed platforms.
    """
    problems = []
    installed: Collection[str] | None = None
    for title, blocks, jobs in config.blocks():
        installed = known() if installed is None else installed
        unknown = [name for name in blocks if isinstance(name, str) and name not in installed]
        used = {platforms[job].lower(): platforms[job] for job in jobs if job in platforms}
        for name in unknown:
            near = _alike(name, used)
            if near is not None and near not in blocks:
                message = f"the block {name!r} in 'platforms' of {title} is read for no job: there is no such platform"
                problems.append(Problem(message, blocks[name], f"did you mean {near!r}?"))
    return problems


def check_limits(
    limits: Mapping[str, int],
    where: Callable[[Sequence[Any]], str],
    used: Collection[str],
    known: Callable[[], Collection[str]],
) -> list[Problem]:
    """Problems of ``jobs`` in project.yaml: names that are near misses of a platform of the workflow's jobs.

    Args:
        limits: by platform, how many jobs run at once.
        where: returns ``file:line`` of what is at a path in project.yaml.
        used: the platforms of the workflow's jobs.
        known: returns the names of the installed platforms.
    """
    problems = []
    lower = {name.lower(): name for name in used if name not in limits}
    for name in limits:
        near = _alike(name, lower) if name not in used else None
        if near is not None and name not in known():
            message = f"'jobs.{name}' is read for no job: there is no such platform"
            problems.append(Problem(message, where(("jobs", name)), f"did you mean {near!r}?"))
    return problems


def _alike(name: str, names: Mapping[str, str]) -> str | None:
    """The one of these names, given by their lower case, that is a near miss of ``name``."""
    from difflib import get_close_matches

    near = get_close_matches(name.lower(), names, 1, ALIKE)
    return names[near[0]] if near else None
