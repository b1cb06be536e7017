"""Where a project's state is kept: its runs, and its artifacts unless project.yaml names another place."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def state_folder(root: str | os.PathLike[str]) -> Path:
    """``.aiflow`` in the project's folder, or a folder of the project's own below ``$AIFLOW_STATE``."""
    elsewhere = os.environ.get("AIFLOW_STATE")
    if not elsewhere:
        return Path(root) / ".aiflow"
    mark = hashlib.sha256(os.fsencode(root)).hexdigest()[:8]
    return Path(elsewhere).expanduser().resolve() / f"{Path(root).name}-{mark}"
