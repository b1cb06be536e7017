"""workflow.yaml and the command line's settings, as one typed config for each job."""

from __future__ import annotations

import copy
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import combinations
from typing import Any, cast

from aiflow_ext.model.config import BaseJobConfig, PeriodicConfig
from aiflow_ext.model.errors import ConfigError, Problem
from aiflow_ext.model.spelling import near
from aiflow_ext.translate.check import listed
from aiflow_ext.translate.common import ALIASES, ATTRIBUTES, COMMON_KEYS, checked, common_values, is_common
from aiflow_ext.translate.construct import create
from aiflow_ext.translate.defaults import meant_for
from aiflow_ext.translate.fitting import arguments, fit
from aiflow_ext.translate.layers import EVERY_JOB, Layer, Setting, Settings, assign, merge, read_param, read_set, said
from aiflow_ext.translate.misfits import Item, Misfit, given
from aiflow_ext.translate.patterns import Patterns, exactness, is_pattern
from aiflow_ext.translate.signature import Signature, signature_of
from aiflow_ext.translate.structure import dotted, report
from aiflow_ext.translate.yaml_source import Located, Mark, read_yaml

# BaseJobConfig's names of the common values: ``platforms`` alone is not one of them.
NAMES = tuple(ATTRIBUTES.get(key, key) for key in COMMON_KEYS if key != "platforms")


class WorkflowConfig:
    """The job configs of a workflow.

    Attributes:
        file: workflow.yaml as shown in messages.
        jobs: the workflow's jobs; where they are not known, the file's keys that are names.
        unused: the file's keys that fit none of the jobs.
    """

    def __init__(self, source: Located, jobs: Mapping[str, str | None] | None = None) -> None:
        keys = [key for key in source.value if key != EVERY_JOB]
        self.file, self._source = source.file, source
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
        """All that holds blocks of platforms: what it is called, where each block stands, and the jobs it speaks of."""
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
                told = [job for job in self.jobs if setting in self._settings.of(job)]
                yield "this option", dict.fromkeys(names, setting.said), told

    def where(self, job: str, *path: str | int) -> str:
        """``file:line`` (or the command line's option) of the job's key, or of what is at ``path`` in it."""
        if not path or job not in self._fitting:
            return self._source.where((job, *path))
        return self.layered(job).where(path)

    def layered(self, job: str) -> Layer:
        """Everything that is said of ``job``, merged."""
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
        """The keys but ``"*"`` that speak of a job, the most exact one last."""
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
) -> WorkflowConfig:
    """Read workflow.yaml and lay the command line's settings over it.

    Args:
        path: the file; None where the project has none.
        sets: the values of ``--set``: ``JOB.KEY=VALUE``.
        params: the values of ``-p``: ``NAME=VALUE``.
        problems: where given, mistakes that leave something readable are appended to it instead of raised.
        jobs: ``file:line`` of each job of the workflow; None where they are not known: those that the file names.

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
    _set_params(config, params, found)
    if problems is not None:
        problems += found
    elif found:
        raise ConfigError(problems=found)
    return config


def platform_and_engine(layer: Layer, problems: list[Problem]) -> tuple[str, str] | None:
    """Where the job runs and what kind of job it is.

    None after what is missing was appended to ``problems``, together with whatever else is wrong with the common keys:
    nobody else looks at a job whose plugin is not known.
    """
    values, wrong = common_values(layer)
    told = len(problems)
    for name, example in (("platform", "local"), ("engine", "python")):
        if name not in values and layer.value.get(name) is None:
            hint = f"add {name}: with its name, such as {example}"
            # Said here because the plugin that would call such a key unknown cannot be found.
            if meant := meant_for(layer, name):
                hint = f"is {meant!r} ({layer.where((meant,))}) meant to be {name!r}? Or {hint}"
            problems.append(Problem(f"job {layer.job!r} lacks the key {name!r}", layer.where(), hint))
    if len(problems) == told and "platform" in values and "engine" in values:
        return values["platform"], values["engine"]
    report(wrong, layer.title, layer.where, problems)
    return None


class Structurer:
    """Makes the configs of many jobs. Of two jobs of which the same is said, the second gets a copy of the first's."""

    def __init__(self) -> None:
        self._pairs: dict[str, tuple[str, str]] = {}
        self._made: dict[tuple[type[Any], str], BaseJobConfig] = {}

    def platform_and_engine(self, layer: Layer, problems: list[Problem]) -> tuple[str, str] | None:
        """As the function of that name."""
        said = repr(layer.value)
        pair = self._pairs.get(said)
        if pair is None:
            pair = platform_and_engine(layer, problems)
            if pair is not None:
                self._pairs[said] = pair
        return pair

    def structure(self, config_type: type[Any], layer: Layer, problems: list[Problem]) -> BaseJobConfig | None:
        """As :func:`structure_config`."""
        if not _made_by_the_host(cast(Any, config_type)):
            return structure_config(config_type, layer, problems)
        said = config_type, repr(layer.value)
        first = self._made.get(said)
        if first is None:
            structured = structure_config(config_type, layer, problems)
            if structured is not None:
                self._made[said] = structured
            return structured
        made = copy.copy(first)
        if layer.value.get("job_name") is None:
            made.job_name = layer.job
        made.properties, made.env = copy.deepcopy(first.properties), copy.deepcopy(first.env)
        return made


