"""Shell completion: the values that may come next on a command line, from metadata, records and the text of a project.

No plugin and none of the project's code is imported, and nothing is printed but what click prints.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ast

    import click
    from click.shell_completion import CompletionItem

Given = Mapping[str, Any]  # the command's arguments and options that are on the line already
Values = Iterable[tuple[str, str]]  # each with what zsh and fish show beside it


def _completing(find: Callable[[Given], Values], *, folders: bool = False) -> Callable[..., list[CompletionItem]]:
    """The callback for ``shell_complete`` that offers what ``find`` returns, and with ``folders`` also folders."""

    def complete(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        # First: bash drops what comes before it, and looks for folders where nothing else fits.
        items = [CompletionItem(typed or _nothing_typed(), type="dir")] if folders else []
        given = context.params.get(parameter.name or "")
        repeated = given if isinstance(given, tuple) else ()
        # Nobody wants an error message between two keys: the command says what is wrong, once it is entered.
        with contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()):
            for value, said in find(context.params):
                if value.startswith(typed) and value.isprintable() and value not in repeated:
                    items.append(CompletionItem(value, help=said if said.isprintable() else None))
        return items

    return complete


def _nothing_typed() -> str:
    """The empty word; for zsh, which does not use it, another one: click's script loses an empty word, and takes
    those behind it for something else."""
    return "." if os.environ.get("_AIFLOW_EXT_COMPLETE") == "zsh_complete" else ""


def _runs(given: Given) -> Values:
    from aiflow_ext.run.store.find import LATEST, stores

    found = [run for store in stores(given.get("project")) for run in store.runs()]
    if found:
        yield LATEST, "the newest run"
    for run in sorted(found, key=lambda run: -float(run["started_at"])):
        yield run["run"], f"{run['state']}, {run['project']}"


def _jobs_of_run(given: Given) -> Values:
    from aiflow_ext.run.store.find import open_run

    store, run_id = open_run(given["run"], given.get("project"))
    for job in store.run(run_id).jobs.values():
        yield job.name, str(job.state)


def _jobs_of_project(given: Given) -> Values:
    """Those of the latest run, those that workflow.py names as they are, and those that are configured by name."""
    return dict.fromkeys((name, "") for find in (_planned, _written, _configured) for name in _of(given, find))


def _of(given: Given, find: Callable[[str], Iterable[str]]) -> list[str]:
    names: list[str] = []
    with contextlib.suppress(Exception):  # a spoilt store does not hide what the files say
        names += find(given["project"])
    return names


def _planned(project: str) -> Iterator[str]:
    for name, _ in _jobs_of_run({"run": "latest", "project": project}):
        yield name


def _written(project: str) -> Iterator[str]:
    import ast

    for node in ast.walk(_workflow_py(project)):
        if isinstance(node, ast.Call) and _name(node.func) == "job" and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield name.value


def _configured(project: str) -> Iterator[str]:
    from aiflow_ext.translate.patterns import is_pattern
    from aiflow_ext.translate.project_root import WORKFLOW_YAML, project_root
    from aiflow_ext.translate.yaml_source import read_yaml

    for key in read_yaml(project_root(project) / WORKFLOW_YAML, []).value:
        if isinstance(key, str) and not is_pattern(key):
            yield key


def _workflows(given: Given) -> Values:
    import ast

    # The argument of `graph` is a run or a project, that of `why` a platform or a project.
    for node in ast.walk(_workflow_py(given.get("project") or given.get("run") or given["platform"])):
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            called = decorator if isinstance(decorator, ast.Call) else None
            if _name(called.func if called is not None else decorator) == "workflow":
                words = [each.value for each in called.keywords if each.arg == "name"] if called is not None else []
                named = [each.value for each in words if isinstance(each, ast.Constant)]
                yield str(named[0]) if named else node.name, ""


def _workflow_py(project: str) -> ast.Module:
    import ast

    from aiflow_ext.regular_file import read_whole
    from aiflow_ext.translate.project_root import WORKFLOW_PY, project_root

    return ast.parse(read_whole(project_root(project) / WORKFLOW_PY))


def _name(function: ast.expr) -> str | None:
    """``job`` of ``job`` and of ``af.job``."""
    import ast

    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else None


def _profiles(given: Given) -> Values:
    from aiflow_ext.translate.project_root import PROJECT_YAML, project_root
    from aiflow_ext.translate.yaml_source import read_yaml

    project = given.get("project") or given["platform"]  # the argument of `why` is a platform or a project
    return [(name, "") for name in read_yaml(project_root(project) / PROJECT_YAML, []).value["profiles"]]


def _platforms(given: Given) -> Values:
    return dict.fromkeys((platform, "") for platform, _ in _job_plugins())


def _engines_or_jobs(given: Given) -> Values:
    engines = [(engine, "") for platform, engine in _job_plugins() if platform == given["platform"]]
    return engines or _jobs_of_project({"project": given["platform"]})


def _job_plugins() -> list[tuple[str, str]]:
    """The platform and the engine of each."""
    from aiflow_ext.host.host import plugins

    pairs = [record.name.partition(".") for record in plugins() if record.kind == "job_plugin"]
    return [(platform, engine) for platform, _, engine in pairs]


PROJECT = _completing(lambda given: (), folders=True)
RUN = _completing(_runs)
RUN_OR_PROJECT = _completing(_runs, folders=True)
JOB_OF_RUN = _completing(_jobs_of_run)
JOB_OF_PROJECT = _completing(_jobs_of_project)
WORKFLOW = _completing(_workflows)
PROFILE = _completing(_profiles)
PLATFORM_OR_PROJECT = _completing(_platforms, folders=True)
ENGINE_OR_JOB = _completing(_engines_or_jobs)
