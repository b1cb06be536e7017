"""Examines what is installed, and whether the platforms of a project can be used: what ``aiflow-ext doctor`` shows."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from aiflow_ext.host.examine import Examination
from aiflow_ext.host.host import PluginHost
from aiflow_ext.host.isolated import Call, call_each
from aiflow_ext.host.trial import unanswered
from aiflow_ext.model.errors import OK, PLATFORM, PLUGIN, Problem
from aiflow_ext.run.operations.platform_checks import limit_for, problem_of, unplanned
from aiflow_ext.run.planning.job_plugins import plugin_policy
from aiflow_ext.translate.project import load_project

_CHECKS = "aiflow_ext.run.operations.platform_checks"


class PlatformCheck(NamedTuple):
    """What ``check_platform`` of one job plugin has found.

    Attributes:
        platform, engine: the job plugin's names.
        jobs: the project's jobs that it runs.
        problems: what is wrong; empty where jobs can be run.
    """

    platform: str
    engine: str
    jobs: tuple[str, ...]
    problems: tuple[Problem, ...]


class Diagnosis(NamedTuple):
    """What the doctor has found.

    Attributes:
        examination: of all that is installed, under the project's policy where there is a project.
        problems: what a run of the project would refuse before it asks a platform.
        checks: one for each job plugin that the project needs; empty where there are problems.
        exit_code: 0 where nothing is wrong; else that with which ``run`` would refuse the project, 6 for a platform; 5
            for a plugin that cannot be used, whether the project needs it or not.
    """

    examination: Examination
    problems: tuple[Problem, ...] = ()
    checks: tuple[PlatformCheck, ...] = ()
    exit_code: int = OK


def diagnose(project: str | os.PathLike[str] | None = None, *, limit: float = 15.0, **options: Any) -> Diagnosis:
    """Examine every plugin and, with a project, plan it and check each of its platforms.

    Plugins and the project's code run in processes of their own: whatever they do, this process goes on.

    Args:
        project: the project's folder; None: only what is installed.
        limit: seconds that a plugin's import may take; planning, and a platform's check, may take so many, or 60.
        options: of planning, as ``run_project``'s: sets, params, workflow, config, profile.

    Raises ProjectError where there is no project, ConfigError for mistakes in project.yaml, StateError where no process
    can be started.
    """
    if project is None:
        found = PluginHost().examine(limit=limit)
        return Diagnosis(found, exit_code=found.exit_code)
    loaded = load_project(project)
    found = PluginHost(*plugin_policy(loaded)).examine(limit=limit)
    arguments = {"folder": os.path.abspath(project), "options": options}
    limit = limit_for(limit)
    ((_, outcome),) = call_each([Call(f"{_CHECKS}:job_plugins", arguments, limit)])
    if not outcome.is_complete:
        return Diagnosis(found, (unplanned(loaded, outcome, limit),), (), PLUGIN)
    (planned,) = outcome.answers
    if "problems" in planned:
        return Diagnosis(found, tuple(map(problem_of, planned["problems"])), (), planned["exit_code"])
    checks = _checked(planned["plugins"], arguments, limit)
    code = PLATFORM if any(each.problems for each in checks) else found.exit_code
    return Diagnosis(found, (), tuple(checks), code)


def _checked(plugins: list[dict[str, Any]], arguments: dict[str, Any], limit: float) -> list[PlatformCheck]:
    calls = [Call(f"{_CHECKS}:check", {**arguments, "job": each["jobs"][0]}, limit) for each in plugins]
    checks = {}
    for number, outcome in call_each(calls):
        each = plugins[number]
        if outcome.is_complete:
            problems = list(map(problem_of, outcome.answers[0]))
        else:
            where = f"platform {each['platform']!r} for engine {each['engine']!r}"
            hint = "report it to the authors of its job plugin, or install another version of it"
            problems = [Problem(unanswered(where, outcome, limit, "checks", "checked"), None, hint)]
        checks[number] = PlatformCheck(each["platform"], each["engine"], tuple(each["jobs"]), tuple(problems))
    return [checks[number] for number in sorted(checks)]
