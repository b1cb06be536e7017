"""From a client's request to a process: its streams, folder, umask and program."""

from __future__ import annotations

import errno
import os
import signal
import time

from aiflow_ext.regular_file import NotRegularError, open_to_append
from aiflow_ext.shared_folder import share_file
from aiflow_ext.supervise import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_OWN_UMASK = 0o077


class Process:
    """A living process: a child of the supervisor, or one adopted from a supervisor that died."""

    __slots__ = ("began", "child", "id", "mark", "pid", "pidfd", "start", "sure")

    def __init__(self, id: str, mark: str, pid: int, start: int, child: bool) -> None:
        self.id, self.mark, self.pid, self.start, self.child = id, mark, pid, start, child
        # Whether it is certainly the main process, so that its end is the main process's end.
        self.sure = True
        self.pidfd: int | None = None
        # Seconds since the boot; known only of the supervisor's own children.
        self.began: float | None = time.clock_gettime(time.CLOCK_BOOTTIME) if child else None


def spawn(spec: dict[str, Any], umask: int, stdin: int) -> int:
    """Start the program of ``spec``; its pid. OSError and ValueError: it cannot be started.

    Args:
        spec: a :class:`~aiflow_ext.supervise.records.ProcessSpec` as it is sent.
        umask: the umask that the program gets.
        stdin: a descriptor that is close-on-exec.
    """
    opened: list[int] = []
    try:
        for path in (spec["stdout"], spec["stderr"]):
            opened.append(open_to_append(path))
            share_file(opened[-1], os.path.dirname(path))
        argv, env = spec["argv"], spec["env"]
        # posix_spawn knows neither folder nor umask; this process has one thread, and needs neither itself.
        os.chdir(spec["cwd"])
        os.umask(umask)
        # Everything else is close-on-exec: the child holds the lock until the exec, and no longer.
        return kernel.spawn(_program(argv[0], env), argv, env, (stdin, *opened))
    finally:
        os.umask(_OWN_UMASK)
        os.chdir("/")
        for descriptor in opened:
            os.close(descriptor)


def why_not(error: Exception) -> str:
    """A message about what :func:`spawn` raised."""
    if isinstance(error, NotRegularError):
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.errno:
        name = error.filename.decode(errors="replace") if isinstance(error.filename, bytes) else error.filename
        return f"{os.strerror(error.errno)}: {name}" if name else os.strerror(error.errno)
    return f"{type(error).__name__}: {error}"


def _program(command: str, env: dict[str, str]) -> str:
    """The path of a command, by the PATH of its environment. FileNotFoundError: it is not found."""
    if "/" in command:
        return command
    there: str | None = None
    for folder in env.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(folder or ".", command)
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
        if there is None and os.path.exists(path):
            there = path
    if there is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command)
    return there  # the kernel says why it cannot be executed


def default_signals() -> None:
    """Set every signal to its default, for children. An exec resets handlers, but not ignored signals."""
    for number in signal.valid_signals():
        # Python's own two, SIGPIPE and SIGXFSZ, are restored at the spawn.
        if signal.getsignal(number) is signal.SIG_IGN and number not in kernel.PYTHON_IGNORES:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
