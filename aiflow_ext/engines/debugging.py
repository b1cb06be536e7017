"""Python's debugger in a job that is reproduced on a terminal. Runs inside jobs."""

from __future__ import annotations

import bdb
import pdb  # noqa: T100 - the user's own debugging
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiflow_ext.engines.tracebacks import of_user

FIRST_LINE, RAISED = "first line", "raised"  # where it opens


class Debugger:
    """The debugger of a job that has a terminal.

    Args:
        at: where it opens: ``FIRST_LINE`` of each function that the job calls, ``RAISED``, both, or nowhere but where
            the job's code calls it.
    """

    def __init__(self, at: Sequence[str]) -> None:
        self._at = tuple(at)

    def call(self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """What the function returns. Raises bdb.BdbQuit where the user leaves the debugger."""
        if FIRST_LINE not in self._at:
            return function(*args, **kwargs)
        debugger = _Debugger()
        value = debugger.runcall(function, *args, **kwargs)
        if debugger.left:  # runcall returns as if the function had
            raise bdb.BdbQuit
        return value

    def examine(self, error: BaseException) -> None:
        """Open it where the user's own code has raised ``error``, if it is to open there."""
        trace = of_user(error)
        if RAISED in self._at and trace is not None:
            found = error.with_traceback(trace)
            pdb.post_mortem(found if sys.version_info >= (3, 13) else trace)  # type: ignore[arg-type]


class _Debugger(pdb.Pdb):
    left = False

    def set_quit(self) -> None:
        self.left = True
        super().set_quit()
