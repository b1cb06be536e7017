"""Serialises functions and arguments, and reports those that cannot be sent."""

from __future__ import annotations

import inspect
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from aiflow_ext.model.code import FunctionRef, Pickled
from aiflow_ext.model.errors import Problem
from aiflow_ext.model.graph import AIGraph, AINode, InputRef, OutputFile, PropertyRef, outputs_of
from aiflow_ext.model.own_imports import without_project
from aiflow_ext.translate.modules import Modules
from aiflow_ext.translate.references import Named, Reach, References, changed_globals

_PLAIN = (type(None), bool, int, float, str, bytes)
_MAKE_IT_THERE = "make it inside the function, or pass what it is made from (a path, a name, a number)"
PICKLE_LIMIT = 64 * 2**20  # bytes of one pickled value; it is sent with every attempt, and shown by render


def freeze(
    graph: AIGraph, root: Path, workflow: ModuleType, python_paths: Sequence[str] | None = None
) -> list[Problem]:
    """Replace every function and argument in ``graph`` by data, in place. Returns those that cannot be sent.

    Functions that a job can import (from the project, workflow.py included, or installed) become a
    :class:`FunctionRef`; lambdas and closures become a :class:`Pickled`.

    Args:
        graph: what the workflow has built.
        root: the project's folder.
        workflow: the module of its workflow.py.
        python_paths: where jobs look for the project's modules; what ``sys.path`` has of the project by default.
    """
    if python_paths is None:
        python_paths = [path for path in sys.path if Path(path).resolve().is_relative_to(root.resolve())]
    inputs = Counter(edge.target for edge in graph.data_edges)
    freezer = _Freezer(Modules(root, python_paths, workflow.__name__), workflow, inputs, _readers(graph))
    for node in graph.nodes:
        if node.kind == "python":
            freezer.python(node)
        else:
            freezer.plugin_node(node)
    return freezer.problems


def _readers(graph: AIGraph) -> dict[str, str]:
    """Of each node whose value another job reads, by its id: one of these jobs."""
    found: dict[str, str] = {}
    for edge in graph.data_edges:
        source, target = graph.nodes.get(edge.source), graph.nodes.get(edge.target)
        if source is not None and target is not None and source.job != target.job:
            found[edge.source] = str(target.job)
    return found


