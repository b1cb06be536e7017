"""SIGINT, SIGTERM and SIGHUP: they work whatever call the main thread is in.

Python runs signal handlers in the main thread, between two bytecode instructions: not while a plugin, a server or a
disk blocks that thread in one call, and without effect where code swallows KeyboardInterrupt. But the interpreter's C
handler writes each signal's number to a pipe at once (``signal.set_wakeup_fd``). A thread reads that pipe, calls the
answer to the signal, and checks a second later: a command that should have ended by then is ended with ``os._exit``.
For a run's records this is the same as SIGKILL, after which no job is lost or started twice.
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

PATIENCE = 1.0  # seconds between a signal and the check of what has become of it
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
    """Start the thread; called in the main thread, elsewhere nothing happens.

    SIGINT still raises KeyboardInterrupt, and SIGTERM and SIGHUP end the process, until :func:`answer_by` is called.
    """
    global _main_thread, _pipe
    if _main_thread:
        return
    _pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _set_wakeup()
    except ValueError:  # not the main thread: the command line is embedded in another program
        return
    _main_thread = _thread.get_ident()
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
    _thread.start_new_thread(_listen, ())


def answer_by(answer: Callable[[int], Task | None], farewell: Callable[[], int]) -> None:
    """Call ``answer`` for each signal, in place of Python's own handlers.

    Args:
        answer: called with the signal's number, in the thread of this module; returns what to call ``PATIENCE`` seconds
            later if the process still runs, such as :func:`end`; None: nothing.
        farewell: called before the process is ended in the middle of a call; prints what the user should know, and
            returns the exit code.
    """
    global _answer, _farewell
    _answer, _farewell = answer, farewell
    for number in HANDLED:
        if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue  # nohup: the command is to outlive the terminal
        signal.signal(number, _on_signal)


def interrupt(answer: Callable[[int], Task | None]) -> None:
    """Have each signal raise KeyboardInterrupt in the main thread, with the signal's name, and call ``answer``, as
    :func:`answer_by` does."""
    global _answer
    _answer = answer
    for number in HANDLED:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise)


def answer_as_before(code: int = INTERRUPTED) -> None:
    """Restore Python's own handlers; ``code``: the exit code of a command that must be ended from now on."""
    global _answer, _farewell
    _answer, _farewell = _by_python, lambda: code
    for number in HANDLED:
        if signal.getsignal(number) in (_on_signal, _raise):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def end() -> None:
    """End the process now, whatever its threads are doing."""
    code = INTERRUPTED
    with contextlib.suppress(Exception):
        code = _farewell()
    _exit(code)


def say(words: str) -> None:
    """Print a line on stderr without blocking and without locks; control characters are escaped."""
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
    """Wait, in an answer, until ``descriptor`` is readable (None) or the next signal comes; returns its number."""
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
    """The function of others that the main thread is in: ``check_platform (/site/plugin.py:12)``; None: in none."""
    found, frame = None, sys._current_frames().get(_main_thread)
    while frame is not None:  # the outermost: what was called, not where it waits
        name = str(frame.f_globals.get("__name__"))
        if name.partition(".")[0] not in _OURS and not frame.f_code.co_filename.startswith("<"):
            found = f"{frame.f_code.co_name} ({frame.f_code.co_filename}:{frame.f_lineno})"
        frame = frame.f_back
    return found


def _by_python(number: int) -> Task:
    """The default answer: Python's handler is to end the command."""
    return end


def _interrupted() -> int:
    """The default farewell."""
    where = place()
    say(f"aiflow-ext: interrupted, and still {f'in {where}' if where else 'waiting'}")
    return INTERRUPTED


_answer, _farewell = _by_python, _interrupted


def _listen() -> None:
    """The thread."""
    poll = select.poll()
    poll.register(_pipe[0], select.POLLIN)
    then: Task | None = None
    deadline = math.inf
    while True:
        wait = None if then is None else max(0.0, deadline - time.monotonic()) * 1000
        if not poll.poll(wait) and then is not None:
            task, then = then, None
            with contextlib.suppress(Exception):
                task()
        number = _next()
        if number not in HANDLED:
            continue
        try:
            found = _answer(number)
        except Exception:  # the next signal must work, too
            found = end
        if found is not None and then is not end:
            then, deadline = found, time.monotonic() + PATIENCE


def _next() -> int:
    """The number of the next signal in the pipe; 0: there is none."""
    try:
        return os.read(_pipe[0], 1)[0]
    except BlockingIOError:
        return 0


def _set_wakeup() -> int:
    """Let the C handler write to the pipe; returns the descriptor that it wrote to before."""
    return signal.set_wakeup_fd(_pipe[1], warn_on_full_buffer=False)


def _on_signal(number: int, frame: FrameType | None) -> None:
    """Python's handler: the pipe has the number already, unless a library has replaced the descriptor."""
    if _set_wakeup() != _pipe[1]:
        os.write(_pipe[1], bytes([number]))


def _raise(number: int, frame: FrameType | None) -> None:
    _on_signal(number, frame)
    raise KeyboardInterrupt(signal.Signals(number).name)


def _before_fork() -> None:
    """Block signals until the child has closed its way to this process's pipe: they would count as this process's."""
    _masks[_thread.get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)


def _after_fork() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.pop(_thread.get_ident()))


def _in_child() -> None:
    with contextlib.suppress(ValueError):
        signal.set_wakeup_fd(-1)
        answer_as_before()
    _after_fork()
