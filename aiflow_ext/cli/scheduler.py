"""``aiflow-ext schedule``: prints a line for each firing, until a signal ends it."""

from __future__ import annotations

import signal
import time

from aiflow_ext.cli.output import keep_exit_code, print
from aiflow_ext.cli.show import clock
from aiflow_ext.model import errors
from aiflow_ext.run.operations.schedule import Schedule


def fire(project: str, *, workflow: str | None, overlap: bool) -> int:
    """Fire what is due until SIGINT or SIGTERM; the runs that were fired go on."""

    keep_exit_code()

    def fired(job: str, firing: str, run_id: str) -> None:
        print(f"{clock(time.time())} {job} fired: run {run_id} ({firing})", flush=True)

    schedule = Schedule(project, workflow=workflow, overlap=overlap, fired=fired)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: schedule.ending.set())
    print(f"firing {', '.join(schedule.jobs)} when due; Ctrl-C ends it", flush=True)
    schedule.run()
    return errors.OK
