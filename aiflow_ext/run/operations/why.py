"""Why a job of a project runs where it runs, or cannot: every decision from its config to its job plugin, in order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from aiflow_ext.host.decisions import Decision
from aiflow_ext.host.host import PluginHost
from aiflow_ext.host.isolated import Call, call_each
from aiflow_ext.model.errors import PLUGIN, AiflowError, ConfigError, Problem
from aiflow_ext.model.spelling import near
from aiflow_ext.run.operations.platform_checks import limit_for, problem_of, problems_to_data, unplanned
from aiflow_ext.run.planning.job_plugins import place_of_pin, plugin_policy
from aiflow_ext.run.planning.make_plan import make_plan
from aiflow_ext.translate.check import listed
from aiflow_ext.translate.project import Project, load_project

if TYPE_CHECKING:
    from aiflow_ext.host.explain import Explanation

_HERE = "aiflow_ext.run.operations.why"


class JobExplanation:
    """Why a job runs where it runs, or cannot.

    Attributes:
        job: the job's key.
        plugin: the explanation of its platform and engine; None where the project's mistakes keep them unknown.
        decisions: all, those on platform and engine first.
        problems: what ``run`` would refuse of this job, besides its plugin.
        exit_code: 0 if it can be run as far as is known, else the code that ``run`` would end with.
    """

    def __init__(
        self, job: str, plugin: Explanation | None, decisions: list[Decision], problems: list[Problem]
    ) -> None:
        self.job, self.plugin, self.decisions, self.problems = job, plugin, decisions, problems
        self.exit_code = 0 if plugin is None else plugin.exit_code

    def to_dict(self) -> dict[str, Any]:
        """The explanation as JSON types."""
        return {
            "job": self.job,
            "exit_code": self.exit_code,
            "plugin": None if self.plugin is None else self.plugin.to_dict(),
            "decisions": [each._asdict() for each in self.decisions],
            "problems": problems_to_data(self.problems),
        }


def why_job(folder: str | os.PathLike[str], job: str, *, limit: float | None = None, **options: Any) -> JobExplanation:
    """Explain where a job of a project runs. The project's code and the plugin run in processes of their own.

    Args:
        folder: the project's folder.
        job: the job's key.
        limit: load the job's plugin, for at most so many seconds, and plan the job with it, for as many, or 60; None:
            read metadata only.
        options: of planning, as ``run_project``'s: sets, params, workflow, config, profile.

    Raises ProjectError where there is no project, ConfigError for mistakes in project.yaml and for an unknown job.
    """
    project = load_project(folder)
    arguments = {"folder": os.path.abspath(folder), "options": options, "job": job}
    longest = limit_for(limit or 0.0)
    placed = _answer("placed", arguments, project, longest)
    if placed.get("unknown"):
        hint = near(job, placed["unknown"]) or f"the jobs are {listed(placed['unknown'])}"
        raise ConfigError(f"the workflow has no job {job!r}", hint=hint)
    if "problems" in placed:
        return _refused(JobExplanation(job, None, [], []), placed)
    host = PluginHost(*plugin_policy(project))
    host.places_of_pins = {name: place_of_pin(project, name) for name in host.pins}
    plugin = host.why(placed["platform"], placed["engine"], limit=limit)
    decided = [Decision(key, f"{placed[key]} ({placed['places'][key]})") for key in ("platform", "engine")]
    found = JobExplanation(job, plugin, decided + plugin.decisions, [])
    if limit is None or found.exit_code:
        return found
    planned = _answer("planned", arguments, project, longest)
    words = "its config is what the plugin takes, and it can be generated"
    if "problems" in planned:
        _refused(found, planned)
        words = "refused, for the reasons above"
    found.decisions.append(Decision("job", words))
    return found


def _refused(found: JobExplanation, answer: Mapping[str, Any]) -> JobExplanation:
    found.problems = [problem_of(each) for each in answer["problems"]]
    found.exit_code = answer["exit_code"]
    return found


def _answer(function: str, arguments: Mapping[str, Any], project: Project, limit: float) -> dict[str, Any]:
    ((_, outcome),) = call_each([Call(f"{_HERE}:{function}", arguments, limit)])
    if outcome.is_complete:
        found: dict[str, Any] = outcome.answers[0]
        return found
    return {"problems": problems_to_data([unplanned(project, outcome, limit)]), "exit_code": PLUGIN}


def placed(folder: str, options: Mapping[str, Any], job: str) -> Iterator[dict[str, Any]]:
    """Yields the platform and engine of a job with the places that say so; or the names of the workflow's jobs, where
    it is not one of them (``unknown``); or ``problems`` and ``exit_code``. Called in a process of its own."""
    try:
        plan = make_plan(folder, only=(), **options)  # no plugin is resolved
    except AiflowError as error:
        yield {"problems": problems_to_data(error.problems), "exit_code": error.exit_code}
        return
    if job not in plan.left_out:
        yield {"unknown": plan.names}
        return
    layer, defaults = plan.left_out[job].layer, plan.left_out[job].defaults
    places = {key: layer.where((key,)) for key in ("platform", "engine")}
    if "platform" in defaults:
        places["platform"] = "the default: no config names one"
    if "engine" in defaults:
        places["engine"] = f"the default: what the job's nodes are made for, {places['engine']}"
    yield {"platform": layer.value["platform"], "engine": layer.value["engine"], "places": places}


def planned(folder: str, options: Mapping[str, Any], job: str) -> Iterator[dict[str, Any]]:
    """Plans a job alone as a run would. Yields nothing in a mapping, or ``problems`` and ``exit_code``. Called in a
    process of its own."""
    try:
        make_plan(folder, only=(job,), **options)
    except AiflowError as error:
        yield {"problems": problems_to_data(error.problems), "exit_code": error.exit_code}
        return
    yield {}
