"""Ends a client at the k-th line that it executes, in the rooms run, host and supervise and in the plugin; or at a line
that stands next to I/O.
"""

from __future__ import annotations

import copy
import itertools
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

from aiflow_ext import host, run, supervise
from aiflow_ext.run.operations.start import Run
from aiflow_ext.run.platforms.direct_adapter import DirectAdapter
from aiflow_ext.run.platforms.hosted_adapter import HostedAdapter
from aiflow_ext.run.platforms.plugin_adapter import PluginAdapter
from aiflow_ext.run.store.records import AttemptRecord
from aiflow_ext.testing.places import Place, shown

_ROOMS = [os.path.dirname(os.path.abspath(str(room.__file__))) + os.sep for room in (run, host, supervise)]


def files_of(plugin: Any) -> list[str]:
    """The files of the plugin's own code: the packages or modules of its class and of its bases."""
    found = []
    for cls in type(plugin).__mro__:
        top = cls.__module__.partition(".")[0]
        file = getattr(sys.modules.get(top), "__file__", None)
        if top not in ("builtins", "abc", "aiflow_ext") and file:
            file = os.path.abspath(file)
            found.append(os.path.dirname(file) + os.sep if file.endswith("__init__.py") else file)
    return sorted(set(found))


# Functions in C that count as I/O: a socket's and a file's methods, the store's statements, and these functions.
_IO_TYPES = ("socket", "_SSLSocket", "Connection", "Cursor", "FileIO", "BufferedWriter", "BufferedReader",
             "BufferedRandom", "TextIOWrapper")  # fmt: skip
_IO_FUNCTIONS = frozenset((
    "open", "open_code", "write", "pwrite", "writev", "rename", "replace", "mkdir", "rmdir", "unlink", "remove", "link",
    "symlink", "truncate", "ftruncate", "fsync", "fdatasync", "chmod", "utime", "kill", "fork", "fork_exec",
    "posix_spawn", "flock", "lockf", "sendmsg", "mkfifo", "pipe", "pipe2", "connect",
))  # fmt: skip
_IO_MODULES = ("posix", "io", "_io", "fcntl", "_posixsubprocess", "_socket", "_sqlite3", "sqlite3")


class Lines:
    """Counts the lines that all threads execute in some files, and ends the process at one of them.

    Args:
        at: the line at which to end it, by its number or its place; None: count only.
        files: the files, or folders of them.
        own: those of the plugin.

    Attributes:
        own_lines: where ``at`` is None: each line of the plugin's own files as it was executed, with its number.
        trail: where ``at`` is None: where each line stands.
        beside: where ``at`` is None: the places of the lines that do I/O, and of those that come next, with their
            numbers.
    """

    def __init__(self, at: int | Place | None, files: list[str], own: list[str] | None = None) -> None:
        self.at, self.files, self._own = at, (*files, *(own or ())), tuple(own or ())
        self.count = 0
        self.own_lines: list[tuple[Place, int]] = []
        self.trail: list[str] = []
        self.beside: dict[Place, int] = {}
        self._numbers = itertools.count(1)
        self._known: dict[str, bool] = {}
        self._times: dict[tuple[str, int], int] = {}
        self._local = threading.local()

    def arm(self) -> None:
        """Start in this thread and in every new one."""
        threading.settrace(self._called)
        sys.settrace(self._called)
        if self.at is None:
            threading.setprofile(self._built_in)
            sys.setprofile(self._built_in)

    def disarm(self) -> None:
        """Stop in this thread, and in new ones."""
        sys.settrace(None)
        threading.settrace(None)
        if self.at is None:
            sys.setprofile(None)
            threading.setprofile(None)

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        counts = self._known.get(name)
        if counts is None:
            counts = self._known[name] = name.startswith(self.files)
        return self._line if counts else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.count = number = next(self._numbers)
            if number == self.at:
                os.kill(os.getpid(), signal.SIGKILL)
            if not isinstance(self.at, int):
                self._arrived(frame, number)
            if self.at is None:
                self.trail.append(shown(frame.f_code.co_filename, frame.f_lineno))
        return self._line

    def _arrived(self, frame: FrameType, number: int) -> None:
        where = (frame.f_code.co_filename, frame.f_lineno)
        self._times[where] = time = self._times.get(where, 0) + 1
        place = Place(*where, time)
        if place == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._own and where[0].startswith(self._own):
            self.own_lines.append((place, number))
        if getattr(self._local, "has_done", False):
            self.beside.setdefault(place, number)
            self._local.has_done = False
        self._local.last = place, number

    def _built_in(self, frame: FrameType, event: str, function: Any) -> None:
        """Notes the last line before a call of I/O, wherever below that line it is made."""
        if event == "c_call" and is_io(function) and (last := getattr(self._local, "last", None)) is not None:
            self.beside.setdefault(*last)
            self._local.has_done = True


