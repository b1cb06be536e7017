"""What a job runs from: the project archive, sent once a run, and a small payload of its own."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Set
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from aiflow_ext.engines.command import ARGUMENT_LIMIT, plan_command, text_of, too_long_together
from aiflow_ext.engines.environment import properties_text
from aiflow_ext.model.code import FunctionRef, Pickled
from aiflow_ext.model.cycles import find_cycle
from aiflow_ext.model.errors import CodeError, Problem
from aiflow_ext.model.graph import AINode, AISubGraph, InputRef, OutputFile, outputs_of
from aiflow_ext.model.job import JobContext
from aiflow_ext.model.jsonable import dumps
from aiflow_ext.model.project import ProjectDesc
from aiflow_ext.translate.workflow_name import workflow_name

if TYPE_CHECKING:
    from aiflow_ext.engines.archive import ProjectArchive

# One scan for each loaded project: a later load of the same folder, after an edit, is scanned again.
_archives: WeakKeyDictionary[ProjectDesc, ProjectArchive] = WeakKeyDictionary()


class Bundle:
    """A job's code on its way to a platform.

    Attributes:
        sub_graph, project: what it was built from.
        engine: ``python``, ``cmd_line`` or one of a plugin's own.
        needs_runner: whether it needs its project and a payload; a command that reads and writes no artifact needs only
            ``/bin/sh``.
    """

    def __init__(self, sub_graph: AISubGraph, project: ProjectDesc, engine: str) -> None:
        self.sub_graph, self.project, self.engine = sub_graph, project, engine
        self.steps = _in_order(sub_graph)
        self.needs_runner = engine != "cmd_line" or bool(sub_graph.inputs) or any(
            isinstance(value, (InputRef, OutputFile))
            for node in self.steps
            for value in node.properties.get("names", {}).values()
        )  # fmt: skip

    @property
    def archive(self) -> ProjectArchive:
        """The project archive; scanned once a project. Raises CodeError that names files that cannot be sent."""
        if self.project not in _archives:
            from aiflow_ext.engines.archive import ProjectArchive

            _archives[self.project] = ProjectArchive(self.project)
        return _archives[self.project]

    def payload(self, context: JobContext) -> bytes:
        """What the runner is given: the steps, where their inputs are and where their outputs go. JSON."""
        from aiflow_ext.engines.edges import inputs_of

        graph = self.sub_graph
        given = inputs_of(graph, context)
        leaving = set(graph.outputs)
        steps = []
        for node in self.steps:
            inputs = [
                {"url": each.url} if each.node is None else {"node": each.node, "output": each.output}
                for each in given[str(node.instance_id)]
            ]
            steps.append({"id": node.instance_id, "kind": node.kind, "inputs": inputs, "properties": node.properties,
                          "saves": self._saves(node, context),
                          "read": node.kind == "cmd_line" or node.instance_id in leaving})  # fmt: skip
        config = graph.config
        return dumps(
            {
                "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
                "root": self.project.root,
                "python_paths": list(self.project.python_paths),
                "workflow": workflow_name(self.project.root, self.project.python_paths),
                "properties": dict(config.properties),
                "keep": bool(config.keep),
                "steps": steps,
            }
        ).encode()

    def _saves(self, node: AINode, context: JobContext) -> dict[str, str]:
        """Where the node's outputs go, by output name (``value`` for the one of a python node)."""
        from aiflow_ext.engines.edges import output_url

        outputs = outputs_of(node)
        if outputs is None:
            return {"value": output_url(node, context)}
        return {name: output_url(node, context, name) for name in outputs}

    def command(self) -> list[list[str]]:
        """The argument vectors of a cmd_line job that needs no runner, one a node, to be run one after the other."""
        commands, problems = self._planned
        if problems:
            raise CodeError(problems=problems)
        return [list(argv) for argv in commands]

    @property
    def command_problems(self) -> list[Problem]:
        """What is wrong with the commands of a cmd_line job; values that are known only when it runs are taken to be
        short."""
        return list(self._planned[1])

    @cached_property
    def _planned(self) -> tuple[list[list[str]], list[Problem]]:
        """The command of each node, and what is wrong with them."""
        commands: list[list[str]] = []
        problems: list[Problem] = []
        for node in self.steps:
            names = {**dict.fromkeys(node.properties.get("names", {}), "x"), **_constants(node)}
            try:
                commands.append(plan_command(node, names, self.sub_graph.config.properties))
            except CodeError as error:
                problems += error.problems
        if not problems and not self.needs_runner:
            problems += too_long_together(str(self.sub_graph.name), commands, self.steps[0].where)
        return commands, problems


