"""The words in which a workflow author builds a graph: workflow, job, node, python, cmd, output, property,
run_after.

Authoring only records calls and where they were made. Translate finds all mistakes in the graph, at once.
"""

from __future__ import annotations

import bisect
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from types import CodeType, FrameType
from typing import Any

from aiflow_ext.model.errors import GraphError
from aiflow_ext.model.graph import (
    AIGraph,
    AINode,
    ControlEdge,
    DataEdge,
    InputRef,
    JobSection,
    NodeOutput,
    OutputFile,
    PropertyRef,
    building,
)

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_CONTEXTLIB = contextmanager.__code__.co_filename
_graph: ContextVar[AIGraph | None] = ContextVar("aiflow_ext_graph", default=None)
_job: ContextVar[str | None] = ContextVar("aiflow_ext_job", default=None)
# The jobs of ``af.on_failure(job)``, and where: their upstreams are known only once the workflow has all its jobs.
_on_failure: ContextVar[list[tuple[str, str | None]]] = ContextVar("aiflow_ext_on_failure")
# The last number given to a name in a job, so that a thousand nodes of one name are named in one pass.
_taken: ContextVar[dict[tuple[str | None, str], int]] = ContextVar("aiflow_ext_taken")
_GENERATOR_OR_ASYNC = 0x20 | 0x80 | 0x200  # of code.co_flags: calling such a function runs nothing of it


class Workflow:
    """A function that builds a graph, as ``@af.workflow`` leaves it. Calling it, with the function's arguments, builds
    and returns the graph."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        written = function
        while hasattr(written, "__wrapped__"):
            written = written.__wrapped__
        code = getattr(written, "__code__", None)
        if code is None:
            raise GraphError(f"@af.workflow takes a function, not {function!r}", where=_where())
        self.function, self.name = function, name
        self.where = f"{code.co_filename}:{code.co_firstlineno}"
        self.__doc__ = function.__doc__
        if code.co_flags & _GENERATOR_OR_ASYNC:
            raise GraphError(f"workflow {name!r} is a generator or async; make it a plain function", where=self.where)

    def build(self, *args: Any, **kwargs: Any) -> AIGraph:
        """Run the function with these arguments and return the graph that it built; each call builds a new one."""
        graph = AIGraph(self.name, self.where)

        def fill() -> None:
            building.set(True)
            _graph.set(graph)
            _job.set(None)
            _taken.set({})
            _on_failure.set([])
            self.function(*args, **kwargs)
            _add_failure_edges(graph, _on_failure.get())

        copy_context().run(fill)
        return graph

    __call__ = build


def workflow(function: Callable[..., Any] | None = None, *, name: str | None = None) -> Any:
    """Decorate the function that builds the workflow's graph; its name is the workflow's unless ``name`` says more.

    The function may take parameters, which ``-p NAME=VALUE`` sets; a value is checked by the parameter's annotation.
    """
    if function is None:
        return lambda function: workflow(function, name=name)
    return Workflow(function, name or str(getattr(function, "__name__", "workflow")))


@contextmanager
def job(name: str) -> Iterator[str]:
    """Every node made inside ``with af.job("train"):`` belongs to the job ``train``; yields the name."""
    graph, where = _current("af.job"), _where()
    if not isinstance(name, str) or not name:
        raise GraphError(f"a job's name is a non-empty string, not {name!r}", where=where)
    outer = _job.get()
    if outer is not None:
        raise GraphError(f"job {name!r} is opened inside job {outer!r}; jobs do not nest", where=where)
    section = graph.jobs.setdefault(name, JobSection(name))
    section.where.append(where)
    token = _job.set(name)
    try:
        yield name
    finally:
        _job.reset(token)


def node(kind: str, /, *inputs: AINode | NodeOutput, name: str | None = None, **properties: Any) -> AINode:
    """An operation of any kind, for a plugin that knows it.

    Args:
        kind: the plugin's word for what the operation is.
        inputs: the nodes whose values it reads; each makes a data edge.
        name: the node's name in its job; the kind by default, numbered where it is taken.
        properties: anything that is data.
    """
    name = name or kind
    if not isinstance(name, str) or not name or "/" in name:
        raise GraphError(f"a node's name is a non-empty string without slashes, not {name!r}", where=_where())
    return _add(kind, name, properties, inputs)


def python(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AINode:
    """A call of ``function`` when the job runs. Its return value is the node's value.

    Args:
        function: importable in the job, or a lambda or closure, which is sent by value.
        args: its arguments. Each node and each ``af.property`` among them, also in lists, tuples and dicts, is replaced
            by its value; everything else is passed as it is.
        kwargs: likewise.
    """
    if not callable(function):
        raise GraphError(
            f"af.python takes a function first, not {_shown(function)}",
            where=_where(),
            hint="give it the function itself, and then its arguments: af.python(fit, data)",
        )
    inputs: list[AINode | NodeOutput] = []
    properties = {"function": function, "args": [_refer(item, inputs) for item in args],
                  "kwargs": {key: _refer(item, inputs) for key, item in kwargs.items()}}  # fmt: skip
    name = getattr(function, "__name__", None)
    if not isinstance(name, str) or not name or "/" in name:
        name = type(function).__name__
    return _add("python", "lambda" if name == "<lambda>" else name, properties, inputs)


def cmd(command: str | Sequence[Any], /, **names: Any) -> AINode:
    """A command. A string is run by the shell that the job's config names, ``/bin/sh`` by default; a list is an
    argument vector, and meets no shell.

    ``{name}`` is replaced by the keyword ``name``, quoted for the shell: a node (the path of a file with its value:
    numbers, lists and dicts as JSON), a plain value, or ``af.output("file")`` (a path to write).
    ``{properties.alpha}`` is the job's property ``alpha``. Every other brace is left as it is.
    """
    inputs: list[AINode | NodeOutput] = []
    line = _words(command)
    if not line:
        hint = (
            "what it uses is given by keyword: af.cmd(['cat', '{data}'], data=node)" if _holds_node(command) else None
        )
        raise GraphError(
            f"a command is a string or a list of strings, not {_shown(command)}", where=_where(), hint=hint
        )
    properties = {"command": line, "names": {key: _refer(item, inputs) for key, item in names.items()}}
    return _add("cmd_line", "cmd", properties, inputs)


def _words(command: Any) -> str | list[str] | None:
    """The command as it is kept; empty or None where it is none."""
    if isinstance(command, str):
        return command
    if isinstance(command, (bytes, bytearray, memoryview, Mapping, Set)) or not isinstance(command, Iterable):
        return None
    parts = list(command)
    fit = all(isinstance(part, (str, os.PathLike, int, float)) for part in parts)
    return [str(part) for part in parts] if fit else None


def _holds_node(value: Any) -> bool:
    return isinstance(value, (AINode, NodeOutput)) or (
        isinstance(value, (list, tuple)) and any(map(_holds_node, value))
    )


def add_node(kind: str, name: str, properties: Mapping[str, Any], names: Mapping[str, Any]) -> AINode:
    """Add a node to the workflow that is being built, for an authoring function of a plugin's own, which this is
    called by.

    Its outputs are by name, as a command's are: those of ``names`` that are ``af.output("file")``.

    Args:
        kind: what the operation is; also the authoring function's name, for messages.
        name: the node's name in its job, numbered where it is taken.
        properties: anything that is data.
        names: values by keyword: nodes, outputs and plain values. Kept as the property ``names``, in which each node
            is an InputRef.

    Raises GraphError outside of a workflow.
    """
    inputs: list[AINode | NodeOutput] = []
    given = {**properties, "names": {key: _refer(item, inputs) for key, item in names.items()}}
    return _add(kind, name, given, inputs, sys._getframe(1).f_code.co_filename)


def called_at() -> str:
    """``file:line`` of the author's call of the authoring function that calls this."""
    return _where(sys._getframe(1).f_code.co_filename)


