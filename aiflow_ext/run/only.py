"""Some jobs of a workflow alone: what the others would have given them comes from an earlier run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aiflow_ext.model.errors import ConfigError, Problem
from aiflow_ext.model.names import artifact_key, artifact_url
from aiflow_ext.model.states import JobState
from aiflow_ext.run.find import LATEST, ambiguous
from aiflow_ext.run.plan import Plan
from aiflow_ext.run.records import RunRecord
from aiflow_ext.run.store import Store
from aiflow_ext.translate.check import listed, near


def restrict(plan: Plan, only: Sequence[str], store: Store, from_run: str | None) -> Plan:
    """The plan with these jobs alone.

    Args:
        plan: the whole workflow's plan.
        only: the jobs' keys.
        store: where earlier runs are looked for.
        from_run: the run, by its id, the beginning of one or ``latest``, whose artifacts are read; None for the latest
            run of the same workflow in which the job that is needed has finished.

    Raises ConfigError for a job that the workflow lacks, and where no earlier run has what a job reads.
    """
    problems: list[Problem] = []
    for name in only:
        if name not in plan.jobs:
            hint = near(name, plan.jobs) or f"its jobs are {listed(plan.jobs)}"
            problems.append(Problem(f"the workflow has no job {name!r}", f"--only {name}", hint))
    if problems:
        raise ConfigError(problems=problems)
    earlier = _runs(store, plan.workflow, from_run)
    given: dict[str, str] = {}
    for name in only:
        for edge in plan.jobs[name].sub_graph.inputs:
            upstream, node = plan.source(edge.source)
            if upstream in only:
                continue
            url = _found(plan, earlier, upstream, node, edge.output)
            if url is None:
                where = f"run {from_run!r}" if from_run else "any earlier run of this workflow"
                problems.append(
                    Problem(
                        f"job {name!r} reads {edge.source!r}, and job {upstream!r} has not finished in {where}, "
                        "or what it made there is gone",
                        hint="run the whole workflow first, name a run with --from-run, or add the job to --only",
                    )
                )
            else:
                given[artifact_key(edge.source, edge.output)] = url
    if problems:
        raise ConfigError(problems=problems)
    return plan.restricted(only, given)


def _runs(store: Store, workflow: str, from_run: str | None) -> list[RunRecord]:
    """The runs to look in, the latest first."""
    found = [run for run in store.runs() if run["workflow"] == workflow]
    if from_run is not None:
        if from_run == LATEST:
            found = found[:1]
        else:
            begin = [run for run in found if run["run"].startswith(from_run)]
            found = [run for run in begin if run["run"] == from_run] or begin
        if not found:
            raise ConfigError(f"this project has no run {from_run!r} of workflow {workflow!r}",
                              hint="aiflow-ext runs lists them")  # fmt: skip
        if len(found) > 1:
            raise ambiguous(from_run, [run["run"] for run in found], "give more of the id")
    return [store.run(run["run"]) for run in found]


def _found(plan: Plan, runs: Sequence[RunRecord], job: str, node: str, output: str | None) -> str | None:
    base = plan.desc.artifacts.rstrip("/")
    for record in runs:
        upstream = record.jobs.get(job)
        if upstream is None or upstream.state is not JobState.FINISHED or upstream.last is None:
            continue
        url = artifact_url(f"{base}/{record.run_id}", job, upstream.last.number, node, output)
        if "://" in url or Path(f"{url}.json").exists():
            return url
    return None
