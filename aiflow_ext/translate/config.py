"""workflow.yaml and the command line's settings, merged for each job."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from aiflow_ext.model.errors import ConfigError, Problem
from aiflow_ext.model.spelling import near
from aiflow_ext.translate.check import listed
from aiflow_ext.translate.common import is_common
from aiflow_ext.translate.layers import EVERY_JOB, Layer, Setting, Settings, assign, merge, read_param, read_set, said
from aiflow_ext.translate.misfits import given
from aiflow_ext.translate.patterns import Patterns, exactness, is_pattern
from aiflow_ext.translate.structure import dotted
from aiflow_ext.translate.yaml_source import Located, Mark, read_yaml


class WorkflowConfig:
    """The job configs of a workflow.

    Attributes:
        file: workflow.yaml as shown in messages.
        data: what it holds, as plain data.
        jobs: the workflow's jobs; where they are not known, the file's keys that are names.
        unused: the file's keys that fit none of the jobs.
        layers: where its settings are from, in words, the weakest first.
    """

    def __init__(self, source: Located, jobs: Mapping[str, str | None] | None = None) -> None:
        keys = [key for key in source.value if key != EVERY_JOB]
        self.file, self.data, self._source = source.file, source.value, source
        self.layers: tuple[str, ...] = ()
        self._places: Mapping[str, str | None] = jobs or {}
        self.jobs: tuple[str, ...] = tuple(jobs if jobs is not None else (k for k in keys if not is_pattern(k)))
        self._patterns = Patterns(key for key in keys if is_pattern(key))
        self._fitting = {job: self._entries_of(job) for job in self.jobs}
        used = {key for fitting in self._fitting.values() for key in fitting}
        self.unused: tuple[str, ...] = tuple(key for key in keys if key not in used)
        self._settings = Settings(())
        self._layers: dict[str, Layer] = {}

    def fitting_none_of(self, jobs: Collection[str]) -> list[str]:
        """The unused keys that fit none of these jobs either."""
        patterns = Patterns(key for key in self.unused if is_pattern(key))
        fitting = {key for job in jobs for key in patterns.fitting(job)}
        return [key for key in self.unused if key not in fitting and key not in jobs]

    def blocks(self) -> Iterator[tuple[str, dict[Any, str], list[str]]]:
        """All that holds blocks of platforms: its name, the place of each block, and the jobs that it applies to."""
        jobs: dict[str, list[str]] = {EVERY_JOB: list(self.jobs)}
        for job, keys in self._fitting.items():
            for key in keys:
                jobs.setdefault(key, []).append(job)
        for key, entry in self._source.value.items():
            blocks = entry.get("platforms")
            if isinstance(blocks, dict):
                part = self._source.at(key).at("platforms")
                yield (
                    f'"{key}"' if is_pattern(key) else repr(key),
                    {name: part.where((name,)) for name in blocks},
                    jobs.get(key, []),
                )
        for setting in self._settings.given:
            if setting.path[0] == "platforms":
                names = setting.path[1:2] or setting.value.value or ()
                affected = [job for job in self.jobs if setting in self._settings.of(job)]
                yield "this option", dict.fromkeys(names, setting.said), affected

    def where(self, job: str, *path: str | int) -> str:
        """``file:line`` (or the command line's option) of the job's key, or of what is at ``path`` in it."""
        if not path or job not in self._fitting:
            return self._source.where((job, *path))
        return self.layered(job).where(path)

    def layered(self, job: str) -> Layer:
        """The settings of ``job``, merged."""
        if job not in self._layers:
            keys = self._fitting.get(job) or self._entries_of(job)
            entries = [(key, self._source.at(key)) for key in (EVERY_JOB, *keys) if key in self._source.value]
            place = entries[-1][1].where() if entries else self._places.get(job) or self.file
            self._layers[job] = merge(job, entries, self._settings.of(job), place, self.file)
        return self._layers[job]

    def set(self, settings: Sequence[Setting]) -> None:
        """Have these laid over what the file says."""
        self._settings = Settings(settings)
        self._layers.clear()

    def ties(self) -> list[Problem]:
        """Patterns that are equally exact and say different things of one job, of which nothing more exact says it."""
        problems: list[Problem] = []
        known: set[tuple[str, str]] = set()
        for job, keys in self._fitting.items():
            for one, other in combinations(keys, 2):
                if (one, other) in known or exactness(one) != exactness(other) or other == job:
                    continue
                first, second = said(self._source.value[one]), said(self._source.value[other])
                settled = {path for key in keys[keys.index(other) + 1 :] for path in said(self._source.value[key])}
                differing = [path for path in first.keys() & second.keys() - settled if first[path] != second[path]]
                if differing:
                    known.add((one, other))
                    named = ", ".join(repr(dotted(path)) for path in sorted(differing, key=str))
                    message = f'"{one}" and "{other}" both fit job {job!r}, are equally exact, and differ in {named}'
                    hint = f'"{one}" is at {self._source.where((one,))}: spell more out in one of the two, or say it '
                    problems.append(Problem(message, self._source.where((other,)), f"{hint}under {job!r} itself"))
        return problems

    def _entries_of(self, job: str) -> list[str]:
        """The keys other than ``"*"`` that apply to a job, the most exact one last."""
        keys = self._patterns.fitting(job)
        if job in self._source.value:
            keys = [*(key for key in keys if key != job), job]
        return keys


def load_workflow_config(
    path: str | os.PathLike[str] | None,
    sets: Sequence[str] = (),
    params: Sequence[str] = (),
    problems: list[Problem] | None = None,
    jobs: Mapping[str, str | None] | None = None,
    taken: Collection[str] = (),
) -> WorkflowConfig:
    """Read workflow.yaml and lay the command line's settings over it.

    Args:
        path: the file; None where the project has none.
        sets: the values of ``--set``: ``JOB.KEY=VALUE``.
        params: the values of ``-p``: ``NAME=VALUE``.
        problems: where given, mistakes that leave something readable are appended to it instead of raised.
        jobs: ``file:line`` of each job of the workflow; None where they are not known: those that the file names.
        taken: the workflow's own parameters: no job need have a property that is called as one of them.

    Raises ConfigError with everything that is wrong.
    """
    found: list[Problem] = []
    source = Located({}, Mark("workflow.yaml"), "workflow.yaml") if path is None else read_yaml(path, found)
    config = WorkflowConfig(_entries(source, found), jobs)
    holder = source.file if jobs is None else "the workflow"
    names = dict.fromkeys(config.jobs)
    read = [read_set(text, names, holder, found) for text in sets]
    config.set([setting for setting in read if setting is not None])
    found += config.ties()
    for job in config.jobs:
        found += config.layered(job).conflicts
    _set_params(config, params, found, taken)
    config.layers = (*([] if path is None else [os.path.basename(path)]), *(f"--set {each}" for each in sets),
                     *(f"-p {each}" for each in params))  # fmt: skip
    if problems is not None:
        problems += found
    elif found:
        raise ConfigError(problems=found)
    return config


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


def _set_params(config: WorkflowConfig, params: Sequence[str], problems: list[Problem], taken: Collection[str]) -> None:
    for text in params:
        read = read_param(text, problems)
        if read is None:
            continue
        name, value, said = read
        names: dict[str, None] = {}
        having: list[tuple[Layer, tuple[str, ...]]] = []
        for job in config.jobs:
            layer = config.layered(job)
            properties = layer.value.get("properties")
            if not isinstance(properties, dict):
                continue
            names |= dict.fromkeys(key for key in properties if isinstance(key, str))
            path = _path_in(properties, name)
            if path is not None:
                having.append((layer, path))
        if not having and name not in taken:
            known = f"{config.file} has no properties"
            if names:
                known = f"the properties in {config.file} are {listed(names)}"
            message = f"no job has a property {name!r}"
            if taken:
                message += ", and it is no parameter of the workflow"
                known = f"the workflow's parameters are {listed(taken)}; {known}"
            problems.append(Problem(message, said, near(name, [*taken, *names]) or known))
        for layer, path in having:
            assign(layer, Setting(layer.job, ("properties", *path), value, said))


def _path_in(properties: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    """Where ``name`` is in ``properties``: a key, or the keys between its dots."""
    if name in properties:
        return (name,)
    first, dot, rest = name.partition(".")
    inner = properties.get(first)
    if not dot or not isinstance(inner, dict):
        return None
    path = _path_in(inner, rest)
    return None if path is None else (first, *path)
