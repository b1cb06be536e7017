"""Runs driven by another process, in a session of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
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

LOG = "driver.log"
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
) -> tuple[str, int]:
    """Start another process that resumes a run; options as ``resume.take_up``'s. Returns and raises as
    :func:`detach`."""
    store, run_id = open_run(run, project)
    record = store.run(run_id)
    store.close()
    more = ["--failed"] if failed else []
    more += [] if from_job is None else [f"--from={from_job}"]
    more += [] if jobs is None else [f"--jobs={jobs}"]
    return run_id, drive(run_id, record.project, str(folder_of(record)), more)


def drive(run_id: str, project: str, folder: str, options: Sequence[str] = ()) -> int:
    """Start another process that drives a stored run; returns its pid once it holds the run's lock.

    Args:
        run_id: the run's id.
        project: the project's folder.
        folder: the run's folder.
        options: further options of ``aiflow-ext resume``.

    Raises the error with which that process ended before.
    """
    answers, telling = os.pipe2(os.O_CLOEXEC)
    argv = [sys.executable, *_SAFE, "-c", _DRIVER, "resume", run_id, f"--project={project}", "--on-interrupt=leave",
            f"--ready={telling}", *options]  # fmt: skip
    with open(answers, "rb") as answer:
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
        said = answer.read()
    if said == _READY:
        return driver.pid
    if said:
        driver.wait()
        raise _raised(json.loads(said))
    raise _died(run_id, driver.wait(), Path(folder, LOG), begin)


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