def output(path: str) -> OutputFile:
    """A file that a command writes and that becomes an artifact: a name without folders, such as ``size.txt``. The jobs
    of some engines write a folder instead."""
    fits = isinstance(path, str) and path not in ("", ".", "..") and len(os.fsencode(path)) <= 200
    if not fits or "/" in path or "\0" in path:
        raise GraphError(f"an output is a file name without folders, not {path!r}", where=_where())
    return OutputFile(path)


def property(name: str) -> PropertyRef:
    """The value that the job's config has for the property ``name``, as an argument of a function or the keyword of a
    command: ``af.python(fit, data, lr=af.property("lr"))``. Dots lead to inner ones: ``"optimizer.rate"``."""
    if not isinstance(name, str) or not name:
        raise GraphError(f"a property's name is a non-empty string, not {_shown(name)}", where=_where())
    return PropertyRef(name)


def run_after(job: str, upstream: str | Iterable[str], when: str | None = None) -> None:
    """``job`` waits for ``upstream`` to be ``when``.

    Args:
        job: the key of the job that waits.
        upstream: the key of the job that it waits for, or several.
        when: finished, failed, any_failed, ended or running. None (default): finished, or running where the upstream is
            STREAM. any_failed: one of all upstreams that have it is enough.

    Raises GraphError for names that are not text, and outside of a workflow.
    """
    graph, where = _current("af.run_after"), _where()
    if isinstance(upstream, (str, AINode)):
        upstream = [upstream]  # type: ignore[list-item]
    names = [job, *upstream] if isinstance(upstream, Iterable) else [job, upstream]
    for name in names:
        if not isinstance(name, str):
            raise GraphError(f"af.run_after takes the names of jobs, not {_shown(name)}", where=where)
    for name in names[1:]:
        graph.add_edge(ControlEdge(source=name, target=job, when=when, where=where))


