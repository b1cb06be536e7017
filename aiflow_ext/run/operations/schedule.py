"""Fires jobs and workflows when they are due: each firing gets one run, also if the process that fires it is killed."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from aiflow_ext.model.config import PeriodicConfig
from aiflow_ext.model.errors import AiflowError, ConfigError, Problem, ProjectError
from aiflow_ext.model.states import JobState
from aiflow_ext.run.operations.detach import detach, drive
from aiflow_ext.run.operations.due import previous_and_next
from aiflow_ext.run.operations.failed import RunFailedError
from aiflow_ext.run.operations.start import AlreadyFiredError
from aiflow_ext.run.planning.make_plan import make_plan, param_texts
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.store.lock import holder
from aiflow_ext.run.store.records import RunRecord
from aiflow_ext.run.store.state_folder import state_folder
from aiflow_ext.run.store.store import Store
from aiflow_ext.translate.common import checked
from aiflow_ext.translate.project import Project, Scheduled, load_project

_log = logging.getLogger("aiflow_ext")
LOOK = 1.0  # seconds between two looks whether a run that was fired has ended
AGAIN = 30.0  # seconds before a firing that could not be started is tried again


class Fired(NamedTuple):
    """What is fired when it is due: one periodic job alone, or a whole workflow.

    Attributes:
        name: of the job, or of the entry in project.yaml.
        key: what its firings' ids begin with.
        period: when it is due.
        options: of its runs, as ``run.run_project`` takes them.
        where: ``file:line`` of its period, where that is known.
    """

    name: str
    key: str
    period: PeriodicConfig
    options: Mapping[str, Any]
    where: str | None


class Schedule:
    """Fires a project's periodic jobs, and the workflows that project.yaml schedules.

    Firings that were missed while no scheduler ran are coalesced into one.

    Args:
        folder: the project's folder.
        workflow: of which workflow the periodic jobs are, if workflow.py has several; by default of those that
            project.yaml schedules.
        overlap: fire although the last firing still runs.
        fired: called with name, firing id and the run's id.
        ended: called when a fired run has ended, with name, its record, and why it has not finished: in words, empty
            where it has.

    Attributes:
        failures: how many firings could not be started, or have ended as FAILED: of those too that have ended while no
            scheduler ran.
    """

    def __init__(
        self,
        folder: str,
        *,
        workflow: str | None = None,
        overlap: bool = False,
        fired: Callable[[str, str, str], None] | None = None,
        ended: Callable[[str, RunRecord, str], None] | None = None,
    ) -> None:
        self.folder, self.overlap, self.fired, self.ended = folder, overlap, fired, ended
        project = load_project(folder)
        self.due: dict[str, Fired] = {}
        problems: list[Problem] = []
        periodic: list[str | None] = []  # workflows that have periodic jobs
        for name, each in project.schedule.items():
            try:
                plan = self._add_workflow(name, each, project)
            except ProjectError as error:
                problems += [_of_entry(each, name, project) for each in error.problems]
                continue
            if any(job.config.periodic_config is not None for job in plan.jobs.values()):
                periodic.append(each.workflow)
        if problems:
            raise ConfigError(problems=problems)
        # A workflow without periodic jobs is not planned again: it may need the parameters of its entries.
        for chosen in dict.fromkeys(periodic if project.schedule and workflow is None else [workflow]):
            self._add_jobs(chosen)
        if not self.due:
            raise ConfigError(
                "nothing of this project is due by itself: project.yaml has no schedule, and no job is periodic",
                hint="add schedule: {nightly: {cron: ...}} to project.yaml, or periodic: {cron: ...} to a job's config",
            )
        for item in self.due.values():
            try:
                previous_and_next(item.period, datetime.now(timezone.utc))
            except ConfigError as error:
                problems += [Problem(f"{item.name!r}: {each.message}", each.where or item.where, each.hint)
                             for each in error.problems]  # fmt: skip
        if problems:
            raise ConfigError(problems=problems)
        self.store = Store(state_folder(project.root))
        self.ending = threading.Event()
        self.failures = 0
        self._refused: dict[str, float] = {}  # by firing: when it could not be started

    def _add_workflow(self, name: str, entry: Scheduled, project: Project) -> Plan:
        """A workflow that project.yaml schedules; it is planned now, so that no mistake waits for the night."""
        params = _as_written(name, entry, project)
        options = {"workflow": entry.workflow, "params": params, "profile": entry.profile}
        plan = make_plan(self.folder, workflow=entry.workflow, params=params, profile=entry.profile)
        plan.host.check_extensions(plan.extensions.require)
        where = project.where(("schedule", name))
        self.due[name] = Fired(name, name, checked("periodic", entry.period), options, where)
        return plan

    def _add_jobs(self, workflow: str | None) -> None:
        """The periodic jobs of a workflow."""
        plan: Plan = make_plan(self.folder, workflow=workflow, sent=lambda job: job.config.periodic_config)
        plan.host.check_extensions(plan.extensions.require)  # reported now, not when a firing is due
        for name, job in plan.jobs.items():
            if job.config.periodic_config is not None:
                key = f"{plan.workflow}/{name}"
                options = {"workflow": plan.workflow, "only": [name]}
                self.due[key] = Fired(name, key, job.config.periodic_config, options, job.where("periodic"))

    def run(self, until: datetime | None = None) -> None:
        """Fire what is due, and wait for the next, until ``ending`` is set, or until the moment ``until``."""
        for item in self.due.values():
            self._going(item)
        self._tell_ended(of_others=True)
        while not self.ending.is_set():
            now = datetime.now(timezone.utc)
            self._tell_ended()
            due = [self.look_at(item, now) for item in self.due.values()]
            if until is not None and min(due) > until:
                return
            # Waits in short steps: the clock may jump, and a laptop may sleep.
            most = LOOK if self.store.firings.untold() else 30.0
            self.ending.wait(min(max((min(due) - now).total_seconds(), 0.0), most))
        self._tell_ended()

    def look_at(self, item: Fired, now: datetime) -> datetime:
        """Fire what is due and has not been fired; returns when it is due next."""
        last, following = previous_and_next(item.period, now)
        known = self.store.firings.last(item.key)
        if known is None:  # it is new: it is fired at the next moment, not for an earlier one
            self.store.firings.set_last(item.key, last.timestamp())
        elif last.timestamp() > known:
            self._fire(item, last)
        return following

    def _going(self, item: Fired) -> bool:
        """Whether a firing has not ended. One without a driver is resumed: the scheduler was killed before the driver
        had begun, or the driver was killed."""
        unended = self.store.firings.unended_runs(item.key)
        for run_id in unended:
            record = self.store.run(run_id)
            if holder(Path(record.folder)) is None and os.path.isdir(record.folder):
                _log.warning("run %s of %s had no driver; it is resumed", run_id, item.key)
                try:
                    drive(run_id, record.project, record.folder)
                except AiflowError as error:
                    _log.error("run %s cannot be taken up: %s", run_id, error)
        return bool(unended)

    def _fire(self, item: Fired, moment: datetime) -> None:
        firing = f"{item.key}@{moment.isoformat()}"
        if time.monotonic() - self._refused.get(firing, -AGAIN) < AGAIN:
            return
        if self._going(item) and not self.overlap:
            _log.info("%s is due and its last firing still runs", item.name)
            return
        self.store.firings.expect(firing)  # before it has a run: whoever is killed, its end is told
        try:
            run_id, _ = detach(self.folder, firing=firing, **item.options)
        except AlreadyFiredError:
            run_id = ""  # another process has fired it, or an earlier one was killed before it could record the firing
        except AiflowError as error:
            self.store.firings.told(firing)
            self.failures += firing not in self._refused
            self._refused[firing] = time.monotonic()
            _log.error("%s cannot be fired: %s", firing, error)
            return
        self.store.firings.set_last(item.key, moment.timestamp())
        if run_id and self.fired is not None:
            self.fired(item.name, firing, run_id)

    def _tell_ended(self, *, of_others: bool = False) -> None:
        """Report the fired runs that have ended; ``of_others``: also those of what this scheduler does not fire, as an
        entry that project.yaml has no longer.

        A run is noted as told only then: if the scheduler is killed in between, the next one tells it again.
        """
        for firing, run_id, has_ended in self.store.firings.untold():
            key = firing.rpartition("@")[0]
            if not has_ended or not (key in self.due or of_others):
                continue
            try:
                record = self.store.run(run_id)
            except KeyError:  # removed meanwhile
                continue
            words = "" if record.state is JobState.FINISHED else str(RunFailedError(record).problems[0].message)
            self.failures += record.state.failed
            if self.ended is not None:
                self.ended(self.due[key].name if key in self.due else key, record, words)
            self.store.firings.told(firing)


def _as_written(name: str, entry: Scheduled, project: Project) -> list[str]:
    """An entry's parameters as the texts of ``-p``: 007 stays 007 where a workflow takes text."""
    part = project.source.at("schedule").at(name)
    texts = dict(zip(entry.params, param_texts(entry.params), strict=True))
    if entry.params:
        marks = part.at("params").mark
        for key, value in entry.params.items():
            text = marks.nearest((key,)).text
            if text is not None and isinstance(value, (bool, int, float)):
                texts[key] = f"{key}={text}"
    return list(texts.values())


def _of_entry(problem: Problem, name: str, project: Project) -> Problem:
    """A mistake of an entry in project.yaml, with its place there where it has none of its own."""
    where = problem.where
    if where is not None and not where.startswith("-"):
        return problem
    option = (where or "").partition("=")[0]
    key = next((key for key in project.schedule[name].params if option == f"-p {key}"), None)
    path: tuple[str, ...] = ("schedule", name) if key is None else ("schedule", name, "params", key)
    return Problem(f"the entry {name!r} of schedule: {problem.message}", project.where(path), problem.hint)
