"""The command line: commands and options, and output for people (tables) and for programs (JSON).

Others may use: ``main``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from aiflow_ext.model.errors import INTERRUPTED

LINGER = 10.0  # seconds at most that a finished command waits for threads which plugins or extensions have started


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code (docs/exit-codes.md)."""
    try:
        from aiflow_ext.cli import signals

        signals.watch()
        from aiflow_ext.cli.output import finish, guard_streams

        guard_streams()
        from aiflow_ext.cli.commands import program
        from aiflow_ext.cli.failures import run_guarded

        code = finish(run_guarded(program, list(sys.argv[1:] if argv is None else argv)))
    except KeyboardInterrupt:  # while it was still being loaded, or just at the end
        print("aiflow-ext: interrupted", file=sys.stderr)
        code = INTERRUPTED
    except ModuleNotFoundError as error:  # what prints errors in other cases needs click, which may be what is missing
        from aiflow_ext.cli.incomplete import incomplete

        if (lacks := incomplete(error)) is None:
            raise
        print(f"error: {lacks}", file=sys.stderr)
        sys.exit(lacks.exit_code)
    signals.answer_as_before(code)
    if "threading" in sys.modules:
        _wait_for_threads(code)
    sys.exit(code)


def _wait_for_threads(code: int) -> None:
    """Wait for threads that a plugin or an extension has left running, as Python would, but not for ever."""
    import threading
    import time

    deadline = time.monotonic() + LINGER
    for thread in threading.enumerate():
        if thread is threading.main_thread() or thread.daemon:
            continue
        try:
            thread.join(max(0.0, deadline - time.monotonic()))
        except KeyboardInterrupt:
            pass
        if thread.is_alive():
            words = (
                f"the thread {thread.name!r}, which a plugin or an extension started, does not end; it is left behind"
            )
            print(f"aiflow-ext: {words}", file=sys.stderr)
            sys.stderr.flush()
            os._exit(code)
