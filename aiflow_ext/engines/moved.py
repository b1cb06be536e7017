"""Where folders are that are moved while a job runs: a descriptor keeps a hand on them. Runs inside jobs.

Linux only, by /proc/self/fd; elsewhere a path stays what it was.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

_held: dict[Path, tuple[int, str]] = {}  # by the path that it was given as: its descriptor, and its true path then


def hold(path: str) -> None:
    """Keep a descriptor of ``path``, or of its nearest existing parent folder."""
    for folder in (Path(path), *Path(path).parents):
        if folder in _held:
            return
        try:
            number = os.open(folder, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        true = _true_path(number)
        if true is None:
            os.close(number)
        else:
            _held[folder] = number, true
        return


def release() -> None:
    """Close all descriptors: the job has ended, and its process goes on."""
    while _held:
        os.close(_held.popitem()[1][0])


def now(path: Path) -> Path:
    """Where ``path`` is now, by the folder of it that is held. Raises FileNotFoundError where that was deleted."""
    for folder in (path, *path.parents):
        if folder not in _held:
            continue
        number, before = _held[folder]
        true = _true_path(number)
        if true is None or true == before:
            break
        if os.fstat(number).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "the folder was deleted while the job ran", str(folder))
        return Path(true) / path.relative_to(folder)
    return path


def _true_path(number: int) -> str | None:
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return None
