"""Runs driven by another process, in a session of its own."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import aiflow_ext
from aiflow_ext.model import errors
from aiflow_ext.model.errors import AiflowError, PlatformError, Problem, StateError
from aiflow_ext.regular_file import open_to_append, read_regular
from aiflow_ext.run.operations.resume import folder_of
from aiflow_ext.run.operations.start import Run, prepare, remove
from aiflow_ext.run.store.find import open_run
from aiflow_ext.shared_folder import share_file

_log = logging.getLogger("aiflow_ext")
LOG = "driver.log"
PATIENCE = 600.0  # seconds in which a driver takes up its run: each server has about a minute for an answer to a check
TOLD = 30.0  # seconds after which it is told, again and again, that the driver is still waited for
_LOOK = 0.5  # seconds between two looks whether it still lives
MOST_READ = 1 << 20  # bytes of the log of a driver that ended early
_READY = b"ready"
# The command line, imported from where it is here: "-m" would first look for it, and for all that it imports, in the
# current folder, which may be another user's.
_HOME = str(Path(aiflow_ext.__file__).parents[1])
# Python 3.13.0 fails to import socket with -c alone in a folder that was deleted; 3.10 has no -P.
_SAFE = ["-P"] if sys.version_info >= (3, 11) else []
_DRIVER = f"import sys; sys.path[:] = [*filter(None, sys.path), {_HOME!r}]; from aiflow_ext.cli import main; main()"


def detach(folder: str | os.PathLike[str], **options: Any) -> tuple[str, int]:
    """Prepare a run, as ``run.run_project`` does, and start another process that drives it.

    Returns the run's id and the driver's pid. Raises the errors of preparing the run and of :func:`drive`.
    """
    run = prepare(folder, **options)
    run.close()
    try:
        return run.record.run_id, drive(run.record.run_id, run.record.project, run.record.folder)
    except PlatformError:  # refused, as in the foreground, before anything was started
        remove(run.record, run.plan.desc.artifacts)
        raise


def detach_resumed(
    run: str,
    *,
    project: str | None = None,
    failed: bool = False,
    from_job: str | None = None,
    jobs: int | None = None,
    update: bool = False,
) -> tuple[str, int]:
    """Start another process that resumes a run; options as ``resume.take_up``'s. Returns and raises as
    :func:`detach`."""
    store, run_id = open_run(run, project)
    record = store.run(run_id)
    store.close()
    more = ["--failed"] if failed else []
    more += [] if from_job is None else [f"--from={from_job}"]
    more += [] if jobs is None else [f"--jobs={jobs}"]
    more += ["--update"] if update else []
    return run_id, drive(run_id, record.project, str(folder_of(record)), more)


def drive(run_id: str, project: str, folder: str, options: Sequence[str] = ()) -> int:
    """Start another process that drives a stored run; returns its pid once it holds the run's lock.

    Args:
        run_id: the run's id.
        project: the project's folder.
        folder: the run's folder.
        options: further options of ``aiflow-ext resume``.

    Raises the error with which that process ended before, and StateError if it has not taken up the run within
    ``PATIENCE``; then it goes on.
    """
    answers, telling = os.pipe2(os.O_CLOEXEC)
    argv = [sys.executable, *_SAFE, "-c", _DRIVER, "resume", run_id, f"--project={project}", "--on-interrupt=leave",
            f"--ready={telling}", *options]  # fmt: skip
    with open(answers, "rb"):
        try:
            with open(open_to_append(Path(folder, LOG)), "ab") as log:
                begin = log.tell()
                share_file(log.fileno(), folder)
                driver = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, pass_fds=[telling]
                )
        except OSError as error:
            raise StateError(
                f"the driver's log cannot be written: {error.strerror}",
                where=str(Path(folder, LOG)),
                hint=f"give permission or make room there, then: aiflow-ext resume {run_id}",
            ) from error
        finally:
            os.close(telling)
        said = _said(answers, driver, run_id, Path(folder, LOG))
    if said == _READY:
        return driver.pid
    if said is None:
        raise StateError(
            f"the driver of run {run_id} has not taken up the run within {PATIENCE:.0f} s; it goes on, as process "
            f"{driver.pid}", where=str(Path(folder, LOG)),
            hint=f"see its log; look at the run: aiflow-ext status {run_id}; end the driver: kill {driver.pid}",
        )  # fmt: skip
    if said:
        driver.wait()
        raise _raised(json.loads(said))
    raise _died(run_id, driver.wait(), Path(folder, LOG), begin)


def _said(answers: int, driver: subprocess.Popen[bytes], run_id: str, log: Path) -> bytes | None:
    """What a driver has said; empty: it has ended without a word. None: nothing, for ``PATIENCE`` seconds."""
    said, began = b"", time.monotonic()
    next_told = began + TOLD
    poll = select.poll()
    poll.register(answers, select.POLLIN)
    while True:
        if poll.poll(_LOOK * 1000):
            data = os.read(answers, 1 << 16)
            said += data
            if not data or said == _READY:
                return said
        elif driver.poll() is not None:  # a process that a plugin has started may hold the pipe open
            return said
        now = time.monotonic()
        if now >= next_told:
            next_told = now + TOLD
            _log.warning("waiting for the driver of run %s, process %d, for %.0f s so far: it checks the run's "
                         "platforms first; its log is %s", run_id, driver.pid, now - began, log)  # fmt: skip
        if now - began >= PATIENCE:
            return None


def announced(prepare: Callable[[], Run], descriptor: int) -> Run:
    """Call ``prepare``, and report its result to the process that waits in :func:`drive`."""
    os.set_inheritable(descriptor, False)
    words = b""
    try:
        run = prepare()
        words = _READY
        return run
    except AiflowError as error:
        problems = [[each.message, each.where, each.hint] for each in error.problems]
        words = json.dumps([type(error).__name__, error.exit_code, problems]).encode()
        raise
    finally:
        with contextlib.suppress(OSError), open(descriptor, "wb") as telling:  # that process may not wait any more
            telling.write(words)


def _raised(said: list[Any]) -> AiflowError:
    """The error that the driver has raised."""
    name, code, problems = said
    kind = getattr(errors, name, None)
    if not (isinstance(kind, type) and issubclass(kind, AiflowError)):
        kind = StateError
    error: AiflowError = kind(problems=[Problem(*each) for each in problems])
    error.exit_code = code
    return error


def _died(run_id: str, code: int, log: Path, begin: int) -> StateError:
    """The error for a driver that ended without reporting one."""
    lines = read_regular(log, MOST_READ, begin).decode("utf-8", "replace").split("\n")
    last = next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")
    how = f"exit code {code}" if code >= 0 else f"signal {-code}"
    error = StateError(
        f"the driver of run {run_id} ended before it had taken up the run, with {how}{last}",
        where=str(log),
        hint=f"go on with the run: aiflow-ext resume {run_id}",
    )
    error.exit_code = code if code > 0 else StateError.exit_code
    return error
