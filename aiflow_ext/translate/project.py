"""A project's folder: what is in it, and what its project.yaml says."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs

from aiflow_ext.model.errors import ConfigError, Problem
from aiflow_ext.model.project import ProjectDesc
from aiflow_ext.translate.common import checked
from aiflow_ext.translate.misfits import Misfit
from aiflow_ext.translate.project_root import PROJECT_YAML, WORKFLOW_PY, WORKFLOW_YAML, project_root
from aiflow_ext.translate.structure import structure
from aiflow_ext.translate.yaml_source import Located, Mark, read_yaml

_NOTHING = Located({}, Mark(PROJECT_YAML), PROJECT_YAML)


@attrs.frozen
class PluginSettings:
    """Which plugins the project uses: the policy's allow and deny, and the pins that settle conflicts.

    Attributes:
        allow: patterns of plugins that may be used; where there are none, all may.
        deny: patterns of plugins that may not be used.
        pins: by a plugin's name that several distributions provide, the distribution that is meant.
    """

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    pins: Mapping[str, str] = attrs.Factory(dict)


@attrs.frozen
class ExtensionSettings:
    """The project's settings of extensions.

    Attributes:
        require: names of the extensions without which nothing runs.
        timeout: how long a call of an extension's hook may take, and how long a run's end waits for deliveries to
            extensions.
    """

    require: tuple[str, ...] = ()
    timeout: timedelta = timedelta(seconds=30)


@attrs.frozen
class Scheduled:
    """A workflow that is fired as a whole when it is due.

    Attributes:
        cron, interval, time_zone: when, as the key ``periodic`` of a job has them.
        workflow: which, where workflow.py has several.
        params: values by name, as ``-p`` gives them.
        profile: the profile of its runs.
    """

    cron: Any = None
    interval: Any = None
    time_zone: Any = None
    workflow: str | None = None
    params: Mapping[str, Any] = attrs.Factory(dict)
    profile: str | None = None

    @property
    def period(self) -> dict[str, Any]:
        """When it is due, as it was written."""
        written = {"cron": self.cron, "interval": self.interval, "time_zone": self.time_zone}
        return {key: value for key, value in written.items() if value is not None}


@attrs.frozen
class Settings:
    """What project.yaml may hold.

    Attributes:
        name: the project's name; by default its folder's.
        python_paths: folders in the project that jobs and workflow.py import from; by default the project's own.
        artifacts: the folder or URL where artifacts are kept; ``.aiflow/artifacts`` by default.
        exclude: patterns of files that are not sent to jobs: ``data``, ``*.ipynb``.
        include: patterns of files that are sent although they may hold secrets: ``.env``.
        resources: further files, by name, for plugins that use them.
        plugins: which plugins may be used.
        extensions: which extensions are required, and how long a call of one may take.
        jobs: by platform, how many jobs of a run run on it at once; by default the processors on ``local``, else 100.
        schedule: by name, the workflows that ``aiflow-ext schedule`` fires.
        profiles: by name, what ``--profile NAME`` lays over workflow.yaml: a file of the project, or the jobs' keys.
        report: whether each run's report is written at its end: into the run's folder, or into the folder that is named
            here, as ``RUN.html``; false by default.
    """

    name: str | None = None
    python_paths: tuple[str, ...] = (".",)
    artifacts: str | None = None
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    resources: Mapping[str, str] = attrs.Factory(dict)
    plugins: PluginSettings = attrs.Factory(PluginSettings)
    extensions: ExtensionSettings = attrs.Factory(ExtensionSettings)
    jobs: Mapping[str, int] = attrs.Factory(dict)
    schedule: Mapping[str, Scheduled] = attrs.Factory(dict)
    profiles: Mapping[str, Any] = attrs.Factory(dict)
    report: bool | str = False


@attrs.frozen
class Project:
    """A project as found on disk.

    Attributes:
        desc: what job plugins get to know about it.
        root: its folder, absolute and without symbolic links: by whatever path it is reached, it is one project.
        workflow_py: the file that builds the graph.
        workflow_yaml: the job configs; None where there is no such file.
        plugins: allow, deny and pins.
        extensions: which extensions are required, and how long they may take.
        jobs: by platform, how many of its jobs run at once.
        schedule: workflows that are fired when they are due, by the names of these entries.
        profiles: by name, what is laid over workflow.yaml: a file, or the jobs' keys themselves.
        report: the folder, absolute, to which the report of each run is written at its end; empty: the run's own; None:
            none is written.
        source: project.yaml as it was read; ``where`` returns ``file:line`` of what is at a path in it.
    """

    desc: ProjectDesc
    root: Path
    workflow_py: Path
    workflow_yaml: Path | None
    plugins: PluginSettings
    extensions: ExtensionSettings = attrs.Factory(ExtensionSettings)
    jobs: Mapping[str, int] = attrs.Factory(dict)
    schedule: Mapping[str, Scheduled] = attrs.Factory(dict)
    profiles: Mapping[str, Any] = attrs.Factory(dict)
    report: str | None = None
    source: Located = _NOTHING

    def where(self, path: Sequence[Any]) -> str:
        """``file:line`` of what is at ``path`` in project.yaml."""
        return self.source.where(path)

    @property
    def name(self) -> str:
        """The project's name."""
        return self.desc.name


