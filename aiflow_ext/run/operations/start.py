"""Prepares a run: its plan, its folder, its record and its driver."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiflow_ext import shared_folder
from aiflow_ext.host import secrets
from aiflow_ext.model.errors import ConfigError, PlatformError, StateError
from aiflow_ext.model.names import local_path, safe_name
from aiflow_ext.run.driving.driver import Driver
from aiflow_ext.run.operations.descriptors import hold_standard
from aiflow_ext.run.operations.render import check_secrets
from aiflow_ext.run.planning.demands import capacities_of
from aiflow_ext.run.planning.make_plan import check_lists, make_plan
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.planning.plan_codec import plan_to_data
from aiflow_ext.run.planning.snapshot import keep_files
from aiflow_ext.run.platforms import supervised
from aiflow_ext.run.platforms.plugin_adapter import is_here
from aiflow_ext.run.store.artifacts_folder import make_artifacts_folder, remove_artifacts_folder
from aiflow_ext.run.store.doorbell import Doorbell
from aiflow_ext.run.store.filesystem import spread
from aiflow_ext.run.store.find import remember_state
from aiflow_ext.run.store.lock import DriverLock
from aiflow_ext.run.store.records import Input, JobRecord, RunRecord, Transition
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


class Run:
    """A prepared run.

    Attributes:
        is_new: whether this process has made it, so that nothing of it is kept if its platforms refuse it.
    """

    def __init__(self, plan: Plan, record: RunRecord, driver: Driver, lock: DriverLock, bell: Doorbell) -> None:
        self.plan, self.record, self.driver, self.lock, self.bell = plan, record, driver, lock, bell
        self.is_new = False

    def drive(self) -> RunRecord:
        """Run to the end and return the record. Raises as ``Driver.run``; a new run that the check of a platform
        refuses is removed."""
        try:
            return self.driver.run()
        except PlatformError:
            if self.is_new:
                remove(self.record, self.plan.desc.artifacts)
            raise

    def close(self) -> None:
        """Release its lock and everything that this process holds of it; another driver may have the run."""
        self.bell.close()
        self.driver.close()
        self.lock.release()


def prepare(
    folder: str | os.PathLike[str],
    *,
    sets: Sequence[str] = (),
    params: Sequence[str] | Mapping[str, Any] = (),
    workflow: str | None = None,
    jobs: int | None = None,
    fail_fast: bool = False,
    only: Sequence[str] = (),
    from_run: str | None = None,
    firing: str | None = None,
    listener: Callable[[Transition], None] | None = None,
) -> Run:
    """Plan a project's workflow and make its run's folder; options as ``run.run_project``'s."""
    hold_standard()
    if jobs is not None and jobs < 1:
        raise ConfigError(f"the number of jobs at once must be at least 1, not {jobs}")
    check_lists(only=only)
    plan = make_plan(folder, sets=sets, params=params, workflow=workflow, only=only or None)
    check_secrets(plan)
    plan.host.extensions(plan.extensions.require)  # before anything is written
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
    options = {"jobs": jobs, "fail_fast": fail_fast}
    lock = DriverLock(home)
    try:
        if any(is_here(job) for job in plan.jobs.values() if not job.edges):
            supervised.expect(str(home))
        keep_files(plan, home)
        if artifacts := local_path(plan.desc.artifacts):
            make_artifacts_folder(Path(artifacts), run_id, create=any(map(is_here, plan.jobs.values())), state=state)
        store.add_run(record, plan_to_data(plan), options, firing)
    except BaseException as error:
        supervised.hang_up(str(home))
        lock.release()
        if isinstance(error, (sqlite3.IntegrityError, StateError)):  # the run is not on record
            import shutil

            shutil.rmtree(home, ignore_errors=True)
        if isinstance(error, sqlite3.IntegrityError):
            _refuse_second(store, firing)
        raise
    try:
        run = driven(plan, record, store, lock, options, listener)
        run.is_new = True
        return run
    except BaseException:
        supervised.hang_up(str(home))
        lock.release()
        raise


def _refuse_second(store: Store, firing: str | None) -> None:
    """Raise AlreadyFiredError if a firing has had its run."""
    had = store.firings.run_of(firing) if firing is not None else None
    if firing is not None and had is not None:
        raise AlreadyFiredError(firing, store.run(had))


def driven(
    plan: Plan,
    record: RunRecord,
    store: Store,
    lock: DriverLock,
    options: dict[str, Any],
    listener: Callable[[Transition], None] | None,
    had_ended: bool = False,
) -> Run:
    """A driver for a run that is in the store; ``had_ended`` as the driver's."""
    secrets.use(plan.host)  # plugins read secrets as they submit
    total = options.get("jobs")
    driver = Driver(
        plan,
        record,
        store,
        limits={"": total} if total else limits_of(plan),
        pools=dict.fromkeys(plan.jobs, "") if total else None,
        capacities=capacities_of(plan.jobs.values()) if plan.capacities is None else plan.capacities,
        fail_fast=bool(options.get("fail_fast")),
        listener=listener,
        extensions=plan.host.extensions(plan.extensions.require),
        had_ended=had_ended,
    )
    bell = Doorbell(Path(record.folder), driver.look_at_requests)
    driver.look_at_requests()  # requests from before the doorbell was open
    return Run(plan, record, driver, lock, bell)


def limits_of(plan: Plan) -> dict[str, int]:
    """By platform, how many of its jobs run at once unless ``--jobs`` says otherwise."""
    here = os.cpu_count() or 1
    found = {}
    for job in plan.jobs.values():
        name = job.resolved.platform
        if name not in found:
            found[name] = plan.limits.get(name) or job.resolved.plugin.platform().jobs_at_once or here
    return found


def remove(record: RunRecord, artifacts: str) -> None:
    """Remove a run of which nothing was started: its folders and its records."""
    import shutil

    supervised.hang_up(record.folder)
    if folder := local_path(artifacts):
        remove_artifacts_folder(Path(folder), record.run_id)
    shutil.rmtree(record.folder, ignore_errors=True)
    store = Store(state_folder(record.project))
    try:
        store.forget(record.run_id)
    finally:
        store.close()


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
