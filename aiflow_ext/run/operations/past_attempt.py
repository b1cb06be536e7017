"""An attempt of a run as it was given to its platform: its job, its inputs, and the run's own copy of the code."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import NamedTuple

from aiflow_ext.model.errors import ConfigError, StateError
from aiflow_ext.model.job import JobContext
from aiflow_ext.model.project import ProjectDesc
from aiflow_ext.run.operations.observe import Observed
from aiflow_ext.run.planning.attempt_job import given
from aiflow_ext.run.planning.plan import Plan, PlannedJob
from aiflow_ext.run.planning.provenance import digest_of
from aiflow_ext.run.planning.snapshot import WHOLE, needs_files
from aiflow_ext.run.store.find import job_of
from aiflow_ext.run.store.in_process import process_of
from aiflow_ext.run.store.records import AttemptRecord, RunRecord
from aiflow_ext.translate.files import ProjectFiles


class PastAttempt(NamedTuple):
    """One attempt, of a run that goes on or has ended.

    Attributes:
        run, record: of the run, and of the attempt.
        plan: holds its job, and those whose artifacts it has read.
        planned: its job, with the memory that it got.
        context: with the URLs of what it has read, and below which it has written.
        project: the run's own copy.
        shown: the project's folder that has these files, for people: their own where they have not changed it since.
        code: the sha256 of these files; None where the run has not recorded it.
    """

    run: RunRecord
    record: AttemptRecord
    plan: Plan
    planned: PlannedJob
    context: JobContext
    project: ProjectDesc
    shown: str
    code: str | None

    @property
    def platform(self) -> str | None:
        """The name of the platform that it has run on; None for its client's own process."""
        return None if process_of(self.record) is not None else self.planned.resolved.platform


def past_attempt(observed: Observed, job: str, number: int | None = None) -> PastAttempt:
    """An attempt of a run.

    Args:
        observed: the run. Only the plugins of the job, and of those that it reads from, are resolved.
        job: the job's key.
        number: the attempt's number; by default the latest.

    Raises ConfigError for a job or an attempt that the run lacks; StateError where the run does not keep the code of
    that attempt.
    """
    run = observed.record
    attempts = job_of(run, job).attempts
    number = number or len(attempts)
    if not 0 < number <= len(attempts):
        had = f"{len(attempts)} attempt{'s' * (len(attempts) != 1)}" if attempts else "no attempt"
        words = f"{had}: it is {run.jobs[job].state}" if not attempts else f"{had}, and no attempt {number}"
        raise ConfigError(f"job {job!r} of run {run.run_id} has had {words}",
                          hint=f"aiflow-ext status {run.run_id}")  # fmt: skip
    record = attempts[number - 1]
    updated = observed.store.plan(run.run_id)[0].get("updated_at")
    if isinstance(updated, (int, float)) and (record.submitted_at or updated) < updated:
        raise StateError(
            f"attempt {number} of {job!r} ran before the run was given its project anew (resume --update), and neither "
            "the code nor the config of that time is kept",
            where=run.folder,
        )
    plan = observed.stored.holding([job])
    planned, context = given(plan, run, job, number, _read(plan.jobs[job], run, record))
    shown, project = plan.desc.root, copy.copy(plan.desc)
    project.root = os.path.join(run.folder, WHOLE)
    if needs_files(planned.sub_graph) and not os.path.isdir(project.root):
        raise StateError(
            f"run {run.run_id} keeps no copy of its code any more",
            where=project.root,
            hint="put the run's folder back; or run the project as it is now: aiflow-ext run PROJECT --in-process",
        )
    code = run.provenance.get("code")
    return PastAttempt(run, record, plan, planned, context, project, shown, code if isinstance(code, str) else None)


def _read(planned: PlannedJob, run: RunRecord, record: AttemptRecord) -> dict[str, int]:
    """By upstream job, the attempt whose artifacts an attempt has read: the latest one then. The driver's clock has
    written the times of both."""
    read = {}
    for name in {edge.source for edge in planned.edges}:
        attempts = run.jobs[name].attempts
        before = [each.number for each in attempts if (each.submitted_at or 0) <= (record.submitted_at or float("inf"))]
        if attempts:
            read[name] = max(before, default=1)
    return read


def check_code(past: PastAttempt, files: Path) -> None:
    """Raise StateError unless a folder has exactly the files that the run has recorded, if it has."""
    try:
        found = digest_of(ProjectFiles(ProjectDesc(root=str(files), include=["*"])))
    except OSError as error:
        raise StateError(f"the copy of the run's code cannot be read: {error.strerror}", where=str(files)) from error
    if past.code not in (None, found):
        raise StateError(
            f"the code that run {past.run.run_id} keeps is not what its jobs ran from: its sha256 is {found[:16]}..., "
            f"and {str(past.code)[:16]}... is on record",
            where=past.project.root,
            hint="somebody has changed the files there; put them back as they were",
        )
