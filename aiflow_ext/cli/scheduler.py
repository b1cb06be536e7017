"""``aiflow-ext schedule``: prints a line for each firing, until a signal ends it."""

from __future__ import annotations

import time
from collections.abc import Callable

from aiflow_ext.cli import signals
from aiflow_ext.cli.escape import one_line
from aiflow_ext.cli.output import keep_exit_code, print
from aiflow_ext.cli.show import clock
from aiflow_ext.model import errors
from aiflow_ext.run.operations.schedule import Schedule
from aiflow_ext.run.store.records import RunRecord


def fire(project: str, *, workflow: str | None, overlap: bool) -> int:
    """Fire what is due until SIGINT, SIGTERM or SIGHUP; the runs that were fired go on. Returns JOB_FAILED if one of
    them has failed."""
    keep_exit_code()

    def fired(job: str, firing: str, run_id: str) -> None:
        print(f"{clock(time.time())} {job} fired: run {run_id} ({firing})", flush=True)

    def ended(name: str, record: RunRecord, words: str) -> None:
        print(one_line(f"{clock(time.time())} {name} {record.state}: run {record.run_id}{words and f': {words}'}"),
              flush=True)  # fmt: skip

    schedule = Schedule(project, workflow=workflow, overlap=overlap, fired=fired, ended=ended)

    def answer(number: int) -> Callable[[], None]:
        if schedule.ending.is_set():
            return signals.end
        schedule.ending.set()
        return lambda: signals.say(f"ending once what is due is fired{_still()}; once more to end at once")

    def farewell() -> int:
        signals.say(f"ended in the midst of a firing{_still()}; a schedule that is started again goes on with it")
        return errors.INTERRUPTED

    signals.answer_by(answer, farewell)
    names = ", ".join(item.name for item in schedule.due.values())
    print(f"firing {names} when due; Ctrl-C ends it", flush=True)
    schedule.run()
    return errors.JOB_FAILED if schedule.failures else errors.OK


def _still() -> str:
    where = signals.place()
    return f", still in {where}" if where else ""
