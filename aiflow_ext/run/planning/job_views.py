"""The collections of jobs that hooks get: each job is generated on access, and not kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, ItemsView, Iterator, Mapping, Sequence, Set, ValuesView
from pathlib import Path
from typing import overload
from weakref import WeakValueDictionary

from aiflow_ext.model.errors import AiflowError, text_of
from aiflow_ext.model.job import BaseJob
from aiflow_ext.run.planning.plan import Plan, generate

_log = logging.getLogger("aiflow_ext")


class LiveJobs(Mapping[str, BaseJob]):
    """The jobs of a platform's attempts that have not ended, by native id; it changes while a watch reads it.

    Iterating over the ids, ``in`` and ``len`` generate nothing. ``jobs[native_id]`` is the same object as long as there
    is a reference to it; it raises KeyError once the attempt has ended, and what its plugin raises. ``values`` and
    ``items`` leave out attempts that end meanwhile. Reading is safe from any thread.
    """

    def __init__(self) -> None:
        self._make: dict[str, Callable[[], BaseJob]] = {}
        self._made: WeakValueDictionary[str, BaseJob] = WeakValueDictionary()

    def __getitem__(self, native_id: str) -> BaseJob:
        make = self._make[native_id]
        job = self._made.get(native_id)
        if job is None:
            job = self._made[native_id] = make()
        return job

    def __contains__(self, native_id: object) -> bool:
        return native_id in self._make

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._make))

    def __len__(self) -> int:
        return len(self._make)

    def items(self) -> ItemsView[str, BaseJob]:
        return _Items(self)

    def values(self) -> ValuesView[BaseJob]:
        return _Values(self)

    def add(self, native_id: str, make: Callable[[], BaseJob]) -> None:
        """Add an attempt; ``make`` returns its job."""
        self._make[native_id] = make

    def discard(self, native_id: str) -> None:
        """Remove an attempt, which has ended."""
        self._make.pop(native_id, None)
        self._made.pop(native_id, None)


class _Items(ItemsView[str, BaseJob]):
    def __init__(self, jobs: LiveJobs) -> None:
        super().__init__(jobs)
        self._jobs = jobs

    def __iter__(self) -> Iterator[tuple[str, BaseJob]]:
        for native_id in self._jobs:
            if (job := self._jobs.get(native_id)) is not None:
                yield native_id, job


class _Values(ValuesView[BaseJob]):
    def __init__(self, jobs: LiveJobs) -> None:
        super().__init__(jobs)
        self._jobs = jobs

    def __iter__(self) -> Iterator[BaseJob]:
        return (job for _, job in self._jobs.items())


class JobsOfRun(Sequence[BaseJob]):
    """Jobs of a run, each generated again at every access; ``len`` and slices generate nothing.

    Args:
        names: the jobs' names.
        make: generates the job of that name.
        tolerant: whether iterating leaves out, with a warning, a job that cannot be generated any more, so that a
            cleanup goes on with the others.
    """

    def __init__(self, names: Sequence[str], make: Callable[[str], BaseJob], *, tolerant: bool = False) -> None:
        self._names, self._make, self._tolerant = names, make, tolerant

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> BaseJob: ...
    @overload
    def __getitem__(self, index: slice) -> JobsOfRun: ...
    def __getitem__(self, index: int | slice) -> BaseJob | JobsOfRun:
        if isinstance(index, slice):
            return JobsOfRun(self._names[index], self._make, tolerant=self._tolerant)
        return self._make(self._names[index])

    def __iter__(self) -> Iterator[BaseJob]:
        for name in self._names:
            try:
                job = self._make(name)
            except AiflowError as error:
                if not self._tolerant:
                    raise
                _log.warning("job %s is left out of what is cleaned up: %s", name, text_of(error))
            else:
                yield job


def jobs_by_plugin(
    plan: Plan, run_id: str, folder: str | Path, names: Set[str], *, tolerant: bool = False
) -> dict[str, JobsOfRun]:
    """The jobs with these names, one sequence for each job plugin, by the name of its first job; ``tolerant`` as there.

    Their contexts are those of a first attempt, without a native id. A job that was generated while planning is
    returned, and stays available for its first attempt.
    """

    def make(name: str) -> BaseJob:
        planned = plan.jobs[name]
        made = planned.made
        job = generate(plan, planned, plan.context(name, run_id, folder))
        planned.made = made
        return job

    of_plugin: dict[int, list[str]] = {}
    for name, planned in plan.jobs.items():
        if name in names:
            of_plugin.setdefault(id(planned.resolved), []).append(name)
    return {each[0]: JobsOfRun(each, make, tolerant=tolerant) for each in of_plugin.values()}
