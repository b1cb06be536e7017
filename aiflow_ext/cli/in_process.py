"""A run in this process: what its jobs print is shown as it comes, and the debugger has the terminal."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from aiflow_ext.cli import signals
from aiflow_ext.cli.lines import PlainLines, Silent
from aiflow_ext.cli.output import keep_exit_code, print, release_stdout
from aiflow_ext.cli.run_end import say_how_it_ended
from aiflow_ext.run.operations.in_process import prepare_in_process
from aiflow_ext.run.operations.outputs import files_of
from aiflow_ext.run.store.records import Transition

INSISTING, WITHIN = 3, 2.0  # so many signals within so many seconds end the process, whatever the job is doing


def run_in_process(project: str, *, pdb: bool, as_json: bool, **options: Any) -> int:
    """Run a project in this process and return the exit code; ``pdb``: debug what a job has raised."""
    keep_exit_code()
    screen: Silent | None = None

    def listener(transition: Transition) -> None:
        if screen is not None:
            screen.tell(transition)

    run = prepare_in_process(project, **options, listener=listener, examine=_debug if pdb else None)
    try:
        screen = Silent() if as_json else PlainLines(run.record)
        if not as_json:
            release_stdout()
        signals.interrupt(insist(signals.end))
        try:
            with screen:
                run.drive()
        except KeyboardInterrupt:
            if run.record.ended_at is None:
                raise
        finally:
            signals.answer_as_before()
            screen.close()
    finally:
        run.close()
    record = run.record
    if as_json:
        print(json.dumps({**record.summary(), "files": files_of(run.plan, record)}, indent=1))
    else:
        say_how_it_ended(run.plan, record, set(record.jobs), tails=False)
    return record.state.exit_code


def _debug(error: BaseException) -> None:
    """Open the debugger where a job's code has raised ``error``."""
    import pdb  # noqa: T100 - the user's own debugging

    pdb.post_mortem(error if sys.version_info >= (3, 13) else error.__traceback__)  # type: ignore[arg-type]


def insist(end: Callable[[], None]) -> Callable[[int], Callable[[], None] | None]:
    """The answer to signals that the job gets: only where many come is ``end`` called."""
    came: list[float] = []

    def answer(number: int) -> Callable[[], None] | None:
        came.append(time.monotonic())
        del came[:-INSISTING]
        return end if len(came) == INSISTING and came[-1] - came[0] <= WITHIN else None

    return answer