def build_bundle(
    sub_graph: AISubGraph, project_desc: ProjectDesc, engine: str | None = None, *, is_sent: bool = True
) -> Bundle:
    """The bundle of a job. Offline and repeatable; it writes nothing.

    Args:
        sub_graph: the job's nodes and config.
        project_desc: the project.
        engine: ``python`` or ``cmd_line``; the config's engine by default.
        is_sent: whether the project's files are to be sent, and so checked; True by default. False where jobs have the
            project's own folder, commands without artifacts too, as ``AIFLOW_PROJECT_FOLDER``.

    Raises CodeError for nodes that the engine cannot run, commands with mistakes, and, where the job needs the project
    archive, for files that cannot travel.
    """
    engine = engine or sub_graph.config.engine or "python"
    problems = [
        Problem(
            f"node {node.name!r} of kind {node.kind!r} is in job {sub_graph.name!r}, whose engine is {engine}",
            node.where,
            f"make it a {_maker(engine)}, or give the job another engine in workflow.yaml",
        )
        for node in sub_graph.nodes
        if node.kind != engine
    ]
    if not len(sub_graph.nodes):
        problems.append(
            Problem(f"job {sub_graph.name!r} has nothing to run", hint=f"put a {_maker(engine)} under its af.job")
        )
    size = len(properties_text(sub_graph.config))
    if size > ARGUMENT_LIMIT - 100:  # every job gets them in a variable
        problems.append(
            Problem(
                f"the properties of job {sub_graph.name!r} are {size} bytes as JSON; a variable holds {ARGUMENT_LIMIT}",
                hint="keep what is large in a file of the project, or in an artifact",
            )
        )
    if problems:
        raise CodeError(problems=problems)
    bundle = Bundle(sub_graph, project_desc, engine)
    if engine == "cmd_line":
        problems = bundle.command_problems or (list(_without_project(bundle)) if is_sent else [])
    if problems:
        raise CodeError(problems=problems)
    if is_sent and bundle.needs_runner:  # scanned now, so that files that cannot be sent are reported before the run
        problems += _left_out(bundle)
    if problems:
        raise CodeError(problems=problems)
    return bundle


# "${NAME:-default}" and its like say what to do without.
_PROJECT_FOLDER = re.compile(r"\$(AIFLOW_PROJECT_FOLDER\b|\{#?AIFLOW_PROJECT_FOLDER\b(?!:?[-+=]))")


def _without_project(bundle: Bundle) -> Iterator[Problem]:
    """Commands that read where the project's files are, of a job that is sent none."""
    if bundle.needs_runner or "AIFLOW_PROJECT_FOLDER" in bundle.sub_graph.config.env:
        return
    for node in bundle.steps:
        command = node.properties["command"]
        if any(map(_PROJECT_FOLDER.search, [command] if isinstance(command, str) else command)):
            yield Problem(
                f"the command of node {node.name!r} in job {node.job!r} uses AIFLOW_PROJECT_FOLDER, and it is not set: "
                "a command that reads and writes no artifact is not sent the project",
                node.where,
                "write its output as an artifact (af.output), or say what to do without: ${AIFLOW_PROJECT_FOLDER:-.}",
            )


