"""One file of job configs: which of its entries apply to a job, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import combinations
from typing import Any

from aiflow_ext.model.errors import Problem
from aiflow_ext.translate.common import is_common
from aiflow_ext.translate.layers import EVERY_JOB, said
from aiflow_ext.translate.misfits import given
from aiflow_ext.translate.patterns import Patterns, exactness, is_pattern
from aiflow_ext.translate.structure import dotted
from aiflow_ext.translate.yaml_source import Located, Mark


class ConfigFile:
    """The job configs of one file, or of a part of one.

    Args:
        source: what it holds; entries that cannot be read are left out.
        problems: takes what is wrong with those.

    Attributes:
        name: the file as shown in messages.
        data: what it holds, as plain data.
        keys: the names and patterns of its entries, but for ``"*"``.
    """

    def __init__(self, source: Located, problems: list[Problem]) -> None:
        self._source = _entries(source, problems)
        self.name, self.data = source.file, self._source.value
        self.keys = [key for key in self.data if key != EVERY_JOB]
        self._patterns = Patterns(key for key in self.keys if is_pattern(key))

    def where(self, *path: Any) -> str:
        """``file:line`` of what is at ``path``."""
        return self._source.where(path)

    def fitting(self, job: str) -> list[str]:
        """The keys other than ``"*"`` that apply to a job, the most exact one last."""
        keys = self._patterns.fitting(job)
        return [*(key for key in keys if key != job), job] if job in self.data else keys

    def entries(self, job: str) -> list[tuple[str, Located]]:
        """All entries that apply to a job, the most exact one last."""
        return [(key, self._source.at(key)) for key in (EVERY_JOB, *self.fitting(job)) if key in self.data]

    def fitting_none_of(self, jobs: Collection[str]) -> list[str]:
        """The keys that apply to none of these jobs."""
        used = {key for job in jobs for key in self.fitting(job)}
        return [key for key in self.keys if key not in used]

    def blocks(self, jobs: Sequence[str]) -> Iterator[tuple[str, dict[Any, str], list[str]]]:
        """All that holds blocks of platforms: its name, the place of each block, and the jobs that it applies to."""
        of_key: dict[str, list[str]] = {EVERY_JOB: list(jobs)}
        for job in jobs:
            for key in self.fitting(job):
                of_key.setdefault(key, []).append(job)
        for key, entry in self.data.items():
            blocks = entry.get("platforms")
            if isinstance(blocks, dict):
                part = self._source.at(key).at("platforms")
                title = f'"{key}"' if is_pattern(key) else repr(key)
                yield title, {name: part.where((name,)) for name in blocks}, of_key.get(key, [])

    def ties(self, jobs: Sequence[str]) -> list[Problem]:
        """Patterns that are equally exact and say different things of one job, of which nothing more exact says it."""
        problems: list[Problem] = []
        known: set[tuple[str, str]] = set()
        for job in jobs:
            keys = self.fitting(job)
            for one, other in combinations(keys, 2):
                if (one, other) in known or exactness(one) != exactness(other) or other == job:
                    continue
                first, second = said(self.data[one]), said(self.data[other])
                settled = {path for key in keys[keys.index(other) + 1 :] for path in said(self.data[key])}
                differing = [path for path in first.keys() & second.keys() - settled if first[path] != second[path]]
                if differing:
                    known.add((one, other))
                    named = ", ".join(repr(dotted(path)) for path in sorted(differing, key=str))
                    message = f'"{one}" and "{other}" both fit job {job!r}, are equally exact, and differ in {named}'
                    hint = f'"{one}" is at {self._source.where((one,))}: spell more out in one of the two, or say it '
                    problems.append(Problem(message, self._source.where((other,)), f"{hint}under {job!r} itself"))
        return problems


def _entries(source: Located, problems: list[Problem]) -> Located:
    """The file's jobs, without the entries that cannot be read; notes what is wrong with those."""
    value: dict[str, Any] = {}
    mark = Mark(source.mark.place)
    for key, entry in source.value.items():
        where = source.where((key,))
        if not isinstance(key, str):
            hint = "put it in quotes: YAML reads it as something else"
            problems.append(Problem(f"a job's name is text, not {given(key)}", where, hint))
        elif not key:
            problems.append(Problem("a job's name must not be empty", where, "write its name, or a pattern"))
        elif entry is None or isinstance(entry, dict):
            value[key], mark.children[key] = entry or {}, source.mark.children[key]
            _check_blocks(Located(value[key], mark.children[key], source.file), key, problems)
        else:
            hint = "write its keys under it: platform, engine, ..."
            if is_common(key):
                hint = f'{key} belongs under a job\'s name, or under "*" for every job'
            title = f'"{key}"' if is_pattern(key) else f"job {key!r}"
            problems.append(Problem(f"{title} must be a mapping, not {given(entry)}", where, hint))
    return Located(value, mark, source.file)


def _check_blocks(entry: Located, job: str, problems: list[Problem]) -> None:
    if entry.value.get("platforms") is None:
        return
    blocks = entry.at("platforms")
    title = f'"{job}"' if is_pattern(job) else f"job {job!r}"
    hint = "write platforms: {kubernetes: {image: ...}}"
    if not isinstance(blocks.value, dict):
        problems.append(Problem(f"{title}: 'platforms' must be a mapping of platforms", blocks.where(), hint))
        return
    for name, block in blocks.value.items():
        where = blocks.where((name,))
        if not isinstance(name, str):
            problems.append(Problem(f"{title}: a platform's name is text, not {name!r}", where, "put it in quotes"))
        elif block is not None and not isinstance(block, dict):
            problems.append(Problem(f"{title}: 'platforms.{name}' must be a mapping of its keys", where, hint))
        else:
            for key in ("platform", "platforms"):
                if key in (block or {}):
                    problem = Problem(
                        f"{title}: 'platforms.{name}' cannot hold {key!r}",
                        blocks.where((name, key)),
                        f"put {key} beside platforms",
                    )
                    problems.append(problem)
