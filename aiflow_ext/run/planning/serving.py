"""Jobs that serve others: STREAM jobs with ``ready``, and the jobs that need them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiflow_ext.model.config import BaseJobConfig, Ready
from aiflow_ext.model.errors import Problem
from aiflow_ext.model.states import ExecutionMode
from aiflow_ext.run.planning.plan import PlannedJob
from aiflow_ext.translate.split import JobEdge


def ready_of(config: BaseJobConfig) -> Ready | None:
    """When a job that serves others is ready; None for any other job."""
    # A plugin's config type of its own may have anything under this name.
    return config.ready if isinstance(config.ready, Ready) else None


def condition(edge: JobEdge, mode: ExecutionMode) -> str:
    """What a job waits for: the state in which an upstream with this exec mode has to be."""
    return edge.when or ("running" if mode is ExecutionMode.STREAM and not edge.data else "finished")


def users_of(jobs: Mapping[str, PlannedJob]) -> dict[str, set[str]]:
    """By job that serves others, the jobs that need it to run."""
    users: dict[str, set[str]] = {name: set() for name, job in jobs.items() if ready_of(job.config) is not None}
    if users:
        for name, job in jobs.items():
            for edge in job.edges:
                if edge.source in users and condition(edge, jobs[edge.source].config.exec_mode) == "running":
                    users[edge.source].add(name)
    return users


def with_servers(jobs: Mapping[str, PlannedJob], again: Iterable[str]) -> set[str]:
    """These jobs, which run again, and those that serve them."""
    found, serving = set(again), users_of(jobs)
    while more := {name for name, users in serving.items() if name not in found and users & found}:
        found |= more
    return found


def check_ready(jobs: Iterable[PlannedJob]) -> list[Problem]:
    """Jobs that cannot have ``ready``: those that end by themselves, and those whose plugin cannot check it."""
    problems = []
    for job in jobs:
        if ready_of(job.config) is None:
            continue
        if job.config.exec_mode is not ExecutionMode.STREAM:
            words = f"job {job.name!r}: ready is for a STREAM job, which serves others until they have ended"
            problems.append(Problem(words, job.where("ready"), "write exec_mode: STREAM, or take ready out"))
        elif "is_ready" not in job.resolved.offers:
            pair = f"{job.resolved.platform}.{job.resolved.engine}"
            words = f"job {job.name!r}: job plugin {pair} cannot check whether a job is ready"
            hint = "take ready out: jobs that wait for it then start when it runs, and it runs until it is stopped"
            problems.append(Problem(words, job.where("ready"), hint))
    return problems
