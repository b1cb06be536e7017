"""What a running job can see of itself: ``af.current_job()`` and the ``AIFLOW_*`` variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiflow_ext.model.errors import GraphError

# In AIFLOW_REASON_FILE while the runner works. Exit code 0 with it there is no success: the process ended too early.
UNFINISHED = (
    "the job's process ended with exit code 0 before its steps were done: something in it called os._exit, os.exec* or "
    "the exit() of a C library; let the function return instead"
)
# The exit code (EX_TEMPFAIL), and the begin of the text in AIFLOW_REASON_FILE, of a job that could not read or write
# artifacts because their file system did not answer for minutes: not the job's failure.
AWAY_CODE, AWAY = 75, "the artifacts' file system is away: "
# The begin of the text in AIFLOW_REASON_FILE, and of an attempt's reason, where a job got no more memory.
OUT_OF_MEMORY = "out of memory: "


class CurrentJob:
    """The job that this process belongs to.

    Attributes:
        run_id, name: the run's id and the job's key.
        attempt: number of the attempt, from 1.
        properties: the job config's properties.
        work_folder: the attempt's own folder, the current folder at the start.
        project_folder: where the project's files are; None in a cmd_line job on a platform that sends no archive.
        checkpoint_dir: a folder or URL that all attempts of this job in this run share.
        failed_jobs: of a job that waits for failures or ends of others: those that had failed when it was sent, each
            with its ``job``, ``state`` and ``reason``; at most 100, and 96 KiB as JSON.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        import json

        self.run_id: str = environ["AIFLOW_RUN"]
        self.name: str = environ["AIFLOW_JOB"]
        self.attempt = int(environ["AIFLOW_ATTEMPT"])
        self.properties: dict[str, Any] = json.loads(environ.get("AIFLOW_PROPERTIES") or "{}")
        self.work_folder = Path(environ.get("AIFLOW_WORK_FOLDER") or os.getcwd())
        project = environ.get("AIFLOW_PROJECT_FOLDER")
        self.project_folder: Path | None = Path(project) if project else None
        self.checkpoint_dir: str | None = environ.get("AIFLOW_CHECKPOINT_DIR")
        self.failed_jobs: list[dict[str, str]] = json.loads(environ.get("AIFLOW_FAILED_JOBS") or "[]")


def current_job() -> CurrentJob:
    """The job that this process belongs to. Raises GraphError outside of a job."""
    if "AIFLOW_RUN" not in os.environ:
        raise GraphError("af.current_job() was called outside a job", hint="it works in functions that a job runs")
    return CurrentJob(os.environ)
