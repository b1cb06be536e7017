"""Which folder is a project's: decided by the names of the files in it, without reading them."""

from __future__ import annotations

import os
from pathlib import Path

from aiflow_ext.model.errors import ProjectError, shown_path
from aiflow_ext.model.names import path_pasted

PROJECT_YAML, WORKFLOW_YAML, WORKFLOW_PY = "project.yaml", "workflow.yaml", "workflow.py"


def project_root(folder: str | os.PathLike[str]) -> Path:
    """The folder of the project in ``folder``, absolute and without symbolic links.

    One of its own files may be given instead.

    Nothing in it is read, so that a run can be looked at and stopped whatever its project.yaml says now.

    Raises ProjectError where there is no project.
    """
    path = Path(folder)
    if path.name in (PROJECT_YAML, WORKFLOW_YAML, WORKFLOW_PY) and os.path.isfile(path):
        path = path.parent
    where = shown_path(path)
    if _is_closed(path):
        raise ProjectError("you may not enter this folder", where=where, hint="its owner can give you permission")
    if not path.exists():
        raise ProjectError("there is no such folder", where=where, hint=_neighbours(path))
    if not path.is_dir():
        raise ProjectError(
            "this is a file, not a project's folder", where=where, hint=f"name the folder that holds {WORKFLOW_PY}"
        )
    if not (path / WORKFLOW_PY).is_file():
        raise ProjectError(
            f"this folder has no {WORKFLOW_PY}",
            where=where,
            hint=_inside(path)
            or "write one, with @af.workflow on the function that builds the graph, or name another folder",
        )
    for right in (PROJECT_YAML, WORKFLOW_YAML):
        wrong = path / right.replace(".yaml", ".yml")
        if wrong.is_file() and not (path / right).is_file():
            raise ProjectError(
                f"this file is called {right}",
                where=shown_path(wrong),
                hint=f"rename it: mv {path_pasted(shown_path(wrong))} {path_pasted(shown_path(path / right))}",
            )
    return Path(os.path.realpath(path))


def _is_closed(path: Path) -> bool:
    """Whether a folder, or one that leads to it, may not be entered."""
    try:
        os.stat(path / WORKFLOW_PY)
    except OSError as error:
        return isinstance(error, PermissionError)
    return False


def _neighbours(path: Path) -> str | None:
    """Which project may have been meant by a name that is not there."""
    from aiflow_ext.model.spelling import near

    if os.path.isfile(WORKFLOW_PY) and path.name == os.path.basename(os.path.abspath(".")):
        return "the current folder is called so, and is a project: name it as ."
    try:
        names = [each.name for each in path.parent.iterdir() if os.path.isfile(each / WORKFLOW_PY)]
    except OSError:
        return "check the path"
    return near(path.name, names, shown=_quoted) or "check the path"


def _quoted(name: str) -> str:
    word = path_pasted(name)
    return word if word.endswith("'") else f"'{word}'"


def _inside(path: Path) -> str | None:
    try:
        found = sorted(each.name for each in path.iterdir() if os.path.isfile(each / WORKFLOW_PY))
    except OSError:
        return None
    return f"name one of the projects in it: {', '.join(map(path_pasted, found[:5]))}" if found else None