class _Freezer:
    def __init__(
        self, modules: Modules, workflow: ModuleType, inputs: Mapping[str, int], readers: Mapping[str, str]
    ) -> None:
        self.modules, self.workflow, self.inputs, self.readers = modules, workflow, inputs, readers
        self.references = References(workflow)
        self.problems: list[Problem] = []

    def python(self, node: AINode) -> None:
        properties = dict(node.properties)
        if not callable(properties.get("function")):
            return  # check_graph names it
        # af.node("python", a, b, function=f) says no more than that a and b are what f is given.
        args = properties.get("args", [InputRef(position) for position in range(self.inputs[str(node.instance_id)])])
        properties["function"] = self.function(node, properties["function"])
        properties["args"] = [self.value(node, item, f"argument {number}") for number, item in enumerate(args, 1)]
        kwargs = properties.get("kwargs", {})
        properties["kwargs"] = {key: self.value(node, item, f"argument {key!r}") for key, item in kwargs.items()}
        node.properties = properties

    def plugin_node(self, node: AINode) -> None:
        """A command, or a node of a plugin's own kind."""
        properties, named = dict(node.properties), outputs_of(node) is not None
        given = properties.pop("names", {}) if named else {}
        if node.kind != "cmd_line":  # whose command is text already
            properties = self.value(node, properties, "its properties")
        if named and isinstance(properties, dict):
            properties["names"] = {
                keyword: value if isinstance(value, (InputRef, OutputFile)) else self.plain(node, value, keyword)
                for keyword, value in given.items()
            }
        node.properties = properties

    def function(self, node: AINode, function: Callable[..., Any]) -> FunctionRef | Pickled | None:
        name = getattr(function, "__module__", None)
        module = sys.modules.get(name) if isinstance(name, str) else None
        qualname = getattr(function, "__qualname__", "")
        what = f"function {qualname or repr(function)}"
        if inspect.iscoroutinefunction(function):
            self.refuse(node, what, "is async, and is not awaited", "call it in a plain function: asyncio.run(...)")
            return None
        reader = self.readers.get(str(node.instance_id))
        if reader is not None and (inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)):
            words = f"is a generator, and no other job can read what it gives; job {reader!r} does"
            self.refuse(node, what, words, "return a list, or read it in a function of the same job")
            return None
        if module is not None and _find(module, qualname) is not function:
            from aiflow_ext.model.by_module import other_name

            qualname = other_name(function, module) or ""
        if module is None or name == "__main__" or not qualname:
            return self.pickle(node, function, what)
        if module is self.workflow:
            wrong = self.lacking({Named(module.__name__, qualname)}, [])
        else:
            wrong = self.modules.missing(module.__name__)
        if wrong is not None:
            self.refuse(node, what, *wrong)
            return None
        return FunctionRef(module.__name__, qualname)

    def lacking(self, named: Set[Named], functions: Iterable[FunctionType]) -> tuple[str, str] | None:
        """What these functions need that the job will not have, and the cure; None where nothing is missing."""
        with without_project():
            from aiflow_ext.translate.pickles import is_open_file

        own = self.workflow.__name__
        reach = Reach(frozenset(each.module for each in named if each.module != own))
        for each in named:
            if each.module == own and each.name is not None:
                reach |= self.references.of_global(each.name)
        for function in functions:
            reach |= self.references.of_function(function)
        for name in sorted(reach.modules):
            if name in sys.modules and (missing := self.modules.missing(name)):
                return missing
        values = vars(self.workflow)
        for name in sorted(reach.globals):
            if is_open_file(values[name]):
                return f"cannot travel: it reads an open file (its variable {name!r})", _MAKE_IT_THERE
        for name in changed_globals(self.workflow, sorted(reach.globals)):
            words = f"reads the global {name!r} of workflow.py, which has changed since workflow.py was imported"
            return f"{words}: the job imports the module again and does not see that", "pass the value as an argument"
        return None

    def value(self, node: AINode, value: Any, what: str) -> Any:
        """``value`` as data: containers stay, plain values stay, everything else is pickled."""
        if type(value) in _PLAIN or isinstance(value, (InputRef, OutputFile, PropertyRef, Pickled, FunctionRef)):
            return value
        if type(value) in (list, tuple):
            return type(value)([self.value(node, item, what) for item in value])
        if type(value) is dict and all(_is_key(key) for key in value):
            return {key: self.value(node, item, f"{what}[{key!r}]") for key, item in value.items()}
        return self.pickle(node, value, what)

    def plain(self, node: AINode, value: Any, keyword: str) -> Any:
        """The value of a command's keyword: a plain value, or lists and maps of them."""
        if isinstance(value, os.PathLike):
            return os.fsdecode(value)
        if type(value) in (list, tuple):
            return [self.plain(node, item, keyword) for item in value]
        if type(value) is dict and all(type(key) is str for key in value):
            return {key: self.plain(node, item, keyword) for key, item in value.items()}
        if isinstance(value, (bool, int, float, str, type(None), PropertyRef)):
            return value
        if isinstance(value, (InputRef, OutputFile)):
            words, hint = "holds a node or an output in a list or map", "give each one a keyword of its own"
        else:
            words, hint = f"is a {type(value).__name__}, which no command can take", "pass it as text or as a number"
        self.refuse(node, f"keyword {keyword!r}", words, hint)
        return None

    def pickle(self, node: AINode, value: Any, what: str) -> Pickled | None:
        with without_project():
            import hashlib

            import cloudpickle

            from aiflow_ext.translate.pickles import blame, dumps, named

        functions: list[FunctionType] = []
        try:
            data = dumps(value, self.modules.is_own, functions)
        except Exception as error:
            blamed = blame(value, self.modules.is_own)
            self.refuse(node, what, f"cannot travel: {type(error).__name__}: {error}{blamed}", _MAKE_IT_THERE)
            return None
        if len(data) > PICKLE_LIMIT:
            words = f"is {len(data) / 2**20:.0f} MB; what is sent with a job may be {PICKLE_LIMIT // 2**20} MB"
            self.refuse(node, what, words, "keep it in a file and pass the path, or make it in a job of its own")
            return None
        wrong = self.lacking(named(data), functions)
        if wrong is not None:
            self.refuse(node, what, *wrong)
            return None
        return Pickled(
            data,
            f"{what} of node {node.name!r}",
            hashlib.sha256(data).hexdigest(),
            f"{sys.version_info[0]}.{sys.version_info[1]}",
            cloudpickle.__version__,
        )

    def refuse(self, node: AINode, what: str, words: str, hint: str) -> None:
        self.problems.append(Problem(f"{what} of node {node.name!r} in job {node.job!r} {words}", node.where, hint))


def _is_key(key: Any) -> bool:
    return all(map(_is_key, key)) if type(key) is tuple else type(key) in _PLAIN


def _find(module: ModuleType, qualname: str) -> Any:
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found
