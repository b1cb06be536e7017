"""Restricts a plan to some jobs: their inputs from other jobs come from an earlier run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from aiflow_ext.model.errors import ConfigError, Problem
from aiflow_ext.model.graph import DataEdge
from aiflow_ext.model.names import artifact_key, artifact_url
from aiflow_ext.model.spelling import near
from aiflow_ext.run.planning.lineage import behind, conflicts, made, made_or_read
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.store.find import LATEST, ambiguous
from aiflow_ext.run.store.records import Input, RunRecord, Source
from aiflow_ext.run.store.store import Store
from aiflow_ext.translate.check import listed


def restrict(plan: Plan, only: Sequence[str], store: Store, from_run: str | None) -> tuple[Plan, list[Input]]:
    """The plan with these jobs only, and their inputs from earlier runs.

    Args:
        plan: the whole workflow's plan.
        only: the jobs' keys.
        store: has the earlier runs.
        from_run: the run, by its id, the beginning of one or ``latest``, whose artifacts are read, and those that it
            has read itself; None for the latest run of the same workflow that has finished the needed job.

    Raises ConfigError for a job that the workflow lacks, if no earlier run has an input, and if the inputs of a job
    were made from different attempts of one job.
    """
    problems: list[Problem] = []
    for name in only:
        if name not in plan.jobs:
            hint = near(name, plan.names) or f"its jobs are {listed(plan.names)}"
            problems.append(Problem(f"the workflow has no job {name!r}", f"--only {name}", hint))
    if problems:
        raise ConfigError(problems=problems)
    only = [name for name in plan.jobs if name in only]
    needed: dict[str, list[DataEdge]] = {}
    for name in only:
        for edge in plan.jobs[name].sub_graph.inputs:
            upstream, _ = plan.source(edge.source)
            if upstream not in only:
                needed.setdefault(upstream, []).append(edge)
    sources = _sources(plan, needed, _runs(store, plan.workflow, from_run), named=from_run is not None)
    given: dict[str, str] = {}
    inputs: dict[tuple[str, str], Input] = {}
    for upstream, edges in needed.items():
        source = sources.get(upstream)
        for edge in edges:
            reader, _ = plan.source(edge.target)
            if source is not None:
                given[artifact_key(edge.source, edge.output)] = _url(plan, source, edge)
                inputs.setdefault((reader, upstream), Input(reader, source, behind(store, source)))
                continue
            where = f"run {from_run!r}" if from_run else "any earlier run of this workflow"
            problems.append(
                Problem(
                    f"job {reader!r} reads {edge.source!r}, and job {upstream!r} has not finished in {where}, "
                    "or what it made there is gone",
                    hint="run the whole workflow first, name a run with --from-run, or add the job to --only",
                )
            )
    problems = problems or conflicts(store, plan, list(inputs.values()), only)
    if problems and given:
        whole = _whole(plan, needed, _runs(store, plan.workflow, None))
        for each in problems if whole is not None else ():
            each.hint = f"{each.hint}; or read all from one run: --from-run {whole}"
    if problems:
        raise ConfigError(problems=problems)
    return plan.restricted(only, given), list(inputs.values())


def _runs(store: Store, workflow: str, from_run: str | None) -> Iterator[RunRecord]:
    """The runs whose artifacts may be read, the latest first."""
    found = [run["run"] for run in store.runs() if run["workflow"] == workflow]
    if from_run is not None:
        if from_run == LATEST:
            found = found[:1]
        else:
            begin = [run for run in found if run.startswith(from_run)]
            found = [run for run in begin if run == from_run] or begin
        if not found:
            raise ConfigError(f"this project has no run {from_run!r} of workflow {workflow!r}",
                              hint="aiflow-ext runs lists them")  # fmt: skip
        if len(found) > 1:
            raise ambiguous(from_run, found, "give more of the id")
    return map(store.run, found)


def _sources(
    plan: Plan, needed: dict[str, list[DataEdge]], runs: Iterator[RunRecord], *, named: bool
) -> dict[str, Source]:
    """By job, the attempt whose artifacts are read: of the first run that has all the needed artifacts of that job; for
    a run that was ``named``, also those that it has read itself."""
    found: dict[str, Source] = {}
    while len(found) < len(needed) and (record := next(runs, None)) is not None:
        for job in needed.keys() - found.keys():
            for source in made_or_read(record, job) if named else made(record, job):
                if all(_is_there(_url(plan, source, edge)) for edge in needed[job]):
                    found[job] = source
                    break
    return found


def _whole(plan: Plan, needed: dict[str, list[DataEdge]], runs: Iterator[RunRecord]) -> str | None:
    """The latest run that has made or read all needed artifacts."""
    for record in runs:
        if len(_sources(plan, needed, iter([record]), named=True)) == len(needed):
            return record.run_id
    return None


def _url(plan: Plan, source: Source, edge: DataEdge) -> str:
    base, (_, node) = plan.desc.artifacts.rstrip("/"), plan.source(edge.source)
    return artifact_url(f"{base}/{source.run}", source.job, source.attempt, node, edge.output)


def _is_there(url: str) -> bool:
    return "://" in url or Path(f"{url}.json").exists()
