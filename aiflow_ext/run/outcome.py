"""How an attempt of a nine-methods plugin has ended: what its handler tells, or what submit_job left to wait for."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from enum import Enum
from typing import Any, NamedTuple

from aiflow_ext.model.job import AbstractJobHandler
from aiflow_ext.model.states import JobState

CANNOT_TELL = "submit_job returned; its handler cannot tell more"
# Errors of this machine's own files are mistakes; any other OSError is a platform that does not answer.
_MISTAKES = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)


class Outcome(NamedTuple):
    """An exit code, 0 for FINISHED, and the words to it."""

    code: int
    words: str | None = None


def outcome_of(
    handler: Any, before: Sequence[Any], stopping: threading.Event, stop_again: Callable[[], None]
) -> Outcome:
    """Wait for the end of what ``submit_job`` returned ``handler`` for.

    A handler that can tell is waited for and believed. Of one that cannot, the processes, threads and futures are
    waited for that submit_job started and the plugin still keeps; where there are none, returning was the end.

    Args:
        before: what was ``running()`` before submit_job was called.
        stopping: set once the job is to be stopped.
        stop_again: called where it runs on although it was stopped while it was being submitted.
    """
    told = _told(handler, stopping, stop_again)
    if told is None:
        told = _kept([thing for thing in running() if thing not in before], stopping, stop_again)
    return told or Outcome(0, CANNOT_TELL)


def failure(step: str, error: BaseException) -> Outcome:
    """What an exception out of one of the author's methods means."""
    text = str(error).strip()
    words = f"{step}: {type(error).__name__}: {text}" if text else f"{step}: {type(error).__name__}"
    code = getattr(error, "returncode", 1) if isinstance(error, subprocess.CalledProcessError) else 1
    if isinstance(error, SystemExit):
        if error.code in (None, 0):
            return Outcome(0, f"{step} called sys.exit()")
        number = error.code if isinstance(error.code, int) else 1
        code, words = number, f"{step} called sys.exit({error.code!r})"
    return Outcome(_exit_code(code), words)


def _told(handler: Any, stopping: threading.Event, stop_again: Callable[[], None]) -> Outcome | None:
    wait, state = _own(handler, "wait"), _own(handler, "state")
    if wait is None and state is None:
        return None
    again = stopping.is_set()
    pause, silent = 0.05, False
    while True:
        try:
            said = _call(wait) if wait is not None and not again else None
            said = _call(state) if said is None and state is not None else said
            if said is None and again and wait is not None:
                stop_again()
                again = False
                continue
            silent = False
        except OSError as error:
            if isinstance(error, _MISTAKES):
                raise
            if not silent:  # no answer is no end; it is asked again, and told once
                print(f"aiflow-ext: the handler cannot tell just now: {error}", file=sys.stderr, flush=True)
            said, silent = JobState.RUNNING, True
        if said is None or isinstance(said, bool):
            return None
        outcome = _meaning(said)
        if outcome is not None:
            return outcome
        if again:
            stop_again()
            again = False
        # A plugin's own poll: it has no way to tell us. Once it is being stopped, its end is near.
        time.sleep(0.1) if stopping.is_set() else stopping.wait(pause)
        pause = min(pause * 1.5, 5.0)


def _meaning(said: Any) -> Outcome | None:
    """What a handler's answer means: an end, or None where it goes on."""
    if isinstance(said, int) and not isinstance(said, Enum):  # as Popen.wait() tells it
        return _process_end("the job", said) or Outcome(0)
    word = said.value if isinstance(said, Enum) and isinstance(said.value, str) else getattr(said, "name", said)
    state = JobState.__members__.get(word.upper()) if isinstance(word, str) else None
    if state is None:
        known = ", ".join(state for state in JobState)
        return Outcome(1, f"its handler says {said!r}, which is no JobState; the states are {known}")
    if not state.ended:
        return None
    return Outcome(0) if state is JobState.FINISHED else Outcome(1, f"its handler says {state}")


def _own(handler: Any, name: str) -> Callable[..., Any] | None:
    """The handler's method where its author wrote one."""
    method = getattr(handler, name, None)
    if isinstance(handler, type) or not callable(method):
        return None
    return None if getattr(method, "__func__", None) is getattr(AbstractJobHandler, name) else method


def _call(method: Callable[..., Any]) -> Any:
    import inspect

    try:
        inspect.signature(method).bind()
    except ValueError:
        pass
    except TypeError:
        return method(None)  # an author's wait(timeout) without a default
    return method()


def _kept(things: Sequence[Any], stopping: threading.Event, stop_again: Callable[[], None]) -> Outcome | None:
    """Wait for ``things``; None where there are none."""
    outcome: Outcome | None = None
    names: list[str] = []
    for thing in things:
        if not names and stopping.is_set():
            stop_again()
        names.append(_name(thing))
        if _alive(thing):
            print(f"aiflow-ext: submit_job has returned; waiting for its {names[-1]}", file=sys.stderr, flush=True)
        ended = _end(thing)
        outcome = outcome if outcome is not None and outcome.code else ended
    if not names:
        return None
    if outcome is None:
        return Outcome(0, f"submit_job returned, and its {' and its '.join(names)} ended; its handler cannot tell more")
    return outcome


def running() -> list[Any]:
    """The processes, threads and futures that somebody in this process keeps and whose end nobody has seen.

    What nobody keeps (a Popen thrown away, a daemon) is no part of the job and is ended with the attempt.
    """
    return list(_running())


def _running() -> Iterator[Any]:
    thrown_away = getattr(subprocess, "_active", None) or ()
    processes = getattr(sys.modules.get("multiprocessing.process"), "BaseProcess", ())
    pools = "concurrent.futures.process" in sys.modules  # whose workers live on without work
    for thing in gc.get_objects():
        kind = type(thing)  # isinstance would ask a proxy for what it stands for
        if issubclass(kind, subprocess.Popen):
            if getattr(thing, "returncode", 0) is None and thing not in thrown_away:
                yield thing
        elif issubclass(kind, Future):
            yield thing
        elif processes and issubclass(kind, processes) and not pools:
            started = getattr(thing, "_popen", None)
            if started is not None and started.returncode is None and not thing.daemon:
                yield thing
    workers = getattr(sys.modules.get("concurrent.futures.thread"), "_threads_queues", {})
    managers = getattr(sys.modules.get("concurrent.futures.process"), "_threads_wakeups", {})
    for thread in threading.enumerate():
        if not (thread.daemon or thread is threading.main_thread() or thread in workers or thread in managers):
            yield thread


def _name(thing: Any) -> str:
    pid = getattr(thing, "pid", None)
    if pid is not None:
        return f"process {pid}"
    return f"thread {thing.name}" if isinstance(thing, threading.Thread) else "future"


def _alive(thing: Any) -> bool:
    if isinstance(thing, Future):
        return not thing.done()
    return thing.poll() is None if isinstance(thing, subprocess.Popen) else bool(thing.is_alive())


def _end(thing: Any) -> Outcome | None:
    if isinstance(thing, subprocess.Popen):
        return _process_end(f"process {thing.pid}", thing.wait())
    if isinstance(thing, Future):
        try:
            thing.result()
        except Exception as error:
            return failure("what submit_job left to a future", error)
        return None
    thing.join()
    return _process_end(f"process {thing.pid}", thing.exitcode) if hasattr(thing, "exitcode") else None


def _process_end(what: str, code: int) -> Outcome | None:
    """What a process's ``returncode`` means; None where all is well."""
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
    """``code`` as a process can end with it, never 0; a signal as the shell tells it."""
    return 128 - code if -128 < code < 0 else code & 0xFF or 1
