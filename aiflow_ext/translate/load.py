"""A project's workflow.py imported, its graph built, and the process left as it was."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from aiflow_ext.model.authoring import Workflow
from aiflow_ext.model.errors import AiflowError, ProjectError
from aiflow_ext.model.graph import AIGraph
from aiflow_ext.translate.check import near

if TYPE_CHECKING:
    from aiflow_ext.translate.project import Project

# The name under which workflow.py is imported; functions of this module travel by value.
WORKFLOW_MODULE = "aiflow_workflow"


@contextmanager
def imported_workflow(project: Project) -> Iterator[ModuleType]:
    """The project's workflow.py as a module, with the project's python paths first on ``sys.path``.

    Modules that it brought in from the project are forgotten again afterwards, so that one process can load several
    projects. Raises ProjectError for whatever goes wrong in the user's code, with its place.
    """
    path, modules = list(sys.path), set(sys.modules)
    root = Path(project.desc.root).resolve()
    sys.path[:0] = [str(root / folder) for folder in project.desc.python_paths]
    importlib.invalidate_caches()
    written = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # a project folder may be read-only, and is the user's
    try:
        spec = importlib.util.spec_from_file_location(WORKFLOW_MODULE, project.workflow_py)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[WORKFLOW_MODULE] = module
        with _users_mistakes(root, f"{project.workflow_py.name} cannot be imported"):
            spec.loader.exec_module(module)
        yield module
    finally:
        sys.path[:] = path
        sys.dont_write_bytecode = written
        for name in set(sys.modules) - modules:
            file = getattr(sys.modules[name], "__file__", None)
            if name == WORKFLOW_MODULE or (file and Path(file).resolve().is_relative_to(root) and not _installed(file)):
                del sys.modules[name]


def _installed(file: str) -> bool:
    return any(f"{os.sep}{part}{os.sep}" in file for part in ("site-packages", "dist-packages"))


def built_graph(project: Project, module: ModuleType, name: str | None = None) -> AIGraph:
    """The graph of the module's workflow (of ``name``, where it has several).

    Raises ProjectError where there is none, there are several and no name was given, or building it raised.
    """
    found = {value.name: value for value in vars(module).values() if isinstance(value, Workflow)}
    file = project.workflow_py.name
    if not found:
        raise ProjectError(f"{file} has no workflow", hint="put @af.workflow on the function that builds the graph")
    if name is not None and name not in found:
        hint = near(name, found) or f"it has {', '.join(map(repr, found))}"
        raise ProjectError(f"{file} has no workflow {name!r}", hint=hint)
    if name is None and len(found) > 1:
        names = ", ".join(found)
        raise ProjectError(f"{file} has several workflows: {names}", hint="choose one: --workflow NAME")
    workflow = found[name] if name is not None else next(iter(found.values()))
    root = Path(project.desc.root).resolve()
    with _users_mistakes(root, f"building workflow {workflow.name!r} failed"):
        return workflow.build()


@contextmanager
def _users_mistakes(root: Path, what: str) -> Iterator[None]:
    """What user code raises, as a ProjectError with the innermost line of the project that led there."""
    try:
        yield
    except AiflowError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, SyntaxError) and error.filename:
            place: str | None = f"{error.filename}:{error.lineno}"
            words = f"{type(error).__name__}: {error.msg}"
        else:
            frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(root)]
            place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None
            words = f"{type(error).__name__}: {error}"
        hint = None
        if isinstance(error, ModuleNotFoundError):
            hint = (
                f"install what brings the module {error.name!r}, or add the folder that holds it to python_paths in "
                "project.yaml"
            )
        raise ProjectError(f"{what}: {words}", where=place, hint=hint) from error
