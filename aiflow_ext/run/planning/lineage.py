"""The lineage of artifacts: inputs that are read together must come from the same attempts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiflow_ext.model.errors import Problem
from aiflow_ext.model.states import JobState
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.store.records import Input, RunRecord, Source
from aiflow_ext.run.store.store import Store


def made(record: RunRecord, job: str) -> list[Source]:
    """The attempt by which a run has finished a job; None if it has not."""
    own = record.jobs.get(job)
    if own is None or own.state is not JobState.FINISHED or own.last is None:
        return []
    return [Source(job, record.run_id, own.last.number)]


def made_or_read(record: RunRecord, job: str) -> list[Source]:
    """The attempt by which a run has finished a job; or, if it had no such job, those of earlier runs whose artifacts
    it read."""
    if job in record.jobs:
        return made(record, job)
    return list(dict.fromkeys(source for given in record.inputs for source in (given.source, *given.behind)
                              if source.job == job))  # fmt: skip


def behind(store: Store, source: Source) -> tuple[Source, ...]:
    """The attempts that a finished job's artifacts were made from, as far as they are recorded."""
    try:
        record = store.run(source.run)
    except KeyError:  # removed since
        return ()
    found: dict[Source, None] = {}
    waiting, seen = [source.job], {source.job}
    while waiting:
        name = waiting.pop()
        for given in record.inputs:
            if given.job == name:
                found.update(dict.fromkeys((given.source, *given.behind)))
        for edge in store.planned(record.run_id, [name])[name]["edges"]:
            upstream = record.jobs.get(edge["source"])
            if edge["data"] and upstream is not None and upstream.last is not None and upstream.name not in seen:
                seen.add(upstream.name)
                waiting.append(upstream.name)
                found[Source(upstream.name, record.run_id, upstream.last.number)] = None
    return tuple(found)


def conflicts(store: Store, plan: Plan, inputs: Sequence[Input], only: Sequence[str]) -> list[Problem]:
    """Inputs that a job would read together although they were made from different attempts of one job.

    Args:
        store: the project's store.
        plan: the whole workflow's plan.
        inputs: what each job of the new run reads of earlier ones.
        only: the jobs of the new run.
    """
    problems = []
    for name in only:
        used = [given for given in inputs if given.job in _upstream_in(plan, name, only)]
        problem = (_two_of_one_job(plan, name, used, only) or _other_properties(store, plan, name, used)
                   or _other_parameters(store, name, used))  # fmt: skip
        if problem is not None:
            problems.append(problem)
    return problems


def _two_of_one_job(plan: Plan, name: str, used: Sequence[Input], only: Sequence[str]) -> Problem | None:
    """The problem that the inputs of ``name`` derive from one job's artifacts of two runs, or of two attempts."""
    known: dict[str, tuple[Source | None, Input | None]] = dict.fromkeys(_upstream_in(plan, name, only), (None, None))
    for given in used:
        for source in (given.source, *given.behind):
            before, by = known.setdefault(source.job, (source, given))
            if before != source:
                made_anew = given if source is not given.source or by is None else by
                return Problem(
                    f"job {name!r} would read what does not belong together: {_come_from(source, given)}, and "
                    f"{_come_from(before, by) if before and by else f'{source.job!r} is made in this run'}",
                    hint=f"add {made_anew.source.job!r} to --only, so that both are made from the same",
                )
    return None


def _come_from(source: Source, by: Input) -> str:
    words = f"{source.job!r} of {_run_of(source)}"
    if source == by.source:
        return f"it reads {words}"
    return f"{by.source.job!r} of {_run_of(by.source)} was made from {words}"


def _other_properties(store: Store, plan: Plan, name: str, used: Sequence[Input]) -> Problem | None:
    """The problem that a property which two jobs share in the workflow had different values in the runs that are
    read."""
    seen: dict[tuple[str, str], tuple[Any, Source]] = {}
    for source in dict.fromkeys(each for given in used for each in (given.source, *given.behind)):
        settings = plan.settings(source.job)
        if settings is None:
            continue
        then = _properties(store, source)
        for key, value in _mapping(settings.get("properties")).items():
            if key not in then:
                continue
            before, other = seen.setdefault((key, repr(value)), (then[key], source))
            if before != then[key] and other.run != source.run:
                return Problem(
                    f"job {name!r} would read what does not belong together: {source.job!r} is of {_run_of(source)}, "
                    f"which had {key}={then[key]}, and {other.job!r} of {_run_of(other)}, which had {key}={before}",
                    hint=f"add {other.job!r} or {source.job!r} to --only, so that it is made again",
                )
    return None


def _other_parameters(store: Store, name: str, used: Sequence[Input]) -> Problem | None:
    """The problem that a parameter of the workflow had different values in the runs that are read."""
    seen: dict[str, tuple[Any, Source]] = {}
    runs = {source.run: source for given in used for source in (given.source, *given.behind)}
    for run, source in runs.items() if len(runs) > 1 else ():
        for each in store.run(run).provenance.get("parameters", ()):
            if each["jobs"]:  # a property of these jobs
                continue
            before, other = seen.setdefault(each["name"], (each["value"], source))
            if before != each["value"]:
                return Problem(
                    f"job {name!r} would read what does not belong together: {source.job!r} is of {_run_of(source)}, "
                    f"which had {each['name']}={each['value']}, and {other.job!r} of {_run_of(other)}, which had "
                    f"{each['name']}={before}",
                    hint=f"add {other.job!r} or {source.job!r} to --only, so that it is made again",
                )
    return None


def _properties(store: Store, source: Source) -> Mapping[str, Any]:
    planned = store.planned(source.run, [source.job])
    return _mapping(planned[source.job]["settings"].get("properties")) if source.job in planned else {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _upstream_in(plan: Plan, name: str, only: Sequence[str]) -> list[str]:
    """A job of the new run, and all of that run that its data comes from."""
    found = [name]
    for each in found:
        found += [edge.source for edge in plan.jobs[each].edges
                  if edge.data and edge.source in only and edge.source not in found]  # fmt: skip
    return found


def _run_of(source: Source) -> str:
    return f"run {source.run}" + (f" (attempt {source.attempt})" if source.attempt > 1 else "")
