"""A run that has not finished, as an exception for those who call aiflow-ext from Python."""

from __future__ import annotations

from aiflow_ext.model.errors import JOB_FAILED, STOPPED, AiflowError, Problem
from aiflow_ext.model.names import path_shown
from aiflow_ext.model.states import JobState
from aiflow_ext.run.store.records import RunRecord

_UNFINISHED = (JobState.FAILED, JobState.LOST, JobState.STOPPED)


class RunFailedError(AiflowError):
    """A run has ended, and not all of its jobs have finished.

    Attributes:
        record: the run's record.
        run_id: its id.
    """

    def __init__(self, record: RunRecord) -> None:
        self.record, self.run_id = record, record.run_id
        self.exit_code = STOPPED if record.state is JobState.STOPPED else JOB_FAILED
        unfinished = [each for each in record.jobs.values() if each.state in _UNFINISHED]
        problems = [
            Problem(
                f"job {job.name!r} of run {record.run_id} is {job.state}{f': {job.reason}' if job.reason else ''}",
                hint=f"aiflow-ext logs {record.run_id} {job.name} --project {path_shown(record.project)}",
            )
            for job in unfinished
        ]
        whole = Problem(f"run {record.run_id} is {record.state}", hint=f"aiflow-ext status {record.run_id}")
        super().__init__(problems=problems or [whole])

    def __reduce__(self) -> tuple[type[RunFailedError], tuple[RunRecord]]:
        return RunFailedError, (self.record,)


def check_finished(record: RunRecord) -> None:
    """Raise RunFailedError unless the run has finished."""
    if record.state is not JobState.FINISHED:
        raise RunFailedError(record)
