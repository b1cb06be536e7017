"""Maps recorded paths of a run to where they are now: its project may have been moved since."""

from __future__ import annotations

import os
from collections.abc import Callable

_LONGEST, _LONGEST_NAME = 4096, 255  # bytes of a path and of a name in it (PATH_MAX, NAME_MAX of linux/limits.h)


def check_paths(run_id: str, project: str, folder: str) -> None:
    """Raise ValueError unless these, as they were recorded, are a project's folder and the folder of a run of it."""
    _check_path("runs.project", project)
    _check_path("runs.folder", folder)
    if os.path.basename(folder) != run_id or run_id in ("", os.curdir, os.pardir):
        raise ValueError(f"runs.folder is {folder!r}, which is not the folder of run {run_id!r}")


def check_attempt_folder(path: str, folder: str) -> None:
    """Raise ValueError unless ``path``, as it was recorded, lies below the run's ``folder``."""
    plain = path.isascii() and len(path) <= _LONGEST_NAME and "/.." not in path and "\0" not in path
    if plain and path.startswith(folder + os.sep):
        return  # as nearly all are, of a run that may have thousands
    _check_path("attempts.folder", path)
    if not path.startswith(folder + os.sep) or os.pardir in path[len(folder) :].split(os.sep):
        raise ValueError(f"attempts.folder is {path!r}, which is not in the run's folder")


def _check_path(what: str, path: str) -> None:
    size, names = len(os.fsencode(path)), os.fsencode(path).split(b"/")
    if not path.startswith(os.sep) or "\0" in path or size >= _LONGEST or max(map(len, names)) > _LONGEST_NAME:
        raise ValueError(f"{what} is {path[:100]!r}, which is no path")


def relocation(state: str, project: str, folder: str) -> Callable[[str], str]:
    """A function from a recorded path of a run to where it is now; others it returns as they are.

    Args:
        state: the state folder, where it is now.
        project: the project's folder, as it was recorded.
        folder: the run's folder, as it was recorded.
    """
    recorded_state = os.path.dirname(os.path.dirname(folder))
    here = os.path.join(state, "runs", os.path.basename(folder))
    if recorded_state == state or not os.path.isdir(here) or (os.path.isdir(folder) and os.path.samefile(folder, here)):
        return lambda path: path
    inside = os.path.relpath(recorded_state, project)
    root = state[: -len(inside) - 1] if state.endswith(os.sep + inside) else None  # else the state is kept elsewhere

    def found(path: str) -> str:
        for before, after in ((recorded_state, state), (project, root)):
            if after is not None and (path == before or path.startswith(before + os.sep)):
                return after + path[len(before) :]
        return path

    return found