def on_failure(job: str, upstream: str | Iterable[str] | None = None) -> None:
    """``job`` runs as soon as another one has failed, for good; where none fails, it is SKIPPED.

    Args:
        job: the key of the job that runs then.
        upstream: the key of the job whose failure it waits for, or several. None (default): any other job of the
            workflow that is not after ``job``.

    Raises GraphError for names that are not text, and outside of a workflow.
    """
    _current("af.on_failure")
    if upstream is not None:
        run_after(job, upstream, "any_failed")
    elif isinstance(job, str):
        _on_failure.get().append((job, _where()))
    else:
        raise GraphError(f"af.on_failure takes the name of a job, not {_shown(job)}", where=_where())


def _add_failure_edges(graph: AIGraph, handlers: Sequence[tuple[str, str | None]]) -> None:
    """Have the jobs of ``af.on_failure(job)`` wait for the failure of any job that is not after one of them."""
    after: dict[str, set[str]] = {}
    for edge in graph.control_edges:
        after.setdefault(str(edge.source), set()).add(str(edge.target))
    for data in graph.data_edges:
        ends = [graph.nodes.get(end) for end in (data.source, data.target)]
        if ends[0] is not None and ends[1] is not None:
            after.setdefault(str(ends[0].job), set()).add(str(ends[1].job))
    apart, grown = set[str](), {job for job, _ in handlers}
    while grown:
        apart |= grown
        grown = {name for each in grown for name in after.get(each, ())} - apart
    watched = [name for name in graph.jobs if name not in apart]
    for job, where in handlers:
        if job not in graph.jobs:
            raise GraphError(f"af.on_failure names a job {job!r} that the workflow lacks", where=where)
        if not watched:
            raise GraphError(f"there is no job whose failure {job!r} could wait for", where=where)
        for name in watched:
            graph.add_edge(ControlEdge(source=name, target=job, when="any_failed", where=where))


def _current(what: str, ours: str | None = None) -> AIGraph:
    graph = _graph.get()
    if graph is None:
        raise GraphError(
            f"{what} was called outside a workflow", where=_where(ours), hint="call it in a function under @af.workflow"
        )
    return graph


def _add(
    kind: str, name: str, properties: dict[str, Any], inputs: Iterable[AINode | NodeOutput], ours: str | None = None
) -> AINode:
    graph, holder = _current(f"af.{kind}", ours), _job.get()
    taken, chosen = _taken.get(), name
    while (instance_id := f"{holder or ''}/{chosen}") in graph.nodes:
        number = taken[holder, name] = taken.get((holder, name), 1) + 1
        chosen = f"{name}-{number}"
    made = AINode(kind, properties, chosen, instance_id, holder, _where(ours))
    graph.add_node(made)
    for position, item in enumerate(inputs):
        source, named = (item.node, item.output) if isinstance(item, NodeOutput) else (item, None)
        if not isinstance(source, AINode):
            raise GraphError(f"an input is a node, not {_shown(item)}", where=made.where)
        if graph.nodes.get(str(source.instance_id)) is not source:
            # Kept as an edge from nowhere, so that translate names it together with every other mistake.
            graph.add_edge(DataEdge(f"{source.instance_id} (of another graph, {source.where})", instance_id, position))
        else:
            graph.add_edge(DataEdge(str(source.instance_id), instance_id, position, named))
    return made


def _refer(value: Any, inputs: list[AINode | NodeOutput]) -> Any:
    """``value`` with every node in it replaced by an InputRef; the nodes are appended to ``inputs``."""
    if isinstance(value, (AINode, NodeOutput)):
        inputs.append(value)
        return InputRef(len(inputs) - 1)
    if type(value) in (list, tuple):
        return type(value)([_refer(item, inputs) for item in value])
    if type(value) is dict:
        return {key: _refer(item, inputs) for key, item in value.items()}
    return value


def _shown(value: Any) -> str:
    """A value for a sentence; a node by its name."""
    if isinstance(value, AINode):
        return f"node {value.name!r}"
    if isinstance(value, NodeOutput):
        return f"output {value.output!r} of node {value.node.name!r}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_shown, value))}]"
    return repr(value)


def _where(ours: str | None = None) -> str:
    """``file:line`` of the nearest caller outside this package, and outside the file ``ours``."""
    frame = sys._getframe(1)
    while frame.f_back is not None and (
        frame.f_code.co_filename.startswith(_PACKAGE) or frame.f_code.co_filename in (_CONTEXTLIB, ours)
    ):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{_line(frame)}"


def _line(frame: FrameType) -> int:
    """The frame's line. Its own ``f_lineno`` reads the code's table of lines from the start, at every look."""
    code = frame.f_code
    table = _tables.get(id(code))
    if table is None:
        lines = [(start, line) for start, _, line in code.co_lines() if line is not None]
        table = _tables[id(code)] = (code, [start for start, _ in lines], [line for _, line in lines])
    _, starts, numbers = table
    return numbers[max(0, bisect.bisect_right(starts, frame.f_lasti) - 1)] if numbers else frame.f_lineno


# By identity: a code's own hash reads all of it. The code is kept, so that its identity stays its own.
_tables: dict[int, tuple[CodeType, list[int], list[int]]] = {}
