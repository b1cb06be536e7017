"""The name under which a project's workflow.py is imported, on the client and in its jobs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

WORKFLOW = "workflow"
WORKFLOW_ELSEWHERE = "aiflow_workflow"


def workflow_name(root: str | os.PathLike[str], python_paths: Iterable[str]) -> str:
    """``workflow``, where ``import workflow`` leads to the file; else a name that leads to nothing else."""
    for folder in python_paths:
        home = Path(os.path.normpath(Path(root, folder)))
        if os.path.isfile(home / WORKFLOW / "__init__.py"):
            return WORKFLOW_ELSEWHERE
        if os.path.isfile(home / f"{WORKFLOW}.py"):
            return WORKFLOW if home == Path(os.path.normpath(root)) else WORKFLOW_ELSEWHERE
    return WORKFLOW_ELSEWHERE