def is_io(function: Any) -> bool:
    """Whether a function that is written in C reaches the world outside of the process."""
    owner = getattr(function, "__self__", None)
    if owner is not None and type(owner).__name__ in _IO_TYPES:
        return True
    return function.__name__ in _IO_FUNCTIONS and getattr(function, "__module__", None) in _IO_MODULES


def drive(prepared: Run, at: int | Place | None, files: list[str]) -> dict[str, Any]:
    """Drive a run under the count; how many lines it took, which are the plugin's and which next to I/O, and at which
    number an attempt was intended, might be submitted (its resources were on record), and was acknowledged."""
    lines = Lines(at, _ROOMS, files)
    reached: dict[str, int] = {}
    store = prepared.driver.ledger.store
    write = store.write

    def noted(run_id: str, attempts: list[AttemptRecord], *more: Any) -> None:
        if any(attempt.native_id is not None for attempt in attempts):
            reached.setdefault("intent", lines.count)
        if any(attempt.step is not None for attempt in attempts):
            reached.setdefault("submit", lines.count)
        write(run_id, attempts, *more)
        if any(attempt.step == "acknowledged" or attempt.state.ended for attempt in attempts):
            reached.setdefault("acknowledged", lines.count)

    setattr(store, "write", noted)  # noqa: B010
    lines.arm()
    try:
        record = prepared.driver.run()
    finally:
        lines.disarm()
    beside = [[*place, number] for place, number in lines.beside.items()]
    own = [[*place, number] for place, number in lines.own_lines]
    return {"lines": lines.count, **reached, "own": own, "beside": beside, "trail": lines.trail,
            "record": record.summary()}  # fmt: skip


dropped = threading.Event()  # that something was


def sabotage(how: str) -> None:
    """Make every plugin of this process submit each attempt twice or not at all, unknown to the driver."""
    for adapter in (DirectAdapter, HostedAdapter):
        adapter.submit = _doubling(adapter.submit) if how == "double" else _dropped  # type: ignore


def _doubling(submit: Any) -> Any:
    """A ``submit`` that has the job executed once more, under another id."""

    def doubled(self: PluginAdapter, job: Any) -> Any:
        # A copy: the watch reads the job's own context meanwhile.
        context, again = job.job_context, copy.copy(job)
        second = again.job_context = type(context).from_json({**context.to_json()})
        second.attempt = (context.attempt or 1) + 100
        second.work_folder = os.path.join(os.path.dirname(str(context.work_folder)), str(second.attempt))
        second.native_id = None
        os.makedirs(second.work_folder, exist_ok=True)
        second.native_id = self.allocate(again)
        self.prepare(again)
        handler = submit(self, again)
        if handler is not None:
            handler.wait(600.0)  # it ends by itself
        return submit(self, job)

    return doubled


def _dropped(self: PluginAdapter, job: Any) -> Any:
    dropped.set()
