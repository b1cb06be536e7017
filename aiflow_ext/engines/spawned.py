"""The project's folders on ``sys.path``, in a job's process and in those that its code starts by multiprocessing.

Such a process is given its parent's ``sys.path`` before it has imported what it needs of the standard library. Where
the project has a ``typing.py`` or ``queue.py``, it would find that one and die, and a Pool would start the next one for
ever. So it gets the project's folders last, and brings them to the front once multiprocessing is imported.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterable
from typing import Any

from aiflow_ext.model.own_imports import put_first

MARK = "aiflow-ext: the project's folders follow"  # an entry of sys.path; no folder has this name
_NEEDED = ["multiprocessing.spawn", "multiprocessing.pool", "multiprocessing.queues", "multiprocessing.managers",
           "multiprocessing.synchronize", "multiprocessing.sharedctypes", "multiprocessing.dummy",
           "multiprocessing.popen_fork", "multiprocessing.popen_spawn_posix", "multiprocessing.popen_forkserver",
           "multiprocessing.resource_sharer", "tempfile"]  # fmt: skip


def put_project_first(paths: Iterable[str]) -> None:
    """Put a project's folders first on ``sys.path``; what a job's process does."""
    paths = list(paths)
    if shadowing := _shadowing(paths):
        _prepare_multiprocessing(paths, shadowing)
    put_first(paths)


def restore() -> None:
    """Bring the project's folders to the front again, in a process that multiprocessing has started."""
    if MARK in sys.path:
        at = sys.path.index(MARK)
        paths = sys.path[at + 1 :]
        del sys.path[at:]
        put_project_first(paths)


def _shadowing(paths: Iterable[str]) -> set[str]:
    """The modules of the standard library that the project has modules of the same name as."""
    found = set()
    for folder in paths:
        with contextlib.suppress(OSError):
            for entry in os.listdir(folder):
                stem, _, suffix = entry.partition(".")
                if stem not in sys.stdlib_module_names:
                    continue
                if suffix == "py" or os.path.exists(os.path.join(folder, entry, "__init__.py")):
                    found.add(stem)
    return found


def _prepare_multiprocessing(paths: list[str], shadowing: set[str]) -> None:
    before = set(sys.modules)
    for name in _NEEDED:
        with contextlib.suppress(ImportError):  # a Python without semaphores has not all of them
            importlib.import_module(name)
    spawn: Any = sys.modules["multiprocessing.spawn"]
    if hasattr(spawn, "aiflow_prepared"):
        return
    if "tempfile" in shadowing - before:
        _keep_tempfile()
    for name in shadowing - before:  # the project's code still gets its own
        sys.modules.pop(name, None)
    original, prepare = spawn.get_preparation_data, spawn.prepare

    def project_last(name: str) -> dict[str, Any]:
        data: dict[str, Any] = original(name)
        rest = [path for path in data["sys_path"] if path not in paths]
        data["sys_path"] = [*rest, MARK, *(path for path in data["sys_path"] if path in paths)]
        return data

    def prepare_and_restore(data: dict[str, Any]) -> None:
        prepare(data)
        restore()  # a child of the fork server does not import the main module again

    spawn.get_preparation_data, spawn.prepare, spawn.aiflow_prepared = project_last, prepare_and_restore, True


def _keep_tempfile() -> None:
    """Have multiprocessing find the standard tempfile, which it imports when it first needs a folder."""
    util: Any = sys.modules["multiprocessing.util"]
    standard, get = sys.modules["tempfile"], util.get_temp_dir

    def get_temp_dir() -> str:
        own = sys.modules.get("tempfile")
        sys.modules["tempfile"] = standard
        try:
            return str(get())
        finally:
            if own is None:
                del sys.modules["tempfile"]
            else:
                sys.modules["tempfile"] = own

    util.get_temp_dir = get_temp_dir
