"""SIGINT, SIGTERM and SIGHUP, answered whatever the main thread does.

Python runs signal handlers in the main thread, between two of its own steps: never while a plugin, a server or a disk
holds that thread in one call, and without effect where code swallows KeyboardInterrupt. The C level writes the number
of each signal to a pipe as it comes (``signal.set_wakeup_fd``). A thread reads it, has the signal answered, and looks
again a second later: a command that should have ended by then is ended, as by SIGKILL, which loses nothing on record.
"""

from __future__ import annotations

import _thread
import contextlib
import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from aiflow_ext.model.errors import INTERRUPTED

PATIENCE = 1.0  # seconds after which an answer is looked at again
HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Task = Callable[[], None]
_exit = os._exit  # imports of plugins replace it for a while
_OURS = {"__main__", "aiflow_ext", "click", "pluggy", *sys.stdlib_module_names}
_main_thread = 0
_masks: dict[int, set[int]] = {}  # by thread that forks: the signals that were blocked before
_pipe = (-1, -1)
_answer: Callable[[int], Task | None]
_farewell: Callable[[], int]


def watch() -> None:
    """From now on signals are answered; called once, in the main thread.

    SIGINT is KeyboardInterrupt as ever, and SIGTERM and SIGHUP end the process, unless :func:`answer_by` says
    otherwise.
    """
    global _main_thread, _pipe
    if _main_thread:
        return
    _main_thread = _thread.get_ident()
    _pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    _hear()
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
    _thread.start_new_thread(_listen, ())


def answer_by(answer: Callable[[int], Task | None], farewell: Callable[[], int]) -> None:
    """Have signals answered by ``answer`` in place of Python.

    Args:
        answer: called with a signal's number, in a thread of its own; returns what is to be done ``PATIENCE`` seconds
            later if the process is still there, such as :func:`end`.
        farewell: says what there is to say of a command that is ended in the midst of a call; returns its exit code.
    """
    global _answer, _farewell
    _answer, _farewell = answer, farewell
    for number in HANDLED:
        if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue  # nohup: whoever started it wants it to outlive the terminal
        signal.signal(number, _heard)


def answer_as_before(code: int = INTERRUPTED) -> None:
    """Have signals answered by Python again; ``code``: the exit code of a command that is ended from now on."""
    global _answer, _farewell
    _answer, _farewell = _by_python, lambda: code
    for number in HANDLED:
        if signal.getsignal(number) is _heard:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def end() -> None:
    """End the process now, whatever its threads do."""
    code = INTERRUPTED
    with contextlib.suppress(Exception):
        code = _farewell()
    _exit(code)


def say(words: str) -> None:
    """Print a line on stderr by a way on which nothing waits; control characters are escaped."""
    from aiflow_ext.cli.escape import one_line

    write(2, f"{one_line(words)}\n".encode("utf-8", "backslashreplace"))


def write(descriptor: int, data: bytes, seconds: float = 0.2) -> None:
    """Write ``data``, as far as that is possible within ``seconds``."""
    deadline = time.monotonic() + seconds
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    with contextlib.suppress(OSError):
        while data and poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            data = data[os.write(descriptor, data[: select.PIPE_BUF]) :]


def wait_for_input(descriptor: int) -> int | None:
    """In the thread that answers: wait until ``descriptor`` can be read, or for the next signal; returns its number."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.register(_pipe[0], select.POLLIN)
    while True:
        ready = [number for number, _ in poll.poll()]
        if _pipe[0] not in ready:
            return None
        if (number := _next()) in HANDLED:
            return number


def place() -> str | None:
    """What the main thread is in, where that is not of aiflow-ext: ``check_platform (/site/plugin.py:12)``."""
    found, frame = None, sys._current_frames().get(_main_thread)
    while frame is not None:  # the outermost: what was called, not where it waits
        name = str(frame.f_globals.get("__name__"))
        if name.partition(".")[0] not in _OURS and not frame.f_code.co_filename.startswith("<"):
            found = f"{frame.f_code.co_name} ({frame.f_code.co_filename}:{frame.f_lineno})"
        frame = frame.f_back
    return found


def _by_python(number: int) -> Task:
    """The default: the command is to end."""
    return end


def _interrupted() -> int:
    """The default: nothing more is to be said than in what it was."""
    where = place()
    say(f"aiflow-ext: interrupted, and still {f'in {where}' if where else 'waiting'}")
    return INTERRUPTED


_answer, _farewell = _by_python, _interrupted


def _listen() -> None:
    """In the thread that answers."""
    poll = select.poll()
    poll.register(_pipe[0], select.POLLIN)
    then: Task | None = None
    deadline = math.inf
    while True:
        wait = None if then is None else max(0.0, deadline - time.monotonic()) * 1000
        if not poll.poll(wait) and then is not None:
            task, then = then, None
            task()
        number = _next()
        if number in HANDLED and (found := _answer(number)) is not None and then is not end:
            then, deadline = found, time.monotonic() + PATIENCE


def _next() -> int:
    """The number of the next signal that has come; 0 where none has."""
    try:
        return os.read(_pipe[0], 1)[0]
    except BlockingIOError:
        return 0


def _hear() -> int:
    """Have signals written to the pipe; returns where they were written to before."""
    return signal.set_wakeup_fd(_pipe[1], warn_on_full_buffer=False)


def _heard(number: int, frame: FrameType | None) -> None:
    """In the main thread: the pipe has it already, unless somebody has replaced that."""
    if _hear() != _pipe[1]:
        os.write(_pipe[1], bytes([number]))


def _before_fork() -> None:
    """Signals to a child must not be written to this process's pipe: they wait until the child has let go of it."""
    _masks[_thread.get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)


def _after_fork() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.pop(_thread.get_ident()))


def _in_child() -> None:
    with contextlib.suppress(ValueError):
        signal.set_wakeup_fd(-1)
        answer_as_before()
    _after_fork()
