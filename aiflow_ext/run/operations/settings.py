"""All settings of a project and its jobs with their origins: what ``aiflow-ext config show`` prints."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

import attrs

from aiflow_ext.host.policy import ALLOW, DENY, PINS, Policy
from aiflow_ext.model.config import BaseJobConfig
from aiflow_ext.model.errors import ConfigError, PluginError
from aiflow_ext.model.jsonable import Jsonable
from aiflow_ext.model.spelling import near
from aiflow_ext.run.planning.make_plan import make_plan
from aiflow_ext.run.planning.plan import LeftOut, PlannedJob
from aiflow_ext.run.store.state_folder import state_folder
from aiflow_ext.translate.check import listed
from aiflow_ext.translate.common import ALIASES, ATTRIBUTES, COMMON_KEYS
from aiflow_ext.translate.profiles import user_config
from aiflow_ext.translate.project import Project, Settings, load_project
from aiflow_ext.translate.project_root import PROJECT_YAML
from aiflow_ext.translate.signature import signature_of

# The variables of a user's environment that aiflow-ext reads, besides those of a job. docs/operators.md describes them.
VARIABLES = (
    "AIFLOW_STATE", "AIFLOW_TRUST", ALLOW, DENY, PINS, "AIFLOW_MACHINE", "AIFLOW_LOG_LIMIT", "AIFLOW_ARTIFACT_PATIENCE",
    "AIFLOW_DEBUG", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME",
)  # fmt: skip
LAYERS = ("default", "user file", "project file", "profile", "--config", "environment", "command line")


class Setting(NamedTuple):
    """One setting and its origin.

    Attributes:
        path: the keys that lead to it; the numbers of list items among them.
        value: of JSON types.
        layer: which of LAYERS has decided it.
        where: ``file:line``, the variable, the option, or the job plugin whose default it is; None where a default of
            aiflow-ext holds.
    """

    path: tuple[str | int, ...]
    value: Any
    layer: str
    where: str | None = None

    @property
    def origin(self) -> str:
        """Where it comes from, in words."""
        if self.where is None:
            return self.layer
        return f"{self.layer}: {self.where}" if self.layer in ("default", "user file", "profile") else self.where

    def to_dict(self) -> dict[str, Any]:
        """The setting as JSON types."""
        return {"path": list(self.path), "value": self.value, "layer": self.layer, "where": self.where}


class Shown(NamedTuple):
    """The settings of an environment and, with a project, of that and of its jobs.

    Attributes:
        environment: the variables that are read, whether they are set or not.
        project: of project.yaml, with what the environment adds; None without a project.
        jobs: by name; empty without a project.
        remark: why the defaults of plugins are not among them; None where they are.
    """

    environment: list[Setting]
    project: list[Setting] | None = None
    jobs: Mapping[str, list[Setting]] = {}
    remark: str | None = None


def show(folder: str | os.PathLike[str] | None = None, job: str | None = None, **options: Any) -> Shown:
    """The settings that a run would have.

    Args:
        folder: the project's folder; None: only the environment.
        job: the only job to show; None for all.
        options: of planning, as ``run_project``'s: sets, params, workflow, config, profile.

    Raises ProjectError for every mistake that a run would report of the project's files; a job plugin that cannot be
    used is none.
    """
    environment = [_variable(name) for name in VARIABLES]
    if folder is None:
        return Shown(environment)
    project = load_project(folder)
    remark = None
    try:
        plan = make_plan(folder, sent=lambda each: False, **options)
    except PluginError as error:
        remark = f"the defaults of job plugins are not known: {error.message}"
        plan = make_plan(folder, only=(), sent=lambda each: False, **options)
    if job is not None and job not in plan.names:
        hint = near(job, plan.names) or f"the jobs are {listed(plan.names)}"
        raise ConfigError(f"the workflow has no job {job!r}", hint=hint)
    files = _files(project, options.get("profile"), options.get("config") or ())
    planned: dict[str, PlannedJob | LeftOut] = {**plan.jobs, **plan.left_out}
    jobs = {name: list(_of_job(planned[name], files)) for name in plan.names if job in (None, name)}
    return Shown(environment, list(_of_project(project)), jobs, remark)


def _variable(name: str) -> Setting:
    if name in os.environ:
        return Setting((name,), os.environ[name], "environment", name)
    return Setting((name,), None, "default")


def _of_project(project: Project) -> Iterator[Setting]:
    """The settings of project.yaml, and what the environment adds to them."""
    written = project.source.value
    for field in attrs.fields(Settings):
        value = written.get(field.name)
        if field.name == "plugins":
            yield from _of_plugins(project)
        elif field.name == "extensions":
            yield from _of_extensions(project, value or {})
        elif value is not None:
            yield from leaves((field.name,), value, "project file", project.where)
        else:
            yield _default_of(project, field.name)


def _of_extensions(project: Project, written: Mapping[str, Any]) -> Iterator[Setting]:
    timeout = f"{project.extensions.timeout.total_seconds():g}s"
    defaults: dict[str, Any] = {"require": [], "timeout": timeout}
    for key, default in defaults.items():
        if written.get(key) is None:
            yield Setting(("extensions", key), default, "default")
        else:
            yield from leaves(("extensions", key), written[key], "project file", project.where)


def _default_of(project: Project, name: str) -> Setting:
    if name == "artifacts":
        origin = ("environment", "AIFLOW_STATE") if os.environ.get("AIFLOW_STATE") else ("default", None)
        return Setting((name,), str(state_folder(project.root) / name), *origin)
    value = project.name if name == "name" else getattr(Settings(), name)
    return Setting((name,), _plain(value), "default")


def _of_plugins(project: Project) -> Iterator[Setting]:
    """Allow, deny and pins of the project together with those of the environment."""
    theirs = Policy.from_environment()
    for which, variable in (("allow", ALLOW), ("deny", DENY)):
        items = [(each, "environment", variable) for each in getattr(theirs, which)]
        items += [(each, "project file", project.where(("plugins", which, number)))
                  for number, each in enumerate(getattr(project.plugins, which))]  # fmt: skip
        for number, item in enumerate(items):
            yield Setting(("plugins", which, number), *item)
        if not items:
            yield Setting(("plugins", which), [], "default")
    pins = Policy.pins_from_environment()
    for name in {**project.plugins.pins, **pins}:
        if name in pins:
            yield Setting(("plugins", "pins", name), pins[name], "environment", PINS)
        else:
            place = project.where(("plugins", "pins", name))
            yield Setting(("plugins", "pins", name), project.plugins.pins[name], "project file", place)
    if not pins and not project.plugins.pins:
        yield Setting(("plugins", "pins"), {}, "default")


def _files(project: Project, profile: str | None, configs: Sequence[str]) -> dict[str, str]:
    """The layer of each file that job configs may come from."""
    named = project.profiles.get(profile) if profile is not None else None
    files = {str(project.root / PROJECT_YAML): "profile"}  # of all job configs it has profiles alone
    if isinstance(named, str):
        files[os.path.abspath(project.root / named)] = "profile"
    files |= {os.path.abspath(each): "--config" for each in configs}
    if (user := user_config()) is not None:
        files[os.path.abspath(user)] = "user file"
    return {os.path.realpath(path): layer for path, layer in files.items()}


def _of_job(planned: PlannedJob | LeftOut, files: Mapping[str, str]) -> Iterator[Setting]:
    layer = planned.layer
    assert layer is not None, "it was planned from files"
    set_here = [key for key, value in layer.value.items() if value is not None and key not in planned.defaults]
    for key in set_here:
        for each in leaves((key,), layer.value[key], "project file", layer.where):
            yield each._replace(layer=_layer_at(each.where, files))
    named = {ALIASES.get(key, key) for key in set_here}
    for key in planned.defaults:
        named.add(key)
        kind = "what the job's nodes are made for" if key == "engine" else None
        yield Setting((key,), layer.value[key], "default", kind)
    yield from defaults_of(planned, layer.job, named)


def _layer_at(where: str | None, files: Mapping[str, str]) -> str:
    if where is None or where.startswith(("--set ", "-p ")):
        return "command line"
    return files.get(os.path.realpath(where.rpartition(":")[0]), "project file")


def defaults_of(planned: PlannedJob | LeftOut, job: str, named: set[str]) -> Iterator[Setting]:
    """The keys that nothing has set: those of every job, and those of the job plugin's own where it is known."""
    config: Any = planned.config if isinstance(planned, PlannedJob) else BaseJobConfig(job_name=job)
    for key in COMMON_KEYS:
        if key not in named and key != "platforms":
            name = ATTRIBUTES.get(key, key)
            value = getattr(config, name)
            known = key == "job_name" or value == getattr(BaseJobConfig, name)
            yield Setting((key,), _plain(value), "default", None if known else _plugin_of(planned))
    if isinstance(planned, PlannedJob):
        kind: Any = planned.resolved.config_type
        theirs = signature_of(kind).parameters
        for key in theirs:
            if key not in named and key not in COMMON_KEYS and key not in ATTRIBUTES.values() and hasattr(config, key):
                yield Setting((key,), _plain(getattr(config, key)), "default", _plugin_of(planned))


def _plugin_of(planned: PlannedJob | LeftOut) -> str | None:
    if isinstance(planned, LeftOut):
        return None
    return f"{planned.resolved.platform}.{planned.resolved.engine} of {planned.resolved.record.distribution}"


def leaves(path: tuple[str | int, ...], value: Any, layer: str, where: Any) -> Iterator[Setting]:
    """The settings in a value: each that is no mapping, or an empty one."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from leaves((*path, key), inner, layer, where)
    else:
        yield Setting(path, _plain(value), layer, where(path))


def _plain(value: Any) -> Any:
    """A value as JSON types: as it would be written in a file, where that is known."""
    if isinstance(value, Enum):
        return value.name if not isinstance(value.value, str) else value.value
    if isinstance(value, Jsonable):
        return {name: _plain(each) for name, each in value.to_json().items()}
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each) for each in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
