"""Gives a run its project as it is today: code, config and graph, for whatever of it is to run again."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from aiflow_ext.model.errors import ConfigError, Problem, StateError
from aiflow_ext.model.names import artifact_key, local_path
from aiflow_ext.model.spelling import near
from aiflow_ext.model.states import JobState
from aiflow_ext.run.operations.again import jobs_again
from aiflow_ext.run.operations.cleaning import cleanup_run
from aiflow_ext.run.operations.differences import differences, side_of_plan, side_of_run
from aiflow_ext.run.operations.observe import Observed
from aiflow_ext.run.operations.refresh import bring_up_to_date
from aiflow_ext.run.operations.render import check_recorded
from aiflow_ext.run.planning.make_plan import make_plan
from aiflow_ext.run.planning.plan import Plan, PlannedJob
from aiflow_ext.run.planning.plan_codec import StoredPlan, plan_to_data
from aiflow_ext.run.planning.serving import with_servers
from aiflow_ext.run.planning.snapshot import WHOLE, copy_aside, settle_copies
from aiflow_ext.run.store.ledger import Ledger
from aiflow_ext.run.store.records import JobRecord, RunRecord
from aiflow_ext.run.store.store import Store
from aiflow_ext.translate.check import listed
from aiflow_ext.translate.files import files_of

_log = logging.getLogger("aiflow_ext")
NOT_IN_WORKFLOW = "no longer in the workflow"


def update_run(
    record: RunRecord,
    store: Store,
    stored: StoredPlan,
    options: dict[str, Any],
    *,
    failed: bool,
    from_job: str | None,
) -> Plan:
    """Plan the project as it is today, and reopen the run with that. The caller holds the run's lock.

    A job that has FINISHED and does not run again stays as it is, with its results. All others get today's code,
    config and edges; those that are new are added; those that are gone are SKIPPED, unless they have FINISHED.

    Args:
        record: the run's record, which is brought up to date.
        store: the project's store.
        stored: the run's plan until now.
        options: the run's options, with what ``--set`` and ``-p`` gave.
        failed: jobs that have not finished get a new attempt.
        from_job: this job gets one, and every job after it, in today's graph or the one before.

    Returns the plan, which is on record. Raises StateError while a job of the run runs, ConfigError where today's graph
    does not fit what is kept, and the errors of planning: nothing has been changed then.
    """
    before = stored.whole()
    if record.ended_at is None:
        bring_up_to_date(record, store, stored)
    if going := [attempt.job for attempt in record.live()]:
        raise StateError(
            f"{listed(going)} of run {record.run_id} has not ended yet",
            hint=f"let it end (aiflow-ext resume {record.run_id}) or stop it (aiflow-ext stop {record.run_id}), then "
            "give the run today's project",
        )
    today = _today(record, before, options)
    check_recorded(today)
    if from_job is not None and from_job not in today.jobs:
        raise _missing(from_job, record, today)
    again = jobs_again(record, [before, today], failed=failed, from_job=from_job)
    again |= with_servers(today.jobs, again | (today.jobs.keys() - record.jobs.keys())) & record.jobs.keys()
    kept = {name: job for name, job in before.jobs.items() if name not in today.jobs or _stays(name, record, again)}
    ours = {name: kept.get(name, job) for name, job in today.jobs.items()}
    plan = today.with_jobs({**ours, **kept})
    plan.capacities = None  # those that are kept may be on other platforms
    if problems := list(_misfits(plan, record, [job for name, job in today.jobs.items() if name not in kept])):
        raise ConfigError(problems=problems)
    is_other = _tell(record, store, today, kept)
    _change(plan, record, store, before, options, again & today.jobs.keys(), is_other=is_other)
    return plan


def _stays(name: str, record: RunRecord, again: Collection[str]) -> bool:
    return record.jobs[name].state is JobState.FINISHED and name not in again


def _today(record: RunRecord, before: Plan, options: dict[str, Any]) -> Plan:
    """The run's workflow as the project has it today; of a run of some jobs alone, those."""
    given: dict[str, Any] = {"workflow": record.workflow}
    given |= {key: options[key] for key in ("sets", "params", "config", "profile") if key in options}
    if record.inputs or before.given:
        today = make_plan(record.project, only=list(before.jobs), **given)
        today = today.restricted(list(before.jobs), before.given)
    else:
        today = make_plan(record.project, **given)
    today.desc.artifacts = before.desc.artifacts  # where the results of the jobs that are kept are
    return today


