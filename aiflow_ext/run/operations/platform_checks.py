"""Plans a project and checks its platforms: called by :mod:`~aiflow_ext.run.operations.doctor`, each in a process of
its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiflow_ext.host import secrets
from aiflow_ext.host.isolated import Outcome
from aiflow_ext.host.trial import unanswered
from aiflow_ext.model.errors import AiflowError, Problem
from aiflow_ext.run.operations.render import check_secrets
from aiflow_ext.run.planning.job_views import jobs_by_plugin
from aiflow_ext.run.planning.make_plan import make_plan
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.platforms.once_a_run import problems_of
from aiflow_ext.run.platforms.plugin_adapter import adapter_for
from aiflow_ext.run.store.state_folder import state_folder
from aiflow_ext.translate.project import Project

_SHORTEST = 60.0  # seconds: imports are given less, but a cluster may take so long to answer


def limit_for(imports: float) -> float:
    """Seconds that planning a project, and a platform's check, may take where an import may take so many."""
    return max(_SHORTEST, imports)


def unplanned(project: Project, outcome: Outcome, limit: float) -> Problem:
    """The problem of a project whose planning has given no answer within ``limit`` seconds."""
    words = unanswered(f"project {project.name!r}", outcome, limit, "plans", "planned")
    hint = "look at what workflow.py does as it is imported, or give it more time: --limit SECONDS"
    return Problem(words, str(project.workflow_py), hint)


def job_plugins(folder: str, options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Plan the project as a run does, extensions included.

    Yields its job plugins (``plugins``, each with ``platform``, ``engine`` and ``jobs``), or what ``run`` would
    refuse: ``problems`` and ``exit_code``.
    """
    try:
        plan = make_plan(folder, **options)
        check_secrets(plan)
        plan.host.extensions(plan.extensions.require)
    except AiflowError as error:
        yield {"problems": problems_to_data(error.problems), "exit_code": error.exit_code}
        return
    of_plugin: dict[tuple[str, str], list[str]] = {}
    for name, planned in plan.jobs.items():
        of_plugin.setdefault((planned.resolved.platform, planned.resolved.engine), []).append(name)
    yield {"plugins": [{"platform": platform, "engine": engine, "jobs": jobs}
                        for (platform, engine), jobs in of_plugin.items()]}  # fmt: skip


def check(folder: str, options: Mapping[str, Any], job: str) -> Iterator[list[dict[str, Any]]]:
    """Yields the problems that ``check_platform`` of this job's plugin finds for all its jobs."""
    plan = make_plan(folder, **options)
    secrets.use(plan.host)
    planned = plan.jobs[job]
    adapter = adapter_for(planned, plan.desc)
    problems = problems_of(adapter, _jobs_of(plan, job), may_wait=False)
    yield problems_to_data([plan.located(problem) for problem in problems])


def _jobs_of(plan: Plan, job: str) -> Any:
    """The jobs of a job's plugin."""
    resolved = plan.jobs[job].resolved
    names = {name for name, planned in plan.jobs.items() if planned.resolved is resolved}
    home = state_folder(plan.desc.root) / "runs" / "doctor"  # a path; nothing is made there
    (jobs,) = jobs_by_plugin(plan, "doctor", home, names).values()
    return jobs


def problems_to_data(problems: Any) -> list[dict[str, Any]]:
    """Problems as JSON types."""
    return [{"message": each.message, "where": each.where, "hint": each.hint} for each in problems]


def problem_of(data: Mapping[str, Any]) -> Problem:
    """The problem that ``problems_to_data`` has made data of."""
    return Problem(data["message"], data["where"], data["hint"])
