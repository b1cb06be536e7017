"""workflow.yaml and the command line's settings, merged for each job."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from aiflow_ext.model.errors import ConfigError, Problem
from aiflow_ext.model.spelling import near
from aiflow_ext.translate.check import listed
from aiflow_ext.translate.config_file import ConfigFile
from aiflow_ext.translate.layers import Layer, Setting, Settings, assign, merge, read_param, read_set
from aiflow_ext.translate.patterns import Patterns, is_pattern
from aiflow_ext.translate.yaml_source import Located, Mark, read_yaml


class WorkflowConfig:
    """The job configs of a workflow: those of several files, and the command line's settings.

    Args:
        files: the weakest first.
        jobs: ``file:line`` of each job of the workflow; None where they are not known: then those that files name.
        own: the file in which a job is to be configured, for messages.

    Attributes:
        file: that file as shown in messages.
        data: what the files hold, as plain data.
        jobs: the workflow's jobs.
        unused: the keys that fit none of the jobs, but for those of files that are for several projects.
        layers: where its settings are from, in words, the weakest first.
    """

    def __init__(
        self, files: Sequence[ConfigFile], jobs: Mapping[str, str | None] | None, own: ConfigFile, shared: bool = False
    ) -> None:
        self._files, self.file = tuple(files), own.name
        self.data = [each.data for each in files]
        self.layers: tuple[str, ...] = ()
        self._places: Mapping[str, str | None] = jobs or {}
        named = dict.fromkeys(key for each in files for key in each.keys if not is_pattern(key))
        self.jobs: tuple[str, ...] = tuple(named if jobs is None else jobs)
        self._of_project = files[1:] if shared else files
        unused = [key for each in self._of_project for key in each.fitting_none_of(self.jobs)]
        self.unused: tuple[str, ...] = tuple(dict.fromkeys(unused))
        self._settings = Settings(())
        self._layers: dict[str, Layer] = {}

    def fitting_none_of(self, jobs: Collection[str]) -> list[str]:
        """The unused keys that fit none of these jobs either."""
        patterns = Patterns(key for key in self.unused if is_pattern(key))
        fitting = {key for job in jobs for key in patterns.fitting(job)}
        return [key for key in self.unused if key not in fitting and key not in jobs]

    def blocks(self) -> Iterator[tuple[str, dict[Any, str], list[str]]]:
        """All that holds blocks of platforms: its name, the place of each block, and the jobs that it applies to."""
        for each in self._of_project:
            yield from each.blocks(self.jobs)
        for setting in self._settings.given:
            if setting.path[0] == "platforms":
                names = setting.path[1:2] or setting.value.value or ()
                affected = [job for job in self.jobs if setting in self._settings.of(job)]
                yield "this option", dict.fromkeys(names, setting.said), affected

    def where(self, job: str, *path: str | int) -> str:
        """``file:line`` (or the command line's option) of the job's key, or of what is at ``path`` in it."""
        if not path or job not in self.jobs:
            having = [each for each in self._files if job in each.data] or [*self._files]
            return having[-1].where(job, *path)
        return self.layered(job).where(path)

    def layered(self, job: str) -> Layer:
        """The settings of ``job``, merged."""
        if job not in self._layers:
            entries = [entry for each in self._files for entry in each.entries(job)]
            place = entries[-1][1].where() if entries else self._places.get(job) or self.file
            self._layers[job] = merge(job, entries, self._settings.of(job), place, self.file)
        return self._layers[job]

    def set(self, settings: Sequence[Setting]) -> None:
        """Have these laid over what the files say."""
        self._settings = Settings(settings)
        self._layers.clear()

    def ties(self) -> list[Problem]:
        """Patterns that are equally exact and say different things of one job, of which nothing more exact says it."""
        return [problem for each in self._files for problem in each.ties(self.jobs)]


def load_workflow_config(
    path: str | os.PathLike[str] | None,
    sets: Sequence[str] = (),
    params: Sequence[str] = (),
    problems: list[Problem] | None = None,
    jobs: Mapping[str, str | None] | None = None,
    taken: Collection[str] = (),
    *,
    user: str | os.PathLike[str] | None = None,
    over: Sequence[Located] = (),
) -> WorkflowConfig:
    """Read workflow.yaml and lay other files and the command line's settings over it.

    Args:
        path: the file; None where the project has none.
        sets: the values of ``--set``: ``JOB.KEY=VALUE``.
        params: the values of ``-p``: ``NAME=VALUE``.
        problems: where given, mistakes that leave something readable are appended to it instead of raised.
        jobs: ``file:line`` of each job of the workflow; None where they are not known: those that the file names.
        taken: the workflow's own parameters: no job need have a property that is called as one of them.
        user: the user's own settings, which all others override; None where there are none.
        over: what is laid over workflow.yaml, in this order: of a profile, and of ``--config``.

    Raises ConfigError with everything that is wrong.
    """
    found: list[Problem] = []
    source = Located({}, Mark("workflow.yaml"), "workflow.yaml") if path is None else read_yaml(path, found)
    own = ConfigFile(source, found)
    below = [] if user is None else [ConfigFile(read_yaml(user, found), found)]
    above = [ConfigFile(each, found) for each in over]
    config = WorkflowConfig([*below, own, *above], jobs, own, shared=bool(below))
    holder = source.file if jobs is None else "the workflow"
    names = dict.fromkeys(config.jobs)
    read = [read_set(text, names, holder, found) for text in sets]
    config.set([setting for setting in read if setting is not None])
    found += config.ties()
    for job in config.jobs:
        found += config.layered(job).conflicts
    _set_params(config, params, found, taken)
    config.layers = (*(each.name for each in below), *([] if path is None else [os.path.basename(path)]),
                     *(each.name for each in above), *(f"--set {each}" for each in sets),
                     *(f"-p {each}" for each in params))  # fmt: skip
    if problems is not None:
        problems += found
    elif found:
        raise ConfigError(problems=found)
    return config


def _set_params(config: WorkflowConfig, params: Sequence[str], problems: list[Problem], taken: Collection[str]) -> None:
    for text in params:
        read = read_param(text, problems)
        if read is None:
            continue
        name, value, said = read
        names: dict[str, None] = {}
        inner: dict[str, None] = {}  # of those that hold others, with dots
        having: list[tuple[Layer, tuple[str, ...]]] = []
        for job in config.jobs:
            layer = config.layered(job)
            properties = layer.value.get("properties")
            if not isinstance(properties, dict):
                continue
            names |= dict.fromkeys(key for key in properties if isinstance(key, str))
            inner |= dict.fromkeys(_inner(properties))
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
            problems.append(Problem(message, said, _hint(name, taken, names, inner) or known))
        for layer, path in having:
            assign(layer, Setting(layer.job, ("properties", *path), value, said))


def _hint(name: str, taken: Collection[str], names: Collection[str], inner: Collection[str]) -> str | None:
    """Which parameter or property may be meant by a name that is none."""
    first, dot, rest = name.partition(".")
    if dot and first in taken:
        return f"give the whole of the parameter {first!r}: -p '{first}={{{rest}: VALUE, ...}}'"
    last = [each for each in inner if each.endswith(f".{name}")]
    if last:
        return f"did you mean {' or '.join(map(repr, last[:3]))}?"
    return near(name, [*taken, *names, *inner])


def _inner(properties: Mapping[Any, Any], before: str = "") -> Iterator[str]:
    """The names with dots of all that is in mappings in ``properties``."""
    for key, value in properties.items():
        if before:
            yield f"{before}{key}"
        if isinstance(value, Mapping):
            yield from _inner(value, f"{before}{key}.")


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
