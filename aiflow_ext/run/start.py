"""A run made ready: its plan, its folder, its record and its driver."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence

from aiflow_ext.model.errors import ConfigError, StateError
from aiflow_ext.run.driver import Driver
from aiflow_ext.run.plan import Plan, make_plan, new_run_id
from aiflow_ext.run.records import RunRecord, Transition
from aiflow_ext.run.render import check_secrets
from aiflow_ext.translate.state import state_folder


class Run:
    """A run that is ready to go."""

    def __init__(self, plan: Plan, record: RunRecord, driver: Driver) -> None:
        self.plan, self.record, self.driver = plan, record, driver


def prepare(
    folder: str | os.PathLike[str],
    *,
    sets: Sequence[str] = (),
    params: Sequence[str] = (),
    workflow: str | None = None,
    jobs: int | None = None,
    fail_fast: bool = False,
    listener: Callable[[Transition], None] | None = None,
) -> Run:
    """Plan a project's workflow and make its run's folder."""
    if jobs is not None and jobs < 1:
        raise ConfigError(f"the number of jobs at once must be at least 1, not {jobs}")
    plan = make_plan(folder, sets=sets, params=params, workflow=workflow)
    check_secrets(plan)
    run_id = new_run_id(plan.workflow)
    state = state_folder(plan.desc.root)
    home = state / "runs" / run_id
    try:
        home.mkdir(parents=True)
        home.chmod(0o700)
        ignored = state / ".gitignore"
        if not ignored.exists():
            ignored.write_text("*\n")
    except OSError as error:
        raise StateError(
            f"the run's folder cannot be made: {error.strerror}",
            where=str(home),
            hint="give permission or make room there, or name another folder for state: AIFLOW_STATE=/path",
        ) from error
    root = plan.desc.root
    record = RunRecord(run_id, plan.workflow, root, str(home), time.time())
    (home / "request.json").write_text(
        json.dumps({"project": root, "workflow": plan.workflow, "sets": list(sets), "params": list(params)}, indent=1)
    )
    driver = Driver(plan, record, limit=jobs or os.cpu_count() or 1, fail_fast=fail_fast, listener=listener,
                    extensions=plan.host.extensions())  # fmt: skip
    return Run(plan, record, driver)
