"""Makes a new run: its folder, its lock, and its record in the store. Nothing of it runs yet."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aiflow_ext import shared_folder
from aiflow_ext.model.errors import StateError
from aiflow_ext.model.names import local_path, safe_name
from aiflow_ext.run.planning.make_plan import param_texts
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.planning.plan_codec import plan_to_data
from aiflow_ext.run.planning.snapshot import keep_files
from aiflow_ext.run.store.artifacts_folder import make_artifacts_folder
from aiflow_ext.run.store.filesystem import spread
from aiflow_ext.run.store.find import remember_state
from aiflow_ext.run.store.lock import DriverLock
from aiflow_ext.run.store.records import Input, JobRecord, RunRecord
from aiflow_ext.run.store.state_folder import state_folder
from aiflow_ext.run.store.store import Store


class AlreadyFiredError(StateError):
    """A firing has had its run already.

    Attributes:
        run_id: the run that it has had; ``exit_code`` is as that has ended, 0 while it has not.
    """

    def __init__(self, firing: str, record: RunRecord) -> None:
        super().__init__(f"firing {firing!r} has had its run: {record.run_id} {record.state}")
        self.run_id = record.run_id
        self.exit_code = record.state.exit_code


class NewRun(NamedTuple):
    """A run that is in the store; ``plan`` has its jobs alone. The caller holds its lock, and releases it."""

    plan: Plan
    record: RunRecord
    store: Store
    lock: DriverLock


def run_options(
    *,
    jobs: int | None,
    fail_fast: bool,
    sets: Sequence[str],
    params: Sequence[str] | Mapping[str, Any],
    config: Sequence[str],
    profile: str | None,
) -> dict[str, Any]:
    """How a run was asked for, as it is stored with it: arguments of ``run.run_project``."""
    texts = param_texts(params) if isinstance(params, Mapping) else list(params)
    files = [os.path.abspath(each) for each in config]
    return {
        "jobs": jobs,
        "fail_fast": fail_fast,
        "sets": list(sets),
        "params": texts,
        "config": files,
        "profile": profile,
        "traceparent": os.environ.get("TRACEPARENT"),
    }


def new_run(
    plan: Plan,
    options: Mapping[str, Any],
    *,
    only: Sequence[str] = (),
    from_run: str | None = None,
    firing: str | None = None,
    is_here: bool = True,
    making: Callable[[Plan, str], None] = lambda plan, home: None,
) -> NewRun:
    """Make a run of a plan.

    Args:
        plan: the workflow's.
        options: of :func:`run_options`.
        only: the jobs of the run; all by default.
        from_run: the run whose artifacts these read; by default of each job the latest that has finished it.
        firing: an id that at most one run gets; none by default.
        is_here: whether a job of it is a process of this machine, which makes the folder of its artifacts.
        making: called with the run's plan and its folder, which exists, before the files are copied into it.

    Raises AlreadyFiredError, ConfigError, StateError: nothing is on record then.
    """
    run_id = _new_run_id(plan.workflow)
    root = plan.desc.root
    state = state_folder(root)
    store = Store(state)
    remember_state(state)
    _refuse_second(store, firing)
    inputs: list[Input] = []
    if only:
        from aiflow_ext.run.planning.only import restrict

        plan, inputs = restrict(plan, only, store, from_run)
    while os.path.lexists(home := state / "runs" / run_id):  # of many runs that are started in one second
        run_id = _new_run_id(plan.workflow)
    make_folder(home)
    record = RunRecord(run_id, plan.workflow, root, str(home), time.time())
    for name, job in plan.jobs.items():
        record.jobs[name] = JobRecord(name, job.resolved.platform, job.resolved.engine, job.defaults)
    record.inputs = inputs
    lock = DriverLock(home)
    try:
        making(plan, str(home))
        keep_files(plan, home)
        if artifacts := local_path(plan.desc.artifacts):
            make_artifacts_folder(Path(artifacts), run_id, create=is_here, state=state)
        data = plan_to_data(plan)
        record.provenance = data["provenance"]
        store.add_run(record, data, dict(options), firing)
    except BaseException as error:
        lock.release()
        if isinstance(error, (sqlite3.IntegrityError, StateError)):  # the run is not on record
            import shutil

            shutil.rmtree(home, ignore_errors=True)
        if isinstance(error, sqlite3.IntegrityError):
            _refuse_second(store, firing)
        raise
    return NewRun(plan, record, store, lock)


def _refuse_second(store: Store, firing: str | None) -> None:
    """Raise AlreadyFiredError if a firing has had its run."""
    had = store.firings.run_of(firing) if firing is not None else None
    if firing is not None and had is not None:
        raise AlreadyFiredError(firing, store.run(had))


def make_folder(home: Path) -> None:
    """Create a run's folder, for whom the state folder is for. Raises StateError if that fails."""
    try:
        with contextlib.suppress(FileExistsError):
            shared_folder.make_folder(home.parent)
        spread(home.parent)
        shared_folder.make_folder(home)
    except OSError as error:
        raise StateError(
            f"the run's folder cannot be made: {error.strerror}",
            where=str(home),
            hint="give permission or make room there, or name another folder for state: AIFLOW_STATE=/path",
        ) from error


def _new_run_id(workflow: str) -> str:
    """A new run's id: the workflow's name, the second in UTC, and four random characters."""
    moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    return f"{safe_name(workflow, 24)}-{moment}-{os.urandom(2).hex()}"
