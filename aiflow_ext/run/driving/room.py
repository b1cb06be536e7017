"""Whether a job fits on the client's machine beside the run's other jobs, by what each of them asks for."""

from __future__ import annotations

from collections.abc import Mapping

from aiflow_ext.model.resources import Capacity, Resources
from aiflow_ext.model.states import ExecutionMode
from aiflow_ext.run.driving.attempt import Attempt
from aiflow_ext.run.planning.demands import asks, demand_of
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.store.records import JobRecord


class Room:
    """What the jobs of a run leave of the machine for others.

    Jobs that ask for nothing are not counted, nor are those of platforms without a capacity.

    Args:
        plan: the jobs.
        jobs: their records, by name.
        capacities: by platform, what its jobs share.
        live: the attempts that have not ended.
    """

    def __init__(
        self,
        plan: Plan,
        jobs: Mapping[str, JobRecord],
        capacities: Mapping[str, Capacity],
        live: Mapping[str, Attempt],
    ) -> None:
        self._plan, self._jobs, self._capacities, self._live = plan, jobs, capacities, live
        self._asking: dict[str, str] = {}  # by job, its platform
        self._streams: set[str] = set()
        for name, job in plan.jobs.items() if capacities else ():
            if asks(job) and job.resolved.platform in capacities:
                self._asking[name] = job.resolved.platform
                if job.config.exec_mode is ExecutionMode.STREAM:
                    self._streams.add(name)

    def asks(self, job: str) -> bool:
        """Whether a job asks for something that has to be free."""
        return job in self._asking

    @property
    def with_gpus(self) -> set[str]:
        """The jobs that are given GPUs when they start."""
        return {name for name in self._asking if self._plan.jobs[name].config.gpu}

    def has(self, job: str) -> bool:
        """Whether what a job asks for is free, or nothing that would free it is to be waited for: no other job runs
        that asks, or only STREAM jobs, which do not end by themselves."""
        platform = self._asking[job]
        others = [each for each in self._live.values() if self._asking.get(each.planned.name) == platform]
        demand = demand_of(self._plan.jobs[job], self._jobs[job].attempts)
        if self._streams.issuperset(each.planned.name for each in others):
            # None of them shares a GPU.
            return not others or (demand.gpu or 0) <= len(self._free_gpus(platform))
        used = [self._demand_of(attempt) for attempt in others]
        for wanted, most, taken in zip(
            demand, self._capacities[platform].resources, zip(*used, strict=True), strict=True
        ):
            # Rounded, because a sum of fractions of a core is not exact.
            if wanted and most is not None and round(wanted + sum(each or 0 for each in taken), 3) > most:
                return False
        return True

    def _demand_of(self, attempt: Attempt) -> Resources:
        return demand_of(attempt.planned, self._jobs[attempt.planned.name].attempts[: attempt.record.number - 1])

    def gpus_for(self, job: str) -> str | None:
        """The GPUs that the next attempt of a job is given; None if it is to have none of this machine's."""
        wanted = self._plan.jobs[job].config.gpu if job in self._asking else None
        if not wanted:
            return None
        return ",".join(self._free_gpus(self._asking[job])[:wanted])

    def _free_gpus(self, platform: str) -> list[str]:
        taken = {gpu for each in self._live.values() for gpu in (each.record.gpus or "").split(",")}
        return [gpu for gpu in self._capacities[platform].gpus if gpu not in taken]
