"""Where a project's state is kept: its runs, and its artifacts unless project.yaml names another place."""

from __future__ import annotations

import os
from pathlib import Path

IN_PROJECT = ".aiflow"  # the folder's name in a project's own
_LONGEST = 200  # bytes of a project's name in the name of its folder: the file systems' limit is 255 for all of it


def state_folder(root: str | os.PathLike[str]) -> Path:
    """``.aiflow`` in the project's folder, or a folder of the project's own below ``$AIFLOW_STATE``."""
    elsewhere = os.environ.get("AIFLOW_STATE")
    if not elsewhere:
        return Path(root) / IN_PROJECT
    import hashlib

    mark = hashlib.sha256(os.fsencode(root)).hexdigest()[:8]
    name = os.fsencode(Path(root).name)[:_LONGEST].decode(errors="ignore")
    return Path(os.path.expanduser(elsewhere)).resolve() / f"{name}-{mark}"
