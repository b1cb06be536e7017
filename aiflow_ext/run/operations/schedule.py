"""Fires periodic jobs when they are due: each firing gets one run, also if the process that fires it is killed."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from aiflow_ext.model.errors import AiflowError, ConfigError, Problem
from aiflow_ext.run.operations.detach import detach, drive
from aiflow_ext.run.operations.due import previous_and_next
from aiflow_ext.run.operations.start import AlreadyFiredError
from aiflow_ext.run.planning.make_plan import make_plan
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.store.lock import holder
from aiflow_ext.run.store.state_folder import state_folder
from aiflow_ext.run.store.store import Store

_log = logging.getLogger("aiflow_ext")


class Schedule:
    """Fires the periodic jobs of a project. Firings that were missed while no scheduler ran are coalesced into one.

    Args:
        folder: the project's folder.
        workflow: which workflow, if workflow.py has several.
        overlap: fire a job although its last firing still runs.
        fired: called with job, firing id and the run's id.
    """

    def __init__(
        self,
        folder: str,
        *,
        workflow: str | None = None,
        overlap: bool = False,
        fired: Callable[[str, str, str], None] | None = None,
    ) -> None:
        self.folder, self.overlap, self.fired = folder, overlap, fired
        plan: Plan = make_plan(folder, workflow=workflow, sent=lambda job: job.config.periodic_config)
        plan.host.check_extensions(plan.extensions.require)  # reported now, not when a firing is due
        self.workflow, self.root = plan.workflow, plan.desc.root
        self.jobs = {name: job.config.periodic_config for name, job in plan.jobs.items() if job.config.periodic_config}
        if not self.jobs:
            raise ConfigError(
                f"no job of workflow {plan.workflow!r} is periodic",
                hint="give one a key periodic: {cron: ...} or {interval: ...} in workflow.yaml",
            )
        problems = []
        for name, periodic in self.jobs.items():
            try:
                previous_and_next(periodic, datetime.now(timezone.utc))
            except ConfigError as error:
                where = plan.jobs[name].where("periodic")
                problems += [
                    Problem(f"job {name!r}: {each.message}", each.where or where, each.hint) for each in error.problems
                ]
        if problems:
            raise ConfigError(problems=problems)
        self.store = Store(state_folder(self.root))
        self.ending = threading.Event()

    def run(self, until: datetime | None = None) -> None:
        """Fire what is due, and wait for the next, until ``ending`` is set, or until the moment ``until``."""
        for name in self.jobs:
            self._going(f"{self.workflow}/{name}")
        while not self.ending.is_set():
            now = datetime.now(timezone.utc)
            due = [self.look_at(name, now) for name in self.jobs]
            if until is not None and min(due) > until:
                return
            # Waits in short steps: the clock may jump, and a laptop may sleep.
            self.ending.wait(min(max((min(due) - now).total_seconds(), 0.0), 30.0))

    def look_at(self, name: str, now: datetime) -> datetime:
        """Fire a job if it is due and has not been fired; returns when it is due next."""
        last, following = previous_and_next(self.jobs[name], now)
        key = f"{self.workflow}/{name}"
        known = self.store.firings.last(key)
        if known is None:  # a new job: it is fired at the next moment, not for an earlier one
            self.store.firings.set_last(key, last.timestamp())
        elif last.timestamp() > known:
            self._fire(name, key, last)
        return following

    def _going(self, key: str) -> bool:
        """Whether a firing has not ended. One without a driver is resumed: the scheduler was killed before the driver
        had begun, or the driver was killed."""
        unended = self.store.firings.unended_runs(key)
        for run_id in unended:
            record = self.store.run(run_id)
            if holder(Path(record.folder)) is None and os.path.isdir(record.folder):
                _log.warning("run %s of %s had no driver; it is resumed", run_id, key)
                try:
                    drive(run_id, record.project, record.folder)
                except AiflowError as error:
                    _log.error("run %s cannot be taken up: %s", run_id, error)
        return bool(unended)

    def _fire(self, name: str, key: str, moment: datetime) -> None:
        firing = f"{key}@{moment.isoformat()}"
        if self._going(key) and not self.overlap:
            _log.info("%s is due and its last firing still runs", name)
            return
        try:
            run_id, _ = detach(self.folder, workflow=self.workflow, only=[name], firing=firing)
        except AlreadyFiredError:
            run_id = ""  # another process has fired it, or an earlier one was killed before it could record the firing
        except AiflowError as error:
            _log.error("%s cannot be fired: %s", firing, error)
            return
        self.store.firings.set_last(key, moment.timestamp())
        if run_id and self.fired is not None:
            self.fired(name, firing, run_id)