def load_project(folder: str | os.PathLike[str], problems: list[Problem] | None = None) -> Project:
    """The project in ``folder``.

    Its ``desc.artifacts`` is empty where project.yaml names none: a run then keeps them with its state.

    Args:
        folder: the project's folder, or one of its own files.
        problems: if given, mistakes in project.yaml are appended to it instead of raised.

    Raises ProjectError where there is no project, ConfigError with everything that is wrong in project.yaml.
    """
    root = project_root(folder)
    found: list[Problem] = []
    file = root / PROJECT_YAML
    source = read_yaml(file, found) if os.path.lexists(file) else None
    settings = _settings(source, found)
    source = source or _NOTHING
    desc = ProjectDesc(
        name=settings.name or root.name or "project",
        root=str(root),
        python_paths=_python_paths(root, settings.python_paths, source, found),
        artifacts=_artifacts(root, settings.artifacts),
        exclude=settings.exclude,
        include=settings.include,
        resources=_resources(root, settings.resources, source, found),
    )
    if settings.extensions.timeout <= timedelta(0):
        words = "'extensions.timeout' must be longer than nothing"
        found.append(Problem(words, source.where(("extensions", "timeout")), "write a duration such as 30s"))
    for platform, number in settings.jobs.items():
        if number < 1:
            words = f"'jobs.{platform}' must be 1 or more, not {number}"
            found.append(Problem(words, source.where(("jobs", platform)), "say how many of its jobs run at once"))
    found += _schedule_problems(settings.schedule, source)
    if problems is not None:
        problems += found
    elif found:
        raise ConfigError(problems=found)
    jobs = root / WORKFLOW_YAML
    jobs_file = jobs if os.path.lexists(jobs) else None
    return Project(desc, root, root / WORKFLOW_PY, jobs_file, settings.plugins, settings.extensions, settings.jobs,
                   settings.schedule, settings.profiles, _report(root, settings.report), source)  # fmt: skip


def _schedule_problems(schedule: Mapping[str, Scheduled], source: Located) -> Iterator[Problem]:
    for name, each in schedule.items():
        title, path = f"'schedule.{name}'", ("schedule", name)
        if not re.fullmatch(r"[\w.-]+", name):
            hint = "name it with letters, digits, '.', '_' and '-'"
            yield Problem(f"{title} is no name of an entry", source.where(path), hint)
        try:
            checked("periodic", each.period)
        except Misfit as misfit:
            for inner, message, cure in misfit.items:
                part = f"{title[:-1]}.{inner[0]}'" if inner else title
                yield Problem(f"{part} {message}", source.where((*path, *inner)), cure)


def _settings(source: Located | None, problems: list[Problem]) -> Settings:
    if source is None:
        return Settings()
    given = {key: value for key, value in source.value.items() if value is not None}
    found: list[Problem] = []
    made = structure(Settings, given, where=source.where, problems=found, what=PROJECT_YAML)
    problems += found
    if made is not None:
        return made
    # So that the rest is still checked, and its mistakes are reported together with these.
    fine: dict[str, Any] = {}
    for name in attrs.fields_dict(Settings):
        if name in given:
            one = structure(Settings, {name: given[name]}, where=source.where, problems=[], what=PROJECT_YAML)
            if one is not None:
                fine[name] = getattr(one, name)
    return Settings(**fine)


def _python_paths(root: Path, paths: tuple[str, ...], source: Located, problems: list[Problem]) -> tuple[str, ...]:
    kept = []
    for number, each in enumerate(paths):
        path = Path(os.path.normpath(root / each))
        if os.path.isabs(each) and not path.is_relative_to(root):  # it may be spelled through a link
            path = Path(os.path.realpath(path))
        title = f"python path {each!r}"
        where = source.where(("python_paths", number))
        if not path.is_relative_to(root):
            hint = "only the project's own folder travels to a job: move the code into it, or install it as a package"
            problems.append(Problem(f"{title} is outside the project", where, hint))
        elif not os.path.isdir(path):
            hint = "create the folder, or take the path away"
            problems.append(Problem(f"{title} is {'a file' if os.path.exists(path) else 'not there'}", where, hint))
        else:
            kept.append(str(path.relative_to(root)))
    return tuple(kept)


def _artifacts(root: Path, given: str | None) -> str:
    if not given:
        return ""
    if "://" in given or "::" in given:
        return given
    return str(Path(os.path.abspath(root / os.path.expanduser(given))))


def _report(root: Path, given: bool | str) -> str | None:
    if isinstance(given, bool):
        return "" if given else None
    return os.path.abspath(root / os.path.expanduser(given))


def _resources(root: Path, given: Mapping[str, str], source: Located, problems: list[Problem]) -> dict[str, str]:
    made = {}
    for name, each in given.items():
        path = Path(os.path.abspath(root / os.path.expanduser(each)))
        if not os.path.exists(path):
            title = f"resource {name!r}"
            problems.append(
                Problem(f"{title} is not there: {each}", source.where(("resources", name)), "check the path")
            )
        made[name] = str(path)
    return made
