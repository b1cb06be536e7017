"""Tracebacks of a project's code that name its author's own files, not a job's copies of them. Runs inside jobs."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from types import TracebackType

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_BENEATH = ("cloudpickle", "bdb")  # modules that the user's code is called by, if they are loaded


def of_user(error: BaseException) -> TracebackType | None:
    """The traceback of an error from the first frame of the user's own code on; None where our own code raised it."""
    ours = [_PACKAGE, os.path.dirname(os.path.abspath(sys.argv[0])), os.path.dirname(importlib.__file__)]
    ours += [_home(sys.modules[name].__file__) for name in _BENEATH if name in sys.modules]
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith((*ours, "<frozen importlib")):
        trace = trace.tb_next
    return trace


def _home(file: str | None) -> str:
    """The folder of a package, or the file of a module."""
    return str(file).removesuffix(f"{os.sep}__init__.py")


def print_traceback(error: BaseException, trace: TracebackType | None, copy: str | None, own: str) -> None:
    """Print an exception on stderr, as Python does, with the lines that have run.

    Args:
        error: the exception.
        trace: its traceback, from the first frame that is to be shown.
        copy: the folder with the job's copy of the project; None where it has none.
        own: the project's folder as the client knows it. Where it has the same file, that is named; where it has
            another one by now, the copy; on a machine without that folder the file's path in the project.
    """
    made = traceback.TracebackException(type(error), error, trace, lookup_lines=False, compact=True)
    if copy is not None:
        for each in _chained(made):
            _rename(each, copy, own)
    print("".join(made.format()), file=sys.stderr, end="")


def _chained(made: traceback.TracebackException) -> list[traceback.TracebackException]:
    """An exception with its causes, and those of a group."""
    found, queue = [], [made]
    while queue:
        each = queue.pop()
        found.append(each)
        queue += [other for other in (each.__cause__, each.__context__) if other is not None]
        queue += getattr(each, "exceptions", None) or ()  # of a group, from Python 3.11 on
    return found


def _rename(made: traceback.TracebackException, copy: str, own: str) -> None:
    for frame in made.stack:
        file, frame.filename = _files(frame.filename, copy, own)
        frame.line  # noqa: B018 - reads the line now, from the file that has run
        frame.filename = file
    if isinstance(getattr(made, "filename", None), str):  # a SyntaxError's, which has its line already
        made.filename = _files(str(made.filename), copy, own)[0]


def _files(file: str, copy: str, own: str) -> tuple[str, str]:
    """The name to show for a file, and where its lines are."""
    # A function that travels by value has the path that it had on the client.
    within = next((file[len(root) + 1 :] for root in (copy, own) if file.startswith(f"{root}{os.sep}")), None)
    if within is None:
        return file, file
    ran, theirs = os.path.join(copy, within), os.path.join(own, within)
    if not os.path.isfile(ran):
        return file, file
    if not os.path.isdir(own):
        return within, ran
    return theirs if _same(ran, theirs) else ran, ran


def _same(one: str, other: str) -> bool:
    if not os.path.isfile(other):  # nor a FIFO, which would wait for a writer
        return False
    try:
        if os.path.getsize(one) != os.path.getsize(other):
            return False
        with open(one, "rb") as first, open(other, "rb") as second:
            return first.read() == second.read()
    except OSError:
        return False
