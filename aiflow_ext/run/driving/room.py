"""Whether a job fits on the client's machine beside the run's other jobs, by what each of them asks for."""

from __future__ import annotations

from collections.abc import Mapping

from aiflow_ext.model.resources import Resources
from aiflow_ext.model.states import ExecutionMode
from aiflow_ext.run.driving.attempt import Attempt
from aiflow_ext.run.planning.demands import demand_of
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
        capacities: Mapping[str, Resources],
        live: Mapping[str, Attempt],
    ) -> None:
        self._plan, self._jobs, self._capacities, self._live = plan, jobs, capacities, live
        self._asking: dict[str, str] = {}  # by job, its platform
        self._streams: set[str] = set()
        for name, job in plan.jobs.items() if capacities else ():
            if any(demand_of(job)) and job.resolved.platform in capacities:
                self._asking[name] = job.resolved.platform
                if job.config.exec_mode is ExecutionMode.STREAM:
                    self._streams.add(name)

    def asks(self, job: str) -> bool:
        """Whether a job asks for something that has to be free."""
        return job in self._asking

    def has(self, job: str) -> bool:
        """Whether what a job asks for is free, or nothing that would free it is to be waited for: no other job runs
        that asks, or only STREAM jobs, which do not end by themselves."""
        platform = self._asking[job]
        others = [each for each in self._live.values() if self._asking.get(each.planned.name) == platform]
        if self._streams.issuperset(each.planned.name for each in others):
            return True
        demand = demand_of(self._plan.jobs[job], self._jobs[job].attempts)
        used = [self._demand_of(attempt) for attempt in others]
        for wanted, most, taken in zip(demand, self._capacities[platform], zip(*used, strict=True), strict=True):
            # Rounded, because a sum of fractions of a core is not exact.
            if wanted and most is not None and round(wanted + sum(each or 0 for each in taken), 3) > most:
                return False
        return True

    def _demand_of(self, attempt: Attempt) -> Resources:
        return demand_of(attempt.planned, self._jobs[attempt.planned.name].attempts[: attempt.record.number - 1])
