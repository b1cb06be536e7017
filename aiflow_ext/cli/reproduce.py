"""``aiflow-ext reproduce``: an attempt again, on this terminal. Stdout is the job's; what is told goes to stderr."""

from __future__ import annotations

import contextlib
import getpass
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from aiflow_ext.api.reproduce import Reproduction, prepare, removed
from aiflow_ext.cli import signals
from aiflow_ext.cli.escape import indented, one_line
from aiflow_ext.cli.in_process import insist
from aiflow_ext.cli.output import keep_exit_code, print, release_stdout
from aiflow_ext.model.errors import DataError
from aiflow_ext.model.names import path_shown
from aiflow_ext.supervise.kernel import killed_with_parent
from aiflow_ext.supervise.sweep import Sweep, sweep

LEFT = "the debugger was left"  # the runner's reason
GRACE = 5.0  # seconds between SIGTERM and SIGKILL of the job, and of what it has left


def reproduce(
    run: str,
    job: str,
    *,
    attempt: int | None,
    pdb: bool,
    first_line: bool,
    shell: bool,
    python: str | None,
    keep: str | None,
    project: str | None,
) -> int:
    """Run an attempt again.

    Args:
        run: as in ``api.reproduce.prepare``, like ``job``, ``attempt``, ``python`` and ``project``.
        job: likewise.
        attempt: likewise.
        python: likewise.
        project: likewise.
        pdb: open the debugger where the job raises.
        first_line: open it at the first line of each function.
        shell: open a shell in the job's place.
        keep: the folder that is kept afterwards; None: a temporary one, which is removed.

    Returns the exit code of the job, or of the shell, or 128 + the number of the signal that has ended it.
    """
    is_terminal = os.isatty(0)
    opens = ["first line"] * first_line + ["raised"] * pdb
    keep_exit_code()
    folders: list[Path] = []
    with _interruptible(folders):
        made = prepare(run, job, attempt=attempt, project=project, python=python, folder=keep,
                       debugger=opens if opens or is_terminal else None, ask=_ask if is_terminal else None,
                       making=folders.append)  # fmt: skip
        try:
            _tell(made)
            release_stdout()
            if shell:
                _say(f"a shell in the job's folder, with its variables; to run the job: sh {made.script}")
            code = _run(made, [_shell()] if shell else made.argv, is_terminal=is_terminal)
            if not shell and made.reason != LEFT:
                _tell_end(made, code)
        finally:
            _leave(made, keep)
    return code if code >= 0 else 128 - code


@contextmanager
def _interruptible(folders: Sequence[Path]) -> Iterator[None]:
    """Have signals raise KeyboardInterrupt; where that has no effect, the folders are removed and the process ends."""

    def abandon() -> None:
        for folder in folders:
            removed(folder)
        signals.end()

    signals.interrupt(lambda number: abandon)
    try:
        yield
    finally:
        signals.answer_as_before()


def _shell() -> str:
    """The user's own shell."""
    return os.environ.get("SHELL") or "/bin/sh"


def _run(made: Reproduction, argv: list[str], *, is_terminal: bool) -> int:
    """Run the job, or a shell, in the foreground, and end what it has left; returns its exit code, negative for a
    signal."""
    sys.stderr.flush()
    try:
        before = killed_with_parent()
    except OSError:
        before = None
    try:
        process = subprocess.Popen(argv, env=made.env, cwd=made.work, preexec_fn=before)
    except OSError as error:
        print(one_line(f"aiflow-ext: {argv[0]} cannot be started: {error.strerror}"), file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126
    with _passed_on(process, made.mark, is_terminal=is_terminal):
        code = process.wait()
        sweep(Sweep(mark=made.mark, grace=GRACE))
    return code


@contextmanager
def _passed_on(process: subprocess.Popen[bytes], mark: str, *, is_terminal: bool) -> Iterator[None]:
    """Have the job get the signals that come: SIGINT, which a terminal sends it by itself, and SIGTERM and SIGHUP, with
    GRACE to end with all that it has started. A job that is not ended by SIGINT three times is killed."""

    def end(grace: float) -> None:
        threading.Thread(target=sweep, args=[Sweep(mark=mark, grace=grace)], daemon=True).start()

    insisted = insist(lambda: end(0))

    def answer(number: int) -> Callable[[], None] | None:
        if number != signal.SIGINT:
            end(GRACE)
            return None
        if not is_terminal:
            with contextlib.suppress(OSError):
                process.send_signal(number)
        return insisted(number)

    signals.answer_by(answer, lambda: 128 + signal.SIGKILL)
    try:
        yield
    finally:
        signals.answer_as_before()


def _tell(made: Reproduction) -> None:
    """Say what is run again, what it reads, and what is not as it was."""
    past = made.past
    reason = f": {indented(past.record.reason)}" if past.record.reason else ""
    _say(f"attempt {past.record.number} of {one_line(past.planned.name)}, run {past.run.run_id}: "
         f"{past.record.state}{reason}")  # fmt: skip
    _rows("its inputs, as they are on record:", [(each.name, f"{each.size} bytes", f"sha256 {each.sha256}")
                                                 for each in made.inputs])  # fmt: skip
    _rows("what is not as it was then:", [(each.what, f"then {each.then}", f"here {each.here}")
                                          for each in made.differences])  # fmt: skip


def _tell_end(made: Reproduction, code: int) -> None:
    """Say whether it has ended as it did in the run, and what it has made."""
    then, reason = made.past.record, made.reason
    here = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
    is_same = then.exit_code == code or (then.signal is not None and then.signal == -code)
    if is_same and code and then.reason != reason:
        is_same = reason is None or (then.reason or "").startswith(reason) or reason.startswith(str(then.reason))
    words = f"{here}: {indented(reason)}" if reason and code else here
    if not then.state.ended:
        _say(f"it has ended with {words}; in the run it is {then.state}")
    elif is_same:
        _say(f"it has ended as it did in the run, with {words}")
    else:
        ended = f"exit code {then.exit_code}" if then.exit_code is not None else "no exit code on record"
        _say(f"it has ended otherwise than in the run: with {words}; there it is {then.state}, {ended}"
             f"{': ' + indented(then.reason) if then.reason else ''}")  # fmt: skip
    try:
        rows = [
            (each.name, f"{each.size} bytes", f"sha256 {each.sha256}", _compared(each.sha256, each.then))
            for each in made.outputs()
        ]
        _rows("it has made:", rows)
    except DataError as error:
        _say(f"what it has made cannot be compared: {indented(str(error))}")


def _compared(here: str, then: str | None) -> str:
    if then is None:
        return ""
    return "as in the run" if here == then else f"not as in the run: {then}"


def _leave(made: Reproduction, keep: str | None) -> None:
    if keep is not None:
        _say(f"its folder is {path_shown(str(made.folder))}")
    elif not made.remove():
        _say(f"its folder cannot be removed, not all of it: {path_shown(str(made.folder))}")


def _rows(title: str, rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns, if there are any."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    if cells:
        _say(title)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        _say("    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _say(words: str) -> None:
    print(words, file=sys.stderr)


def _ask(variable: str, reference: str) -> str:
    """Have the user type a secret, unseen."""
    words = f"{one_line(variable)}, from secret {one_line(reference)}, which this machine cannot read: "
    return getpass.getpass(words, stream=sys.stderr)
