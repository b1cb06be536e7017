"""Marks by which a job proves that it was executed: it creates a file with a unique name, so that executions are
counted."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiflow_ext.testing.complaint import complain

# Sent with python jobs as kit_marks.py, or executed by a shell command.
_URL_MODULE = """
import sys, time, uuid
from fsspec.core import url_to_fs

FS, WHERE = url_to_fs({url!r}, **{options!r})


def mark(kind, content=b""):
    with FS.open(f"{{WHERE}}/{{kind}}.{{uuid.uuid4().hex}}", "wb") as file:
        file.write(content)


def wait_for(kind):
    while not any(name.rpartition("/")[2].startswith(kind + ".") for name in names()):
        time.sleep(0.2)


def names():
    FS.invalidate_cache()
    try:
        return FS.ls(WHERE, detail=False)
    except FileNotFoundError:
        return []
"""
_MODULE = """
import os, tempfile, time

WHERE = {where!r}


def mark(kind, content=b""):
    number, path = tempfile.mkstemp(prefix=kind + ".", dir=WHERE)  # O_EXCL, under a name that is new
    with os.fdopen(number, "wb") as file:
        file.write(content)


def wait_for(kind):
    while not any(name.startswith(kind + ".") for name in os.listdir(WHERE)):
        time.sleep(0.02)
"""


class Marks:
    """Marks as files of a folder that the jobs see under the same path.

    For jobs that do not see the folder, return :class:`UrlMarks` from :meth:`JobPluginConformance.marks`, or a subclass
    for another place, which defines how a job leaves a mark, and how marks are read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    # -- what jobs execute -----------------------------------------------------------------------------------------

    def shell(self, kind: str, content: str = "") -> str:
        """A shell command that leaves a mark.

        Args:
            kind: the mark's kind.
            content: a command whose output the mark holds; empty by default.
        """
        template = shlex.quote(str(self.folder / f"{kind}.XXXXXXXXXX"))
        return f'{content} > "$(mktemp {template})"' if content else f"mktemp {template} > /dev/null"

    def shell_wait(self, kind: str) -> str:
        """A shell command that waits for a mark."""
        pattern = f"{shlex.quote(str(self.folder))}/{kind}.*"
        return f"until ls {pattern} > /dev/null 2>&1; do sleep 0.02; done"

    def python_module(self) -> str:
        """The text of a module with ``mark(kind, content=b"")`` and ``wait_for(kind)``."""
        return _MODULE.format(where=str(self.folder))

    def interpreter(self, python: str) -> str | None:
        """The path of an interpreter that leaves a mark ``python`` and then executes ``python``, if that exists, else
        python3; None if jobs see no path of the client."""
        path = self.folder / "interpreter"
        lines = ("#!/bin/sh", self.shell("python"), 'if command -v "$0" > /dev/null; then exec "$0" "$@"; fi',
                 'exec python3 "$@"')  # fmt: skip
        path.write_text("\n".join(lines).replace('"$0"', shlex.quote(python)) + "\n", encoding="utf-8")
        path.chmod(0o755)
        return str(path)

    # -- what tests do ---------------------------------------------------------------------------------------------

    def count(self, kind: str) -> int:
        """How many marks of a kind there are."""
        return len(self._files(kind))

    def contents(self, kind: str) -> list[bytes]:
        """The contents of the marks of a kind, in no order."""
        return [path.read_bytes() for path in self._files(kind)]

    def put(self, kind: str) -> None:
        """Leave a mark that jobs wait for."""
        (self.folder / f"{kind}.put").touch()

    def clear(self) -> None:
        """Remove all marks."""
        for path in self.folder.iterdir():
            path.unlink()

    def wait(self, kind: str, timeout: float, count: int = 1) -> None:
        """Wait until there are enough marks of a kind.

        Args:
            kind: the marks' kind.
            timeout: seconds after which the test fails.
            count: how many; 1 by default.
        """
        deadline = time.monotonic() + timeout
        while self.count(kind) < count:
            if time.monotonic() > deadline:
                complain(
                    f"the job was submitted, and after {timeout:g} s it has not begun: {self.count(kind)} of {count} "
                    f"marks {kind!r} are there",
                    "let submit_job start the job. Where your jobs cannot see the client's folders, override marks()",
                    "jobs-and-marks",
                )
            time.sleep(0.01)

    def _files(self, kind: str) -> list[Path]:
        return list(self.folder.glob(f"{kind}.*"))


class UrlMarks(Marks):
    """Marks as objects below a URL that client and jobs reach: an object store, WebHDFS, whatever fsspec knows.

    Args:
        url: a place that only this test uses.
        python: the command of the jobs' python; it has fsspec, and the package of the URL's file system.
        options: for fsspec, besides those that it reads from the environment: an endpoint, a user. None by default.
    """

    def __init__(self, url: str, python: str = "python3", options: Mapping[str, Any] | None = None) -> None:
        self.url, self.python, self.options = url.rstrip("/"), python, dict(options or {})
        from fsspec.core import url_to_fs

        self._fs, self._where = url_to_fs(self.url, **self.options)
        self._fs.makedirs(self._where, exist_ok=True)

    def shell(self, kind: str, content: str = "") -> str:
        return f"{content or 'true'} | {self._python('mark', kind)}"

    def shell_wait(self, kind: str) -> str:
        return self._python("wait_for", kind)

    def _python(self, what: str, kind: str) -> str:
        more = ", sys.stdin.buffer.read()" if what == "mark" else ""
        code = f"{self.python_module()}\n{what}({kind!r}{more})\n"
        return f"{self.python} -c {shlex.quote(code)}"

    def interpreter(self, python: str) -> str | None:
        return None

    def python_module(self) -> str:
        return _URL_MODULE.format(url=self.url, options=self.options)

    def count(self, kind: str) -> int:
        return len(self._names(kind))

    def contents(self, kind: str) -> list[bytes]:
        return [self._fs.cat_file(name) for name in self._names(kind)]

    def put(self, kind: str) -> None:
        self._fs.pipe_file(f"{self._where}/{kind}.put", b"")

    def clear(self) -> None:
        for name in self._names(""):
            self._fs.rm_file(name)

    def _names(self, kind: str) -> list[str]:
        self._fs.invalidate_cache()
        try:
            names = self._fs.ls(self._where, detail=False)
        except FileNotFoundError:  # an object store has no empty folders
            return []
        return [str(name) for name in names if str(name).rpartition("/")[2].startswith(f"{kind}." if kind else "")]
