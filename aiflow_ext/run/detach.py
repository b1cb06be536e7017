"""A run left to a driver of its own, in a session of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from aiflow_ext.model.errors import StateError
from aiflow_ext.run.start import prepare

LOG = "driver.log"


def detach(folder: str | os.PathLike[str], **options: Any) -> tuple[str, int]:
    """Make a run ready, as ``run.run_project`` would, and have another process drive it.

    Returns the run's id and the driver's pid. Raises what making the run ready raises: a mistake is told here.
    """
    run = prepare(folder, **options)
    run.close()
    return run.record.run_id, drive(run.record.run_id, run.record.project, run.record.folder)


def drive(run_id: str, project: str, folder: str) -> int:
    """Have another process drive a run that stands in the store; its pid."""
    argv = [sys.executable, "-m", "aiflow_ext", "resume", run_id, "--project", project]
    try:
        log = open(Path(folder, LOG), "ab")  # noqa: SIM115
    except OSError as error:
        raise StateError(
            f"the driver's log cannot be written: {error.strerror}",
            where=str(Path(folder, LOG)),
            hint=f"give permission or make room there, then: aiflow-ext resume {run_id}",
        ) from error
    with log as sink:
        driver = subprocess.Popen(
            [*argv, "--on-interrupt", "leave"],
            stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True,
        )  # fmt: skip
    return driver.pid
