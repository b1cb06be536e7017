"""Jobs that serve others: STREAM jobs with ``ready``, and the jobs that need them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from aiflow_ext.model.config import BaseJobConfig, Ready
from aiflow_ext.model.errors import Problem
from aiflow_ext.model.states import ExecutionMode
from aiflow_ext.run.planning.plan import Plan, PlannedJob
from aiflow_ext.translate.split import JobEdge


def ready_of(config: BaseJobConfig) -> Ready | None:
    """When a job that serves others is ready; None for any other job."""
    # A plugin's config type of its own may have anything under this name.
    return config.ready if isinstance(config.ready, Ready) else None


def condition(edge: JobEdge, mode: ExecutionMode) -> str:
    """What a job waits for: the state in which an upstream with this exec mode has to be."""
    return edge.when or ("running" if mode is ExecutionMode.STREAM and not edge.data else "finished")


def awaited(edge: JobEdge, plan: Plan) -> str:
    """The same in words, of a plan's edge: ``ready`` where the upstream is a job that serves others."""
    upstream = plan.jobs.get(edge.source)
    if upstream is None:
        return awaited_as_written(edge, plan.settings(edge.source) or {})
    return _in_words(edge, upstream.config.exec_mode, ready_of(upstream.config) is not None)


def awaited_as_written(edge: JobEdge, upstream: Mapping[str, Any]) -> str:
    """The same, given the upstream's config as it was written."""
    is_stream = str(upstream.get("exec_mode")).upper() == ExecutionMode.STREAM
    mode = ExecutionMode.STREAM if is_stream else ExecutionMode.BATCH
    return _in_words(edge, mode, upstream.get("ready") is not None)


def _in_words(edge: JobEdge, mode: ExecutionMode, serves: bool) -> str:
    state = condition(edge, mode)
    return "ready" if state == "running" and serves else state


def users_of(jobs: Mapping[str, PlannedJob]) -> dict[str, set[str]]:
    """By job that serves others, the jobs that need it to run; one that no job needs is not there."""
    users: dict[str, set[str]] = {name: set() for name, job in jobs.items() if ready_of(job.config) is not None}
    if users:
        for name, job in jobs.items():
            for edge in job.edges:
                if edge.source in users and condition(edge, jobs[edge.source].config.exec_mode) == "running":
                    users[edge.source].add(name)
    return {name: found for name, found in users.items() if found}


def with_servers(jobs: Mapping[str, PlannedJob], again: Iterable[str]) -> set[str]:
    """These jobs, which run again, and those that serve them."""
    found, serving = set(again), users_of(jobs)
    while more := {name for name, users in serving.items() if name not in found and users & found}:
        found |= more
    return found


def _waiting_for_their_own_end(jobs: Mapping[str, PlannedJob]) -> Iterator[Problem]:
    followers: dict[str, list[str]] = {}
    for name, job in jobs.items():
        for edge in job.edges:
            followers.setdefault(edge.source, []).append(name)
    for server, users in users_of(jobs).items():
        after: dict[str, str] = {}  # by job that starts after the server's end, the first such job on the way to it
        found = [(name, name) for name in followers.get(server, ()) if _waits_for_end(jobs[name], jobs[server])]
        while found:
            name, first = found.pop()
            if name not in after:
                after[name] = first
                found += [(each, first) for each in followers.get(name, ())]
        for name in sorted(users & after.keys()):
            way = "" if after[name] == name else f", after job {after[name]!r},"
            words = (
                f"job {name!r} needs {server!r} and waits{way} for its end, which comes when no job needs it any more"
            )
            where = next(edge.where for edge in jobs[name].edges if edge.source in (server, after[name]))
            yield Problem(words, where, "leave one of the two out: as it is, neither would come about")


def _waits_for_end(job: PlannedJob, server: PlannedJob) -> bool:
    edges = [edge for edge in job.edges if edge.source == server.name]
    return any(condition(edge, server.config.exec_mode) != "running" for edge in edges)


def check_ready(jobs: Mapping[str, PlannedJob]) -> list[Problem]:
    """Jobs that cannot have ``ready``: those that end by themselves, and those whose plugin cannot check it; and jobs
    that need one of them and wait for its end, which comes after theirs."""
    problems = list(_waiting_for_their_own_end(jobs))
    for job in jobs.values():
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
