"""System calls, also those that the interpreter was compiled without.

A standalone build of Python (uv, mise, rye and hatch install one) is compiled against an old C library and lacks
functions that it did not have: ``os.pidfd_open``, ``fcntl.F_OFD_SETLK``, the ``setsid`` of ``os.posix_spawn``. The
kernel has
    them
from Linux 5.4 on. Here the interpreter's functions are used if they exist, else the system calls by number. The numbers
are the same on x86-64, arm64 and every other architecture.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable, Sequence

# fcntl(2): locks that belong to an open file, not to a process.
F_OFD_GETLK: int = getattr(fcntl, "F_OFD_GETLK", 36)
F_OFD_SETLK: int = getattr(fcntl, "F_OFD_SETLK", 37)

_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36  # prctl(2)
_SETSIGDEF, _SETSIGMASK, _SETSID = 0x04, 0x08, 0x80  # spawn.h, in glibc and in musl
PYTHON_IGNORES = (signal.SIGPIPE, signal.SIGXFSZ)
# Size of the opaque types of spawn.h and signal.h: at most 336 bytes in present C libraries.
_OPAQUE = 1024

_loaded: ctypes.CDLL | None = None
_instead: Callable[[str, list[str], dict[str, str], Sequence[int]], int] | None = None


def pidfd_open(pid: int) -> int:
    """A descriptor of the process ``pid``, which becomes readable when it ends. OSError: there is no such process."""
    native = getattr(os, "pidfd_open", None)
    if native is not None:
        return int(native(pid))
    return _syscall("pidfd_open", 434, pid, 0)


def pidfd_send_signal(pidfd: int, number: int) -> None:
    """Send a signal to the process of ``pidfd``, and to no other. OSError: it is gone, or not permitted."""
    native = getattr(signal, "pidfd_send_signal", None)
    if native is not None:
        native(pidfd, number)
    else:
        _syscall("pidfd_send_signal", 424, pidfd, number, 0, 0)


def become_subreaper() -> None:
    """Make orphaned descendants children of this process (prctl(2)). OSError: the kernel does not allow it."""
    libc = _libc("prctl")
    from ctypes import c_ulong, get_errno

    if libc.prctl(_SET_CHILD_SUBREAPER, *map(c_ulong, (1, 0, 0, 0))):
        code = get_errno()
        raise OSError(code, f"prctl(PR_SET_CHILD_SUBREAPER): {os.strerror(code)}")


def killed_with_parent() -> Callable[[], None]:
    """What a child calls before its program starts, so that it is killed when the thread that has forked it ends.

    It is loaded here: nothing can be loaded safely after the fork. Where the kernel does not allow it, nothing happens.
    """
    libc = _libc("prctl")
    from ctypes import c_ulong

    arguments = (_SET_PDEATHSIG, c_ulong(signal.SIGKILL), c_ulong(0), c_ulong(0), c_ulong(0))
    return lambda: libc.prctl(*arguments)


def spawn(program: str, argv: list[str], env: dict[str, str], streams: Sequence[int]) -> int:
    """Start ``program`` in a session of its own; its pid. OSError and ValueError as os.posix_spawn raises them.

    No signal is blocked in it, and those that Python ignores are at their default.

    Args:
        program: path of the executable.
        argv: its arguments, its own name first.
        env: its whole environment.
        streams: its stdin, stdout and stderr. It has every other descriptor that is not close-on-exec.
    """
    global _instead
    if _instead is None:
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(streams)]
        try:
            return os.posix_spawn(
                program, argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=PYTHON_IGNORES
            )
        except NotImplementedError:
            _instead = _spawn_of_libc() or _spawn_by_subprocess
    return _instead(program, argv, env, streams)


def _spawn_of_libc() -> Callable[[str, list[str], dict[str, str], Sequence[int]], int] | None:
    """posix_spawn(3) of the C library that is loaded, which is newer than the one that Python was compiled against."""
    try:
        libc = _libc("posix_spawn")
        import ctypes

        attributes = ctypes.create_string_buffer(_OPAQUE)
        signals = ctypes.create_string_buffer(_OPAQUE)
        libc.posix_spawnattr_init(attributes)
        flags = ctypes.c_short(_SETSIGDEF | _SETSIGMASK | _SETSID)
        if libc.posix_spawnattr_setflags(attributes, flags):  # glibc before 2.26
            return None
        libc.sigemptyset(signals)
        libc.posix_spawnattr_setsigmask(attributes, signals)
        for number in PYTHON_IGNORES:
            libc.sigaddset(signals, number)
        libc.posix_spawnattr_setsigdefault(attributes, signals)
    except (AttributeError, OSError):
        return None

    def strings(values: Sequence[bytes]) -> ctypes.Array[ctypes.c_char_p]:
        if any(b"\0" in value for value in values):
            raise ValueError("embedded null byte")
        return (ctypes.c_char_p * (len(values) + 1))(*values)

    def spawn(program: str, argv: list[str], env: dict[str, str], streams: Sequence[int]) -> int:
        if any(not name or "=" in name for name in env):
            raise ValueError("illegal environment variable name")
        path = strings([os.fsencode(program)])
        words = strings([os.fsencode(word) for word in argv])
        variables = strings([os.fsencode(f"{name}={value}") for name, value in env.items()])
        pid = ctypes.c_int()
        actions = ctypes.create_string_buffer(_OPAQUE)
        libc.posix_spawn_file_actions_init(actions)
        try:
            for number, fd in enumerate(streams):
                libc.posix_spawn_file_actions_adddup2(actions, fd, number)
            failed = libc.posix_spawn(ctypes.byref(pid), path[0], actions, attributes, words, variables)
        finally:
            libc.posix_spawn_file_actions_destroy(actions)
        if failed:
            raise OSError(failed, os.strerror(failed), program)
        return pid.value

    return spawn


def _spawn_by_subprocess(program: str, argv: list[str], env: dict[str, str], streams: Sequence[int]) -> int:
    """The same with fork and exec only; half as fast."""
    from subprocess import Popen

    stdin, stdout, stderr = streams
    child = Popen(
        argv, executable=program, env=env, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True,
        close_fds=False,
    )  # fmt: skip
    child.returncode = 0  # the caller waits for it
    return child.pid


def _libc(need: str) -> ctypes.CDLL:
    global _loaded
    if _loaded is None:
        try:
            import ctypes

            _loaded = ctypes.CDLL(None, use_errno=True)
        except (ImportError, OSError) as error:
            words = f"this Python cannot call {need}: it has no ctypes that works ({error})"
            raise OSError(errno.ENOSYS, words) from error
        _keep_program_to_ourselves()
    return _loaded


def _keep_program_to_ourselves() -> None:
    # A libffi that is part of the interpreter opens its program, and leaves it open for whatever is executed.
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 2 and os.path.samestat(os.stat(int(name)), os.stat("/proc/self/exe")):
                os.set_inheritable(int(name), False)
        except OSError:
            continue


def _syscall(name: str, number: int, *arguments: int) -> int:
    libc = _libc(name)
    from ctypes import c_long, get_errno

    libc.syscall.restype = c_long
    result: int = libc.syscall(c_long(number), *map(c_long, arguments))
    if result < 0:
        code = get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result
