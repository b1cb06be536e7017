"""What jobs ask of the machine or cluster that they run on: whether their platform gives it, and whether it exists."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from aiflow_ext.model.config import BaseJobConfig
from aiflow_ext.model.errors import Problem
from aiflow_ext.model.resources import MOST_MEMORY, RESOURCES, Capacity, Resources, cpu_text, memory_text
from aiflow_ext.run.planning.plan import PlannedJob
from aiflow_ext.run.store.records import AttemptRecord
from aiflow_ext.translate.job_config import takes


def asks(job: PlannedJob) -> bool:
    """Whether a job asks for processors, memory or GPUs."""
    config = job.config
    return bool(config.cpu or config.memory or config.gpu)


def demand_of(job: PlannedJob, before: Sequence[AttemptRecord] = ()) -> Resources:
    """What the attempt of a job asks for that comes after these."""
    config = job.config
    return Resources(config.cpu, memory_of(config, before), config.gpu)


def memory_of(config: BaseJobConfig, before: Sequence[AttemptRecord]) -> int | None:
    """The memory of the attempt that comes after these, in bytes: more after each that ran out of it, as ``grow`` says.

    It follows from the records, so that any process finds the same for any attempt.
    """
    if not before or config.grow is None or config.memory is None:
        return config.memory
    times = sum(each.out_of_memory for each in before)
    most = config.grow.max or MOST_MEMORY
    size = config.memory
    for _ in range(times):
        size = min(math.ceil(size * config.grow.memory), most)
    return max(size, config.memory)


def capacities_of(jobs: Iterable[PlannedJob]) -> dict[str, Capacity]:
    """By platform, what these jobs share of the client's machine; only platforms whose jobs ask for something, and that
    have such a limit."""
    asking = [job for job in jobs if asks(job)]
    with_gpus = {job.resolved.platform for job in asking if job.config.gpu}
    found = {}
    for name, platform in {job.resolved.platform: job.resolved.plugin.platform() for job in asking}.items():
        capacity = platform.capacity()
        if capacity is not None:
            gpus = tuple(platform.gpus()) if name in with_gpus else ()
            found[name] = Capacity(capacity._replace(gpu=len(gpus)), gpus)
    return found


def check_demands(jobs: Iterable[PlannedJob], capacities: Mapping[str, Capacity]) -> list[Problem]:
    """Problems of jobs that ask for what their platform does not give, or for more than the machine has.

    Args:
        jobs: the jobs.
        capacities: theirs, of :func:`capacities_of`.
    """
    jobs = list(jobs)
    problems = [problem for job in jobs if job.config.grow is not None for problem in _growth_problems(job)]
    for job in filter(asks, jobs):
        platform = job.resolved.platform
        given = job.resolved.plugin.platform().resources
        capacity = capacities[platform].resources if platform in capacities else Resources()
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


def _growth_problems(job: PlannedJob) -> Iterator[Problem]:
    grow, memory = job.config.grow, job.config.memory
    if grow is None:
        return
    if memory is None:
        message = f"job {job.name!r} says how its memory grows, and not from how much"
        yield Problem(message, job.where("grow"), "add memory: SIZE")
    elif grow.max is not None and grow.max < memory:
        message = (
            f"job {job.name!r} is to grow to {memory_text(grow.max)} at most, and begins with {memory_text(memory)}"
        )
        yield Problem(message, job.where("grow", "max"), "give a max that is greater than memory")


def _amount(name: str, value: float) -> str:
    """``2Gi of memory``, ``500m cpu``, ``no gpu``."""
    if name == "memory":
        return f"{_rounded(int(value))} of memory"
    return f"{cpu_text(value)} cpu" if name == "cpu" else f"{value:g} gpu" if value else "no gpu"


def _rounded(size: int) -> str:
    """Bytes as text; what a machine has is a number that no unit fits exactly: cut to MiB."""
    return memory_text(size - size % 1024**2 if size > 1024**2 else size)
