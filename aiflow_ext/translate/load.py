"""Imports a project's workflow.py, builds its graph, and restores the process's state."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from aiflow_ext.model.authoring import Workflow
from aiflow_ext.model.errors import AiflowError, ProjectError
from aiflow_ext.model.graph import AIGraph
from aiflow_ext.model.own_imports import put_first, without_project
from aiflow_ext.model.spelling import near
from aiflow_ext.translate.modules import file_of, is_installed
from aiflow_ext.translate.references import note_globals
from aiflow_ext.translate.shared import importing, prints_on_stderr
from aiflow_ext.translate.workflow_name import workflow_name

if TYPE_CHECKING:
    from aiflow_ext.translate.project import Project


@contextmanager
def imported_workflow(project: Project) -> Iterator[ModuleType]:
    """The project's workflow.py as a module, with the project's python paths first on ``sys.path``.

    Afterwards the modules that it brought in from its own folders are forgotten again, and those whose names they took
    are back, so that one process can load several projects; threads do so one after the other. Raises ProjectError for
    whatever goes wrong in the user's code, with its place.
    """
    root = Path(project.desc.root).resolve()
    paths = [str(root / folder) for folder in project.desc.python_paths]
    name = workflow_name(root, project.desc.python_paths)
    with importing, process_restored(root, paths, name):
        spec = importlib.util.spec_from_file_location(name, project.workflow_py)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        with _users_mistakes(project, f"{project.workflow_py.name} cannot be imported"):
            spec.loader.exec_module(module)
        note_globals(module)
        yield module


@contextmanager
def process_restored(root: Path, paths: list[str], workflow: str, *, afresh: bool = False) -> Iterator[None]:
    """Have a project's modules be the ones that are imported, and the process's own path and modules back afterwards.

    The caller holds ``shared.importing``.

    Args:
        root: the project's folder, resolved.
        paths: its python paths.
        workflow: the name of workflow.py's module.
        afresh: whether the project's modules that this process has are imported anew; False by default.
    """
    path, folder, written = sys.path, _current_folder(), sys.dont_write_bytecode
    hidden = {name: sys.modules.pop(name) for name in _shadowed(paths, workflow, afresh)}
    modules = set(sys.modules)
    put_first(paths)
    sys.dont_write_bytecode = True  # a project folder may be read-only, and is the user's
    importlib.invalidate_caches()
    try:
        yield
    finally:
        own = [root, *(Path(each).resolve() for each in sys.path if each not in path)]
        sys.path = path
        sys.dont_write_bytecode = written
        files = {name: file_of(sys.modules[name]) for name in set(sys.modules) - modules}
        for name, file in files.items():
            if name == workflow or (
                file and any(Path(file).resolve().is_relative_to(each) for each in own) and not is_installed(file)
            ):
                del sys.modules[name]
        sys.modules.update(hidden)
        if folder is not None and _current_folder() != folder:
            os.chdir(folder)


def _current_folder() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was removed
        return None


def _shadowed(paths: list[str], workflow: str, afresh: bool) -> list[str]:
    """Loaded modules that the project has modules of the same name for; in a job the project's come first. ``afresh``:
    also these themselves."""
    own = {workflow}
    for path in paths:
        for found in Path(path).glob("*"):
            if found.suffix == ".py" or os.path.isfile(found / "__init__.py"):
                own.add(found.stem)
    own -= {*sys.stdlib_module_names, "aiflow_ext", "__main__"}
    folders = [Path(path).resolve() for path in paths]

    def is_theirs(name: str) -> bool:
        file = file_of(sys.modules[name])
        return bool(file) and any(Path(str(file)).resolve().is_relative_to(folder) for folder in folders)

    return [
        name
        for name in list(sys.modules)
        if name == workflow or (name.partition(".")[0] in own and (afresh or not is_theirs(name)))
    ]


def built_graph(
    project: Project, module: ModuleType, name: str | None = None, parameters: Mapping[str, Any] | None = None
) -> AIGraph:
    """The graph of the module's workflow (of ``name``, where it has several), built with these parameters.

    Raises ProjectError as :func:`chosen_workflow`, and where building it raised.
    """
    chosen = chosen_workflow(project, module, name)
    with _users_mistakes(project, f"building workflow {chosen.name!r} failed", chosen.where):
        return chosen.build(**(parameters or {}))


def chosen_workflow(project: Project, module: ModuleType, name: str | None = None) -> Workflow:
    """The module's workflow (``name``, where it has several).

    Raises ProjectError where there is none, or there are several and no name was given.
    """
    found = _workflows(module)
    file, names = project.workflow_py.name, [workflow.name for workflow in found]
    if not found:
        hint = "put @af.workflow on the function that builds the graph"
        raise ProjectError(f"{file} has no workflow", where=f"{project.workflow_py}:1", hint=hint)
    if name is not None and name not in names:
        hint = near(name, names) or f"it has {', '.join(map(repr, names))}"
        raise ProjectError(f"{file} has no workflow {name!r}", where=f"{project.workflow_py}:1", hint=hint)
    chosen = [workflow for workflow in found if name in (None, workflow.name)]
    if len(chosen) > 1:
        listed = ", ".join(f"{workflow.name} ({workflow.where})" for workflow in chosen)
        hint = "choose one: --workflow NAME" if name is None else "give each a name of its own: @af.workflow(name=...)"
        raise ProjectError(f"{file} has several workflows: {listed}", where=chosen[1].where, hint=hint)
    return chosen[0]


def jobs_of_others(module: ModuleType, graph: AIGraph) -> set[str] | None:
    """The jobs of the module's other workflows than the one that built ``graph``; None where one cannot be built.

    Its mistakes are reported when that one is run.
    """
    found: set[str] = set()
    for workflow in _workflows(module):
        if (workflow.name, workflow.where) != (graph.name, graph.where):
            try:
                with prints_on_stderr():
                    found |= workflow.build().jobs.keys()
            except (Exception, SystemExit):
                return None
    return found


def _workflows(module: ModuleType) -> list[Workflow]:
    return list({id(value): value for value in vars(module).values() if isinstance(value, Workflow)}.values())


@contextmanager
def _users_mistakes(project: Project, what: str, otherwise: str | None = None) -> Iterator[None]:
    """What user code raises, as a ProjectError with the innermost line of the project that led there.

    What it prints goes to stderr: stdout is for what was asked of the command, which may be JSON.
    """
    try:
        with prints_on_stderr():
            yield
    except AiflowError as error:
        error.locate(_innermost(project, error) or otherwise)
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, SyntaxError) and error.filename:
            place: str | None = f"{error.filename}:{error.lineno}" if error.lineno else error.filename
            words = f"{type(error).__name__}: {error.msg}"
        else:
            place = _innermost(project, error) or otherwise or f"{project.workflow_py}:1"
            words = f"{type(error).__name__}: {error}"
        with without_project():
            from aiflow_ext.translate.cures import cure

        raise ProjectError(f"{what}: {words}", where=place, hint=cure(error, project)) from error


def _innermost(project: Project, error: BaseException) -> str | None:
    """The innermost line of the project that led to ``error``."""
    root = Path(project.desc.root).resolve()
    with without_project():
        trace = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in trace if _is_own(frame.filename, root)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None


def _is_own(file: str, root: Path) -> bool:
    return Path(file).resolve().is_relative_to(root) and not is_installed(file)