def _left_out(bundle: Bundle) -> Iterator[Problem]:
    """Functions of the project whose own file the archive leaves out."""
    root, sent = Path(bundle.project.root).resolve(), {name for name, _ in bundle.archive.files}
    workflow = workflow_name(root, bundle.project.python_paths)
    has_workflow = _is_sent(root / "workflow.py", root, sent)
    for node in bundle.steps:
        function = node.properties.get("function")
        if not has_workflow and any(_names(each, workflow) for each in codes_of(node.properties)):
            yield Problem(
                f"node {node.name!r} in job {node.job!r} uses code of workflow.py, which does not travel",
                node.where,
                "take it out of exclude in project.yaml",
            )
            continue
        if not isinstance(function, FunctionRef):
            continue
        for folder in bundle.project.python_paths:
            stem = os.path.normpath(os.path.join(folder, *function.module.split(".")))
            for name in (f"{stem}.py", f"{stem}/__init__.py"):
                if os.path.isfile(root / name) and not _is_sent(root / name, root, sent):
                    yield Problem(
                        f"function {function.qualname} of node {node.name!r} in job {node.job!r} is in {name}, which "
                        "does not travel",
                        node.where,
                        "take it out of exclude in project.yaml",
                    )


def _is_sent(file: Path, root: Path, sent: Set[str]) -> bool:
    """Whether a file of the project is sent; a link is if its target is."""
    target = file.resolve()
    return target.is_relative_to(root) and f"project/{target.relative_to(root).as_posix()}" in sent


def codes_of(item: Any) -> Iterator[FunctionRef | Pickled]:
    """The functions and pickled values in a node's properties."""
    if isinstance(item, (FunctionRef, Pickled)):
        yield item
    elif isinstance(item, (list, tuple, dict)):
        for each in item.values() if isinstance(item, dict) else item:
            yield from codes_of(each)


def _names(code: FunctionRef | Pickled, module: str) -> bool:
    if isinstance(code, FunctionRef):
        return code.module == module
    from aiflow_ext.translate.pickles import modules_named

    return module in modules_named(code.data)


def unpack(bundle: Bundle, folder: Path) -> Path:
    """Unpack the project archive, for platforms that share a file system with the client; idempotent.

    Args:
        bundle: the job's.
        folder: the archive's content is below it, in a folder that the content's digest names.

    Returns that folder. Raises CodeError for files that cannot be sent.
    """
    return bundle.archive.copy_to(folder)


def _maker(engine: str) -> str:
    return {"python": "function: af.python(...)", "cmd_line": "command: af.cmd(...)"}.get(engine, f"af.{engine}(...)")


def _constants(node: AINode) -> dict[str, str]:
    names = node.properties.get("names", {})
    return {name: text_of(value) for name, value in names.items() if not isinstance(value, (InputRef, OutputFile))}


def _in_order(sub_graph: AISubGraph) -> list[AINode]:
    """The nodes so that each comes after those whose values it reads; otherwise as they were made."""
    if not sub_graph.edges:
        return list(sub_graph.nodes)
    edges = [(edge.source, edge.target) for edge in sub_graph.edges]
    if find_cycle([str(node.instance_id) for node in sub_graph.nodes], edges):
        raise CodeError(f"the nodes of job {sub_graph.name!r} wait for each other in a circle")
    waits: dict[str, set[str]] = {str(node.instance_id): set() for node in sub_graph.nodes}
    for source, target in edges:
        waits[target].add(source)
    ordered: list[AINode] = []
    done: set[str] = set()

    def visit(name: str) -> None:
        stack = [name]
        while stack:
            top = stack[-1]
            missing = [source for source in sorted(waits[top]) if source not in done]
            if missing:
                stack += missing
            else:
                stack.pop()
                if top not in done:
                    done.add(top)
                    ordered.append(sub_graph.nodes[top])

    for name in waits:
        visit(name)
    return ordered
