"""A run taken up again, from its own copy of everything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aiflow_ext.model.errors import ConfigError, StateError
from aiflow_ext.model.states import JobState
from aiflow_ext.run.find import open_run
from aiflow_ext.run.ledger import Ledger
from aiflow_ext.run.lock import DriverLock
from aiflow_ext.run.plan import Plan
from aiflow_ext.run.records import RunRecord, Transition
from aiflow_ext.run.start import Run, driven
from aiflow_ext.run.store import Store
from aiflow_ext.run.stored import plan_from_data
from aiflow_ext.translate.check import near


def take_up(
    run: str,
    *,
    project: str | None = None,
    failed: bool = False,
    from_job: str | None = None,
    jobs: int | None = None,
    listener: Callable[[Transition], None] | None = None,
) -> Run:
    """A driver for a run that an earlier one has left.

    Args:
        run: the run's id, the beginning of it, or ``latest``.
        project: the project's folder, where the id leaves doubt.
        failed: give FAILED, STOPPED, LOST and SKIPPED jobs a new attempt.
        from_job: give this job and every job after it a new attempt.
        jobs: how many jobs run at once; as the run was started with by default.
        listener: called with every Transition.

    Raises StateError where another process drives the run, ConfigError where there is no such run or job.
    """
    store, run_id = open_run(run, project)
    record = store.run(run_id)
    home = Path(record.folder)
    if not home.is_dir():
        moved = store.path.parent / "runs" / run_id
        if not moved.is_dir():
            raise StateError(f"the folder of run {run_id} is gone", where=record.folder)
        raise StateError(
            f"the project was moved: the folder of run {run_id} is {moved}",
            where=record.folder,
            hint=f"move it back, or make a link there: ln -s {store.path.parent.parent} {record.project}",
        )
    lock = DriverLock(home)
    data, options = store.plan(run_id)
    plan = plan_from_data(data)
    if jobs is not None:
        options["jobs"] = jobs
    _reopen(plan, record, store, failed=failed, from_job=from_job)
    record.state, record.ended_at = JobState.RUNNING, None
    store.end_run(record)
    return driven(plan, record, store, lock, options, listener)


def _reopen(plan: Plan, record: RunRecord, store: Store, *, failed: bool, from_job: str | None) -> None:
    """Have the jobs that were named wait for another attempt."""
    again: set[str] = set()
    if from_job is not None:
        if from_job not in plan.jobs:
            hint = near(from_job, plan.jobs) or f"its jobs are {', '.join(plan.jobs)}"
            raise ConfigError(f"run {record.run_id} has no job {from_job!r}", hint=hint)
        again = _with_downstream(plan, {from_job})
    if failed:
        bad = {name for name, job in record.jobs.items() if job.state.ended and job.state is not JobState.FINISHED}
        again |= bad
    ledger = Ledger(record, store)
    for name in plan.jobs:
        job = record.jobs[name]
        if name in again and job.state.ended:
            ledger.reopen(job)


def _with_downstream(plan: Plan, names: set[str]) -> set[str]:
    found = set(names)
    grown = True
    while grown:
        more = {name for name, job in plan.jobs.items() if any(edge.source in found for edge in job.edges)} - found
        found |= more
        grown = bool(more)
    return found
