"""What jobs ask of the machine or cluster that they run on: whether their platform gives it, and whether it exists."""

from __future__ import annotations

from collections.abc import Iterable

from aiflow_ext.model.errors import Problem
from aiflow_ext.model.resources import RESOURCES, Resources, cpu_text, memory_text
from aiflow_ext.run.planning.plan import PlannedJob
from aiflow_ext.translate.job_config import takes


def demand_of(job: PlannedJob) -> Resources:
    """What a job asks for."""
    config = job.config
    return Resources(config.cpu, config.memory, config.gpu)


def capacities_of(jobs: Iterable[PlannedJob]) -> dict[str, Resources]:
    """By platform, what these jobs share of the client's machine; only platforms whose jobs ask for something, and that
    have such a limit."""
    platforms = {job.resolved.platform: job.resolved.plugin.platform() for job in jobs if any(demand_of(job))}
    found = {name: platform.capacity() for name, platform in platforms.items()}
    return {name: capacity for name, capacity in found.items() if capacity is not None}


def check_demands(jobs: Iterable[PlannedJob]) -> list[Problem]:
    """Problems of jobs that ask for what their platform does not give, or for more than the machine has."""
    asking = [job for job in jobs if any(demand_of(job))]
    capacities = capacities_of(asking)
    problems = []
    for job in asking:
        platform = job.resolved.platform
        given = job.resolved.plugin.platform().resources
        capacity = capacities.get(platform, Resources())
        for name, wanted, most in zip(RESOURCES, demand_of(job), capacity, strict=True):
            if not wanted:
                continue
            if name not in given and not takes(job.resolved.config_type, name):
                message = f"job {job.name!r} asks for {name}, which platform {platform!r} does not give to jobs"
                hint = f"take {name} away, or put it under platforms: {{NAME: {{{name}: ...}}}} of one that does"
                problems.append(Problem(message, job.where(name), hint))
            elif most is not None and wanted > most:
                message = f"job {job.name!r} asks for {_amount(name, wanted)}; this machine has {_amount(name, most)}"
                hint = f"ask for less, run it elsewhere, or say platforms: {{{platform}: {{{name}: ...}}}}"
                problems.append(Problem(message, job.where(name), hint))
    return problems


def _amount(name: str, value: float) -> str:
    """``2Gi of memory``, ``500m cpu``, ``no gpu``."""
    if name == "memory":
        return f"{_rounded(int(value))} of memory"
    return f"{cpu_text(value)} cpu" if name == "cpu" else f"{value:g} gpu" if value else "no gpu"


def _rounded(size: int) -> str:
    """Bytes as text; what a machine has is a number that no unit fits exactly: cut to MiB."""
    return memory_text(size - size % 1024**2 if size > 1024**2 else size)