@cache
def _made_by_the_host(config_type: type[Any]) -> bool:
    """Whether all that a config holds is known here: neither an author's own ``__init__`` nor attributes of theirs."""
    if config_type.__init__ is not BaseJobConfig.__init__:
        return False
    try:
        return not signature_of(cast(Any, config_type)).attributes
    except TypeError:  # told where it is structured
        return False


def check_common(layer: Layer, problems: list[Problem]) -> None:
    """Append what is wrong with the common keys, for a job whose plugin cannot be found."""
    report(common_values(layer)[1], layer.title, layer.where, problems)


def structure_config(config_type: type[Any], layer: Layer, problems: list[Problem]) -> BaseJobConfig | None:
    """The job's config as an object of the plugin's type; None after what is wrong was appended to ``problems``.

    Common values reach ``config_type.__init__`` as far as it takes them, and are attributes of the result in any
    case; every other key is a parameter of its own.
    """
    values, wrong = common_values(layer)
    values.setdefault("job_name", layer.job)
    owner = f"a {values.get('platform', '?')}.{values.get('engine', '?')} job"
    try:
        signature = signature_of(cast(Any, config_type))
    except TypeError as error:
        problems.append(Problem(f"job {layer.job!r}: {error}", layer.where(), "this is a mistake of its job plugin"))
        return None
    own = {key: copy.deepcopy(value) for key, value in layer.value.items() if not is_common(key)}
    theirs = {name: each for name, each in signature.parameters.items() if name not in NAMES and not is_common(name)}
    found, misfits = arguments(Signature(theirs, signature.free), own, owner, COMMON_KEYS)
    wrong += misfits
    for name in NAMES:
        parameter = signature.parameters.get(name) or signature.parameters.get(_key_of(name))
        if parameter is None:
            continue
        if name in values:
            try:
                raw = layer.value.get(_key_of(name))
                value = _fitted(copy.deepcopy(values[name]), raw, parameter.type)
            except Misfit as misfit:
                wrong += misfit.under(_said_as(layer, name))
                continue
            found[parameter.name] = value
        elif parameter.required:
            found[parameter.name] = copy.deepcopy(getattr(BaseJobConfig, name))
    if wrong:
        report(wrong, layer.title, layer.where, problems)
        return None
    try:
        made = create(config_type, found, [*NAMES, *COMMON_KEYS])
    except Misfit as misfit:
        items = [((_said_as(layer, path[0]), *path[1:]) if path else path, *rest) for path, *rest in misfit.items]
        report(cast("list[Item]", items), layer.title, layer.where, problems)
        return None
    wrong = _set_common(made, copy.deepcopy(values))
    report(wrong, layer.title, layer.where, problems)
    return None if wrong else cast(BaseJobConfig, made)


def _key_of(name: str) -> str:
    """The key in workflow.yaml of BaseJobConfig's ``name``."""
    return next((key for key, attribute in ATTRIBUTES.items() if attribute == name), name)


def _said_as(layer: Layer, name: str) -> str:
    """The key under which this job's config says ``name``."""
    key = _key_of(name)
    return next((alias for alias, real in ALIASES.items() if real == key and alias in layer.value), key)


def _fitted(value: Any, raw: Any, kind: Any) -> Any:
    """A common value in the type that the plugin's author asks for: as checked, or as it was written."""
    candidates = [value]
    if isinstance(value, float) and value.is_integer():
        candidates.append(int(value))  # "10m" for an author's `timeout: int`
    if not isinstance(raw, Mapping):
        candidates.append(raw)
    first: Misfit | None = None
    for each in candidates:
        try:
            return fit(each, kind)
        except Misfit as misfit:
            first = first or misfit
    assert first is not None
    raise first


def _set_common(made: Any, values: Mapping[str, Any]) -> list[Item]:
    """Give the config its common values as attributes, whatever its author's ``__init__`` did with them."""
    wrong: list[Item] = []
    for name in NAMES:
        there = getattr(made, name, None)
        try:
            value = values[name] if name in values else _default(name, there)
        except Misfit as misfit:
            wrong += misfit.under(_key_of(name))
            continue
        if isinstance(value, Mapping):
            # What an author added of their own to a map stays.
            value = {**there, **value} if isinstance(there, Mapping) else dict(value)
        try:
            # Past a frozen class's own __setattr__.
            object.__setattr__(made, name, value)
        except AttributeError:
            if there != value:
                words = f"is {value!r}, but {type(made).__name__} insists on {there!r}"
                wrong.append(((_key_of(name),), words, "leave the key out, or ask the author of the job plugin"))
    return wrong


def _default(name: str, there: Any) -> Any:
    """A common value that nobody gave: the author's own, in the type that the host relies on.

    Raises Misfit for a period that no scheduler could keep.
    """
    if there is None:
        return getattr(BaseJobConfig, name)
    try:
        return checked(_key_of(name), there)
    except Misfit:
        if isinstance(there, PeriodicConfig):
            raise
        return there


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


def _set_params(config: WorkflowConfig, params: Sequence[str], problems: list[Problem]) -> None:
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
        if not having:
            known = f"{config.file} has no properties"
            if names:
                known = f"the properties in {config.file} are {listed(names)}"
            problems.append(Problem(f"no job has a property {name!r}", said, near(name, names) or known))
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
