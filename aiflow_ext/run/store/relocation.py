"""Where the paths of a run are now: its project may have been moved since they were recorded."""

from __future__ import annotations

import os
from collections.abc import Callable


def relocation(state: str, project: str, folder: str) -> Callable[[str], str]:
    """A function from a recorded path of a run to where it is now; others it returns as they are.

    Args:
        state: the state folder, where it is now.
        project, folder: the project's folder and the run's, as they were recorded.
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
