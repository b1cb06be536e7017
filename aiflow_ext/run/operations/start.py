"""Prepares a run: its plan, its folder, its record and its driver."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiflow_ext.host import secrets
from aiflow_ext.model.errors import ConfigError, PlatformError
from aiflow_ext.model.names import local_path
from aiflow_ext.run.driving.driver import Driver
from aiflow_ext.run.operations.descriptors import hold_standard
from aiflow_ext.run.operations.new_run import AlreadyFiredError as AlreadyFiredError
from aiflow_ext.run.operations.new_run import new_run, run_options
from aiflow_ext.run.operations.render import check_secrets
from aiflow_ext.run.planning.demands import capacities_of
from aiflow_ext.run.planning.make_plan import check_lists, make_plan
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.platforms import supervised
from aiflow_ext.run.platforms.plugin_adapter import is_here
from aiflow_ext.run.store.artifacts_folder import remove_artifacts_folder
from aiflow_ext.run.store.doorbell import Doorbell
from aiflow_ext.run.store.lock import DriverLock
from aiflow_ext.run.store.records import RunRecord, Transition
from aiflow_ext.run.store.state_folder import state_folder
from aiflow_ext.run.store.store import Store


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
            record = self.driver.run()
        except PlatformError:
            if self.is_new:
                remove(self.record, self.plan.desc.artifacts)
            raise
        if self.plan.report is not None:
            from aiflow_ext.run.operations.report import report_at_end

            report_at_end(self.plan, record)
        return record

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
    config: Sequence[str] = (),
    profile: str | None = None,
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
    plan = make_plan(
        folder, sets=sets, params=params, workflow=workflow, config=config, profile=profile, only=only or None
    )
    check_secrets(plan)
    plan.host.extensions(plan.extensions.require)  # before anything is written
    options = run_options(jobs=jobs, fail_fast=fail_fast, sets=sets, params=params, config=config, profile=profile)
    homes: list[str] = []

    def expect(plan: Plan, home: str) -> None:
        homes.append(home)
        if any(is_here(job) for job in plan.jobs.values() if not job.edges):
            supervised.expect(home)

    lock: DriverLock | None = None
    try:
        plan, record, store, lock = new_run(
            plan, options, only=only, from_run=from_run, firing=firing,
            is_here=any(map(is_here, plan.jobs.values())), making=expect,
        )  # fmt: skip
        run = driven(plan, record, store, lock, options, listener)
        run.is_new = True
        return run
    except BaseException:
        for home in homes:
            supervised.hang_up(home)
        if lock is not None:
            lock.release()
        raise


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
    plan.traceparent = options.get("traceparent")
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
        traceparent=plan.traceparent,
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