def _misfits(plan: Plan, record: RunRecord, jobs: Collection[PlannedJob]) -> Iterator[Problem]:
    """What jobs with today's graph read of jobs that are kept, and those have not."""
    for job in jobs:
        context = None
        for edge in job.sub_graph.inputs:
            key = artifact_key(edge.source, edge.output)
            if key in plan.given:
                continue
            try:
                source, _ = plan.source(edge.source)
            except KeyError:
                source = edge.source.partition("/")[0]
            else:
                kept = record.jobs.get(source)
                if kept is None or kept.state is not JobState.FINISHED or plan.jobs[source] in jobs:
                    continue
                finished = {name: each.last.number for name, each in record.jobs.items() if each.last is not None}
                context = context or plan.context(job.name, record.run_id, record.folder, finished=finished)
                path = local_path(context.inputs[key])
                if path is None or os.path.exists(f"{path}.json"):
                    continue
            where = next((each.where for each in job.edges if each.source == source and each.where), None)
            hint = f"let job {source!r} run again, too: --from {source}" if source in plan.jobs else None
            yield Problem(f"job {job.name!r} reads {key!r}, which job {source!r} of run {record.run_id} has not kept",
                          where, hint)  # fmt: skip


def _missing(name: str, record: RunRecord, today: Plan) -> ConfigError:
    """The error for a job that today's workflow does not have."""
    hint = near(name, today.names) or f"its jobs are {listed(today.names)}"
    if name in record.jobs:
        return ConfigError(f"job {name!r} of run {record.run_id} is {NOT_IN_WORKFLOW}", hint=hint)
    return ConfigError(f"neither run {record.run_id} nor the workflow has a job {name!r}", hint=hint)


def _tell(record: RunRecord, store: Store, today: Plan, kept: Collection[str]) -> bool:
    """Say what the run goes on with that differs from what it was started with; returns whether anything does."""
    found = differences(side_of_run(Observed(store, record.run_id)), side_of_plan(today))
    told = {"changed files": [each["file"] for each in found["code"]], "new jobs": found["graph"]["added"],
            NOT_IN_WORKFLOW: found["graph"]["removed"]}  # fmt: skip
    for each in found["config"]:
        for job in each["jobs"]:
            if job not in kept:
                told.setdefault(f"config of {job}", []).append(each["key"])
    told["versions"] = [f"{name} {then} -> {now}" for name, (then, now) in found["versions"].items()]
    words = [f"{what}: {listed(names)}" for what, names in told.items() if names]
    _log.warning("run %s goes on with today's project: %s", record.run_id, "; ".join(words) or "nothing has changed")
    return bool(words) or bool(found["parameters"]) or any(found["graph"].values())


def _change(
    plan: Plan,
    record: RunRecord,
    store: Store,
    before: Plan,
    options: dict[str, Any],
    again: Collection[str],
    *,
    is_other: bool,
) -> None:
    """Have the run go on with another plan: on its platforms, in its folder, and on record.

    It is one commit by which plan and jobs are others, and it names the files that fit them: if this process is killed
    before that, the run is as it was; if it is killed later, the next driver puts these files into their place.
    """
    home = Path(record.folder)
    if record.ended_at is None:
        cleanup_run(before, record.run_id, home)  # what was sent once for the run is sent anew
    else:
        store.requests.drop(record.run_id)  # those to the run that had ended do not apply to this one
    copy = copy_aside(plan, home)
    ledger = Ledger(record, store)
    for name, job in record.jobs.items():
        if plan.jobs[name] is before.jobs[name] and job.state is not JobState.FINISHED:
            ledger.skip(job, NOT_IN_WORKFLOW)
    known = record.jobs
    record.jobs = {name: _record_of(job, known.get(name), name in again) for name, job in plan.jobs.items()}
    record.state, record.ended_at = JobState.RUNNING, None
    # Where nothing is other, what ran before has run from the code and config that are kept.
    updated_at = ledger.now() if is_other else store.plan(record.run_id)[0].get("updated_at")
    ledger.replan({**plan_to_data(plan), "files": copy, "updated_at": updated_at}, options)
    settle_copies(home, copy)
    if (home / WHOLE).is_dir():
        files_of(plan.desc).move_to(home / WHOLE)


def _record_of(job: PlannedJob, known: JobRecord | None, again: bool) -> JobRecord:
    """The record of a job, as its plan has it now."""
    made = JobRecord(job.name, job.resolved.platform, job.resolved.engine, job.defaults)
    if known is not None:
        made.attempts = known.attempts
        if not again:
            made.state, made.reason = known.state, known.reason
    return made
