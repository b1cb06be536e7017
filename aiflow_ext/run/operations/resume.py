"""Resumes a run, from its own copy of the project and its stored plan."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from aiflow_ext.model.errors import AiflowError, ConfigError, DataError, Problem, StateError
from aiflow_ext.model.names import artifact_key
from aiflow_ext.model.states import JobState
from aiflow_ext.run.operations.again import jobs_again
from aiflow_ext.run.operations.descriptors import hold_standard
from aiflow_ext.run.operations.start import Run, driven
from aiflow_ext.run.planning.job_secrets import read_secrets, secrets_of
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.planning.plan_codec import StoredPlan
from aiflow_ext.run.planning.serving import with_servers
from aiflow_ext.run.planning.snapshot import settle_copies, use_own_files
from aiflow_ext.run.store.find import no_such_job, open_run, remember_state
from aiflow_ext.run.store.in_process import settle as settle_in_process
from aiflow_ext.run.store.ledger import Ledger
from aiflow_ext.run.store.lock import DriverLock
from aiflow_ext.run.store.records import JobRecord, RunRecord, Transition
from aiflow_ext.run.store.store import Store
from aiflow_ext.translate.check import listed

_log = logging.getLogger("aiflow_ext")


def take_up(
    run: str,
    *,
    project: str | None = None,
    failed: bool = False,
    from_job: str | None = None,
    jobs: int | None = None,
    update: bool = False,
    listener: Callable[[Transition], None] | None = None,
) -> Run:
    """A driver for a run that an earlier driver has left.

    Args:
        run: the run's id, the beginning of it, or ``latest``.
        project: the project's folder, if the id is ambiguous.
        failed: give FAILED, STOPPED, LOST and SKIPPED jobs a new attempt.
        from_job: give this job and every job after it a new attempt.
        jobs: how many jobs run at once; by default as the run was started with.
        update: what is to run gets the project's code, config and graph of today; False by default.
        listener: called with every Transition.

    Raises StateError if another process drives the run, ConfigError if there is no such run or job, and for ``update``
    what :func:`~aiflow_ext.run.operations.update.update_run` raises.
    """
    hold_standard()
    store, run_id = open_run(run, project)
    record = store.run(run_id)
    lock = DriverLock(folder_of(record), ended=record.ended_at is not None)
    try:
        return _driven(store, run_id, lock, failed, from_job, jobs, update, listener)
    except BaseException:
        lock.release()
        raise


def folder_of(record: RunRecord) -> Path:
    """A run's folder. Raises StateError if it does not exist."""
    home = Path(record.folder)
    if not home.is_dir():
        raise StateError(
            f"the folder of run {record.run_id} is gone, with its logs and what its jobs run from",
            where=str(home),
            hint="what it has recorded is still shown: aiflow-ext status RUN; put the folder back to go on with it",
        )
    return home


def _driven(
    store: Store,
    run_id: str,
    lock: DriverLock,
    failed: bool,
    from_job: str | None,
    jobs: int | None,
    update: bool,
    listener: Callable[[Transition], None] | None,
) -> Run:
    before = store.relocate(run_id)
    record = store.run(run_id)  # only now, under the lock: until then the earlier driver may have changed it
    if before is not None:
        remember_state(store.path.parent)
        going = [name for name, job in record.jobs.items() if job.last is not None and not job.last.state.ended]
        _log.warning("the project was moved from %s to %s, and the run goes on there%s", before, record.project,
                     f"; what still runs knows the old place: {', '.join(going)}" if going else "")  # fmt: skip
    settle_in_process(Ledger(record, store))
    data, options = store.plan(run_id)
    settle_copies(Path(record.folder), data.get("files"))
    stored = StoredPlan(data, partial(store.planned, run_id), options)
    plan = stored.whole()
    if plan.jobs.keys() != record.jobs.keys():
        raise DataError("the run's stored plan is damaged: it lacks jobs")
    plan.host.extensions(plan.extensions.require)  # before anything of the run is changed
    differs = use_own_files(plan.desc, Path(record.folder))
    if jobs is not None:
        options["jobs"] = jobs
    verdict = record.state if record.state.ended else None
    if update:
        from aiflow_ext.run.operations.update import update_run

        plan, again = update_run(record, store, stored, options, failed=failed, from_job=from_job), []
    else:
        if differs is not None:
            _log.warning(
                "%s; the run goes on with its own copy of what it needs%s", differs, _instead(record, from_job)
            )
        again = _again(plan, record, failed=failed, from_job=from_job)
    _check_inputs(plan, record, again)
    if again or not record.state.ended:
        Ledger(record, store).reopen(again)
    else:
        _log.warning("run %s has ended before, as %s: %s", run_id, verdict,
                     "--from JOB gives a job and all after it a new attempt" if verdict is JobState.FINISHED else
                     "--failed gives what did not finish a new attempt, --from JOB a job and all after it")  # fmt: skip
    return driven(plan, record, store, lock, options, listener, had_ended=verdict is not None)


def _instead(record: RunRecord, from_job: str | None) -> str:
    """How a run that has something to do again gets today's project instead."""
    job = from_job or next((name for name, each in record.jobs.items() if each.state.failed), None)
    if job is None:
        return ""
    return f"; to run {job} and all after it with today's: aiflow-ext resume {record.run_id} --from {job} --update"


def _check_inputs(plan: Plan, record: RunRecord, again: Sequence[JobRecord]) -> None:
    """Raise an AiflowError for a missing secret or input from an earlier run, so that no attempt is used up by it. Jobs
    that may be running are not checked."""
    problems: list[Problem] = []
    kind: type[AiflowError] = ConfigError
    sources, values = secrets_of(plan.host)
    for name, planned in plan.jobs.items():
        job = record.jobs[name]
        begins = job in again or not (job.state.ended or (job.last is not None and job.last.may_run))
        if not begins:
            continue
        try:
            read_secrets(planned, sources, values)
        except AiflowError as error:
            kind = type(error)
            problems += error.problems
        keys = [artifact_key(edge.source, edge.output) for edge in planned.sub_graph.inputs]
        for url in [plan.given[key] for key in keys if key in plan.given]:
            if "://" not in url and not os.path.exists(f"{url}.json"):
                hint = "start a new run: aiflow-ext run PROJECT --only JOB"
                problems.append(Problem(f"what job {name!r} reads of an earlier run is gone", url, hint))
    if problems:
        raise kind(problems=problems)


def _again(plan: Plan, record: RunRecord, *, failed: bool, from_job: str | None) -> list[JobRecord]:
    """The jobs that get another attempt."""
    if from_job is not None and from_job not in plan.jobs:
        raise no_such_job(record.run_id, from_job, plan.jobs)
    again = jobs_again(record, [plan], failed=failed, from_job=from_job)
    if from_job is not None:
        live = {attempt.job for attempt in record.live()} & again
        if live:
            raise StateError(
                f"of what comes after {from_job!r}, {', '.join(sorted(live))} has not ended yet",
                hint=f"let it end (aiflow-ext resume {record.run_id}) or stop it (aiflow-ext stop {record.run_id} JOB)",
            )
    again = with_servers(plan.jobs, again)
    if ending := [last.job for last in record.live() if last.job in again and last.unneeded]:
        raise StateError(
            f"{listed(ending)}, which no job needed any more, is being ended, and would serve no job that runs again",
            hint=f"let it end first: aiflow-ext resume {record.run_id}",
        )
    return [record.jobs[name] for name in plan.jobs if name in again and record.jobs[name].state.ended]
