"""The command's own stdout: only this module writes to it."""

from __future__ import annotations

import builtins
import contextlib
import errno
import fcntl
import io
import os
import select
import sys
from typing import TYPE_CHECKING, Any, TextIO

from aiflow_ext.cli.escape import coloured, escaped
from aiflow_ext.model import errors
from aiflow_ext.run.operations.descriptors import hold_standard

if TYPE_CHECKING:
    from rich.console import Console

_own: TextIO | None = None  # the command's stream, once it is claimed
_exit_code_kept = False


class OutputLost(Exception):
    """Stdout cannot be written to any more. Raised once; later output is dropped."""


class _Descriptor(io.RawIOBase):
    """A descriptor whose writes do not fail: after an error, output is dropped.

    Attributes:
        lost: the error because of which output was dropped; None while there was none.
    """

    def __init__(self, number: int, *, quiet: bool = False) -> None:
        self._number, self._quiet = number, quiet
        self.lost: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def write(self, data: Any) -> int:
        """Write some of it, or drop all. Raises OutputLost at the first error after which the command should end."""
        while self.lost is None:
            try:
                return os.write(self._number, data)
            except BlockingIOError:  # non-blocking, as the command has inherited it
                poll = select.poll()
                poll.register(self._number, select.POLLOUT)
                poll.poll()
            except OSError as error:
                self.lost = error
                if not (self._quiet or _exit_code_kept):
                    raise OutputLost from error
        return len(data)


class _EscapingText(io.TextIOWrapper):
    """Stderr: warnings, tracebacks, what plugins print. Colours are kept, other control sequences are escaped."""

    def write(self, text: str, /) -> int:
        super().write(coloured(text))
        return len(text)


def _stream(number: int, before: Any, *, quiet: bool = False) -> io.TextIOWrapper:
    encoding = getattr(before, "encoding", None) or "utf-8"
    raw = io.BufferedWriter(_Descriptor(number, quiet=quiet))
    kind = _EscapingText if number == 2 else io.TextIOWrapper
    return kind(raw, encoding, "backslashreplace", line_buffering=quiet or os.isatty(number))


def guard_streams() -> None:
    """Replace the standard streams so that printing never fails: if they are closed or full, or their reader is gone.

    A character that the encoding of a stream does not have is written as an escape.
    """
    hold_standard()
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
    if sys.stdout is sys.__stdout__:
        sys.stdout = sys.__stdout__ = _stream(1, sys.stdout)  # type: ignore[misc]
    if sys.stderr is sys.__stderr__:
        sys.stderr = sys.__stderr__ = _stream(2, sys.stderr, quiet=True)  # type: ignore[misc]


def keep_exit_code() -> None:
    """From now on an error of stdout changes neither this command's exit code nor what it does."""
    global _exit_code_kept
    _exit_code_kept = True


def lose_stdout(error: OSError) -> None:
    """Record that stdout cannot be written to any more, because of ``error``."""
    raw = _raw(stdout())
    if raw is not None:
        raw.lost = raw.lost or error


def _raw(stream: Any) -> _Descriptor | None:
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw if isinstance(raw, _Descriptor) else None


def finish(code: int) -> int:
    """Flush the streams; returns ``code``, or PLATFORM if the command succeeded but its output could not be written.

    A closed pipe, as ``| head`` leaves it, is not reported.
    """
    with contextlib.suppress(OutputLost, BrokenPipeError):
        stdout().flush()
    if _own is not None:
        with contextlib.suppress(Exception):  # a plugin may have closed or replaced it
            sys.stdout.flush()
        sys.stdout = sys.__stdout__  # the interpreter flushes it as well, and ends with 120 where that fails
    raw = _raw(stdout())
    if raw is None or raw.lost is None or raw.lost.errno == errno.EPIPE:
        return code
    print(f"aiflow-ext: not all could be written to stdout: {raw.lost.strerror}", file=sys.stderr)
    return code if _exit_code_kept or code != errors.OK else errors.PLATFORM


def claim_stdout() -> None:
    """From now on only this module writes to stdout; everything else that is written there goes to stderr.

    That is what plugins, extensions and workflow.py print. Descriptor 1 itself becomes stderr, so that this includes C
    libraries and programs that they start. It stays so until the process ends, also for output at its exit.
    """
    global _own
    before = sys.stdout
    if _own is not None or before is not sys.__stdout__:  # a caller's own object is not redirected
        return
    try:
        if before is not None:
            before.flush()
        private = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
    except OSError:  # closed
        private = _nowhere()
    try:
        os.dup2(2, 1)
    except OSError:  # closed, too: no file that is opened later may become descriptor 1
        nothing = _nowhere()
        os.dup2(nothing, 1)
        os.close(nothing)
    _own = _stream(private, before)
    if isinstance(before, io.TextIOWrapper):
        before.reconfigure(line_buffering=True)  # in order with what is written to stderr
    elif before is None:  # plugins may write to it all the same
        stream = open(1, "w", buffering=1, errors="replace", closefd=False)  # noqa: SIM115
        sys.stdout = sys.__stdout__ = stream  # type: ignore[misc]


def release_stdout() -> None:
    """Undo :func:`claim_stdout` for descriptor 1: what follows is meant to be printed there."""
    if _own is not None:
        sys.stdout.flush()
        os.dup2(_own.fileno(), 1)


def _nowhere() -> int:
    """Open /dev/null, with a descriptor above those of the standard streams."""
    opened = os.open(os.devnull, os.O_WRONLY)
    try:
        return fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(opened)


def stdout() -> TextIO:
    """The command's stdout."""
    return sys.stdout if _own is None else _own


def print(*values: Any, **options: Any) -> None:
    """``print`` to the command's stdout, unless ``file`` says otherwise; control characters are escaped."""
    options.setdefault("file", stdout())
    builtins.print(*(escaped(str(value)) for value in values), **options)


def console() -> Console:
    """A rich console on the command's stdout."""
    from rich.console import Console

    width = None
    if not (os.isatty(0) or os.isatty(2)):  # rich would look there for the width of the terminal
        try:
            width = os.get_terminal_size(stdout().fileno()).columns or None
        except OSError:
            pass
    return Console(file=stdout(), width=width)
