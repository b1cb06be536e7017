"""How an attempt of a nine-methods plugin ends: by its handler's state, or by a process that submit_job started."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, NamedTuple

from aiflow_ext.model.current import OUT_OF_MEMORY
from aiflow_ext.model.errors import UnreachableError, text_of
from aiflow_ext.model.job import AbstractJobHandler
from aiflow_ext.model.states import JobState
from aiflow_ext.run.platforms.silence import Silence

CANNOT_TELL = "submit_job returned; its handler cannot tell more"
KEPT = "submit_job returned and its process ended; its handler cannot tell more"
_HANDLER = "the handler"
# Errors of files on this machine are mistakes; any other OSError means a platform that does not answer.
_MISTAKES = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)


class Outcome(NamedTuple):
    """An exit code, 0 for FINISHED, and a message."""

    code: int
    words: str | None = None
    open: bool = False  # whether the job that submit_job has started may still be running


def outcome_of(
    handler: Any,
    processes: Sequence[subprocess.Popen[Any]],
    stopping: threading.Event,
    stop_again: Callable[[], None],
    silence: Silence,
) -> Outcome:
    """Wait for the end of a job whose ``submit_job`` has returned ``handler``.

    If the handler knows the job's state, it is polled. If it does not, returning was the end; but a process that
    ``submit_job`` started and the plugin keeps is the job, and is waited for.

    Args:
        handler: what ``submit_job`` returned.
        processes: those processes.
        stopping: set once the job is to be stopped.
        stop_again: called if the job goes on although it was stopped while it was being submitted.
        silence: notified while the handler gets no answer.
    """
    return (
        _told(handler, stopping, stop_again, silence)
        or _kept(processes, stopping, stop_again)
        or Outcome(0, CANNOT_TELL)
    )


def failure(step: str, error: BaseException) -> Outcome:
    """The outcome of an exception in one of the author's methods."""
    text = text_of(error).strip()
    words = f"{step}: {type(error).__name__}: {text}" if text else f"{step}: {type(error).__name__}"
    if isinstance(error, MemoryError):
        words = f"{OUT_OF_MEMORY}{words}"
    code = getattr(error, "returncode", 1) if isinstance(error, subprocess.CalledProcessError) else 1
    if isinstance(error, SystemExit):
        if error.code in (None, 0):
            return Outcome(0, f"{step} called sys.exit()")
        number = error.code if isinstance(error.code, int) else 1
        code, words = number, f"{step} called sys.exit({error.code!r})"
    return Outcome(_exit_code(code), words)


def _told(handler: Any, stopping: threading.Event, stop_again: Callable[[], None], silence: Silence) -> Outcome | None:
    wait, state = own(handler, "wait"), own(handler, "state")
    if wait is None and state is None:
        return None
    again = stopping.is_set()
    pause = 0.05
    while True:
        silent = False
        try:
            said = call(wait) if wait is not None and not again else None
            said = call(state) if said is None and state is not None else said
            if said is None and again and wait is not None:
                stop_again()
                again = False
                continue
            silence.note(_HANDLER, None)
        except (OSError, UnreachableError) as error:
            if isinstance(error, _MISTAKES):
                raise
            silence.note(_HANDLER, error)  # no answer is not an end; it is polled again
            said, silent = JobState.RUNNING, True
        if said is None or isinstance(said, bool):
            return None
        outcome = _meaning(said)
        if outcome is not None:
            return outcome
        if again:
            stop_again()
            again = False
        # The plugin's handler is polled: it cannot notify us. Once the job is being stopped, poll more often.
        time.sleep(pause if silent else 0.1) if stopping.is_set() else stopping.wait(pause)
        pause = min(pause * 1.5, 5.0)


def _meaning(said: Any) -> Outcome | None:
    """The outcome of a handler's answer: an end, or None while the job goes on."""
    if isinstance(said, int) and not isinstance(said, Enum):  # as Popen.wait() tells it
        return process_end("the job", said) or Outcome(0)
    word = said.value if isinstance(said, Enum) and isinstance(said.value, str) else getattr(said, "name", said)
    state = JobState.__members__.get(word.upper()) if isinstance(word, str) else None
    if state is None:
        known = ", ".join(state for state in JobState)
        return Outcome(1, f"its handler says {said!r}, which is no JobState; the states are {known}", open=True)
    if not state.ended:
        return None
    return Outcome(0) if state is JobState.FINISHED else Outcome(1, f"its handler says {state}")


def own(handler: Any, name: str) -> Callable[..., Any] | None:
    """The handler's method where its author wrote one."""
    method = getattr(handler, name, None)
    if isinstance(handler, type) or not callable(method):
        return None
    return None if getattr(method, "__func__", None) is getattr(AbstractJobHandler, name) else method


def takes(method: Callable[..., Any], *arguments: Any) -> bool:
    """Whether an author's method can be called with these arguments; True also if its signature is not known."""
    import inspect

    try:
        inspect.signature(method).bind(*arguments)
    except TypeError:
        return False
    except ValueError:
        pass
    return True


def call(method: Callable[..., Any]) -> Any:
    """The result of an author's ``state`` or ``wait``, called without a timeout."""
    return method() if takes(method) else method(None)  # an author's wait(timeout) without a default


def _kept(
    processes: Sequence[subprocess.Popen[Any]], stopping: threading.Event, stop_again: Callable[[], None]
) -> Outcome | None:
    """Wait for ``processes``; None where there are none."""
    failed: Outcome | None = None
    for process in processes:
        print(
            f"aiflow-ext: submit_job has returned; waiting for its process {process.pid}", file=sys.stderr, flush=True
        )
        if stopping.is_set():
            stop_again()
        failed = failed or process_end(f"process {process.pid}", process.wait())
    return failed or (Outcome(0, KEPT) if processes else None)


def running(*owners: Any) -> list[subprocess.Popen[Any]]:
    """The processes that these objects keep, as an attribute or in a list or dict that is one, and that were not waited
    for yet."""
    found: dict[int, subprocess.Popen[Any]] = {}
    for owner in owners:
        for value in list(getattr(owner, "__dict__", {}).values()):
            inside = value.values() if isinstance(value, dict) else value
            for thing in [*inside] if isinstance(value, (list, tuple, set, dict)) else [value]:
                if isinstance(thing, subprocess.Popen) and thing.returncode is None:
                    found[id(thing)] = thing
    return list(found.values())


def process_end(what: str, code: int) -> Outcome | None:
    """A message about a process's ``returncode``; None for success."""
    if code == 0:
        return None
    if code > 0:
        return Outcome(_exit_code(code), f"{what} ended with exit code {code}")
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return Outcome(_exit_code(code), f"{what} was ended by {name}")


def _exit_code(code: int) -> int:
    """``code`` as a valid exit code other than 0; a signal N as 128 + N, as in shells."""
    return 128 - code if -128 < code < 0 else code & 0xFF or 1
