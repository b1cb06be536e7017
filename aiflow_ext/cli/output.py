"""The command's own stdout: nobody else writes there."""

from __future__ import annotations

import builtins
import fcntl
import io
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_own: TextIO | None = None  # the command's stream, once it is claimed


def claim_stdout() -> None:
    """From now on only this module writes to stdout; what anybody else writes there goes to stderr.

    That is what plugins, extensions and workflow.py print, in whatever way: descriptor 1 itself is stderr afterwards,
    for C libraries and for programs that they start. It stays so until the process ends, for what is written last.
    """
    global _own
    before = sys.stdout
    if _own is not None or before is not sys.__stdout__:  # somebody's own object is not ours to redirect
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
    encoding, errors = getattr(before, "encoding", None) or "utf-8", getattr(before, "errors", None)
    _own = open(private, "w", encoding=encoding, errors=errors)  # noqa: SIM115
    if isinstance(before, io.TextIOWrapper):
        before.reconfigure(line_buffering=True)  # in order with what is written to stderr
    elif before is None:  # plugins may write to it all the same
        stream = open(1, "w", buffering=1, errors="replace", closefd=False)  # noqa: SIM115
        sys.stdout = sys.__stdout__ = stream  # type: ignore[misc]


def _nowhere() -> int:
    """/dev/null, as none of the descriptors that have a meaning of their own."""
    opened = os.open(os.devnull, os.O_WRONLY)
    try:
        return fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(opened)


def stdout() -> TextIO:
    """The command's stdout."""
    return sys.stdout if _own is None else _own


def print(*values: Any, **options: Any) -> None:
    """``print`` to the command's stdout, unless ``file`` says otherwise."""
    options.setdefault("file", stdout())
    builtins.print(*values, **options)


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
