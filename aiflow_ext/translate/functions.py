"""Live functions and arguments turned into data that can travel, or named as what cannot."""

from __future__ import annotations

import hashlib
import pickletools
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from aiflow_ext.model.code import FunctionRef, Pickled
from aiflow_ext.model.errors import Problem
from aiflow_ext.model.graph import AIGraph, AINode, InputRef, OutputFile

_PLAIN = (type(None), bool, int, float, str)


def freeze(graph: AIGraph, root: Path, workflow: ModuleType) -> list[Problem]:
    """Replace every live function and argument in ``graph`` by data, in place. Returns what cannot travel.

    Functions that a job can import (from the project, or installed) become a :class:`FunctionRef`; those of the
    workflow's own file, lambdas and closures become a :class:`Pickled`.
    """
    freezer = _Freezer(root, workflow)
    with _by_value(workflow):
        for node in graph.nodes:
            if node.kind == "python":
                freezer.python(node)
            else:
                node.properties = freezer.value(node, dict(node.properties), "its properties")
    return freezer.problems


class _Freezer:
    def __init__(self, root: Path, workflow: ModuleType) -> None:
        self.root, self.workflow = root.resolve(), workflow
        self.problems: list[Problem] = []

    def python(self, node: AINode) -> None:
        properties = dict(node.properties)
        function = properties["function"]
        properties["function"] = self.function(node, function)
        named = [*enumerate(properties["args"], 1), *properties["kwargs"].items()]
        frozen = {key: self.value(node, item, f"argument {key!r}") for key, item in named}
        properties["args"] = [frozen[number] for number in range(1, len(properties["args"]) + 1)]
        properties["kwargs"] = {key: frozen[key] for key in properties["kwargs"]}
        node.properties = properties

    def function(self, node: AINode, function: Callable[..., Any]) -> FunctionRef | Pickled | None:
        module = sys.modules.get(getattr(function, "__module__", None) or "")
        qualname = getattr(function, "__qualname__", "")
        if module is not None and module is not self.workflow and _find(module, qualname) is function:
            if module.__name__ != "__main__" and (home := self.home(module)) is None:
                self.refuse_module(node, module.__name__, f"function {qualname}")
                return None
            elif module.__name__ != "__main__" and home is not None:
                return FunctionRef(module.__name__, qualname)
        return self.pickle(node, function, f"function {qualname or function!r}")

    def value(self, node: AINode, value: Any, what: str) -> Any:
        """``value`` as data: containers stay, plain values stay, everything else is pickled."""
        if type(value) in _PLAIN or isinstance(value, (InputRef, OutputFile, Pickled, FunctionRef)):
            return value
        if type(value) in (list, tuple):
            return type(value)([self.value(node, item, what) for item in value])
        if type(value) is dict and all(type(key) is str for key in value):
            return {key: self.value(node, item, f"{what}[{key!r}]") for key, item in value.items()}
        return self.pickle(node, value, what)

    def pickle(self, node: AINode, value: Any, what: str) -> Pickled | None:
        import cloudpickle

        try:
            data = cloudpickle.dumps(value)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            hint = "make it inside the function, or pass what it is made from (a path, a name, a number)"
            self.problems.append(
                Problem(f"{what} of node {node.name!r} in job {node.job!r} cannot travel: {reason}", node.where, hint)
            )
            return None
        for name in sorted(_modules_named(data)):
            module = sys.modules.get(name)
            if module is not None and module is not self.workflow and self.home(module) is None:
                self.refuse_module(node, name, what)
        return Pickled(
            data,
            f"{what} of node {node.name!r}",
            hashlib.sha256(data).hexdigest(),
            f"{sys.version_info[0]}.{sys.version_info[1]}",
            cloudpickle.__version__,
        )

    def home(self, module: ModuleType) -> str | None:
        """``project`` or ``installed``; None for a module that exists only in this process."""
        return home_of(module, self.root)

    def refuse_module(self, node: AINode, name: str, what: str) -> None:
        file = getattr(sys.modules[name], "__file__", None) or "no file"
        self.problems.append(
            Problem(
                f"{what} of node {node.name!r} in job {node.job!r} needs the module {name!r} ({file}), which is "
                "neither in the project nor installed: no job can import it",
                node.where,
                "move it into the project (python_paths in project.yaml says where jobs look), or install it",
            )
        )


def home_of(module: ModuleType, root: Path) -> str | None:
    """Where a job finds ``module``: ``project`` (it travels), ``installed``, or None (only here)."""
    file = getattr(module, "__file__", None)
    if file is None:
        if module.__name__ in sys.builtin_module_names or getattr(module, "__spec__", None) is None:
            return "installed"
        paths = list(getattr(module, "__path__", ()))  # a namespace package
        if not paths:
            return "installed"
        file = paths[0]
    path = Path(file).resolve()
    if any(path.is_relative_to(folder) for folder in _installed_folders()):
        return "installed"
    if path.is_relative_to(root):
        return "project"
    return "installed" if _found_afresh(module.__name__) else None


def _installed_folders() -> list[Path]:
    paths = sysconfig.get_paths()
    return [Path(paths[key]).resolve() for key in ("stdlib", "platstdlib", "purelib", "platlib")]


_afresh: dict[str, bool] = {}


def _found_afresh(name: str) -> bool:
    """Whether a fresh interpreter finds the module: editable installs and .pth files lead anywhere."""
    if name not in _afresh:
        code = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"
        top = name.partition(".")[0]
        done = subprocess.run([sys.executable, "-c", code, top], cwd="/", capture_output=True)
        _afresh[name] = done.returncode == 0
    return _afresh[name]


def _find(module: ModuleType, qualname: str) -> Any:
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


@contextmanager
def _by_value(module: ModuleType) -> Iterator[None]:
    import cloudpickle

    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def _modules_named(data: bytes) -> set[str]:
    """The modules that opening the pickle would import; the pickle is read, not opened."""
    names: set[str] = set()
    strings: list[str] = []
    memo: dict[int, str | None] = {}
    last: str | None = None
    importing = False
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "MEMOIZE":
            memo[len(memo)] = last
            continue
        if opcode.name in ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"):
            last = str(argument)
        elif opcode.name in ("BINGET", "LONG_BINGET"):
            last = memo.get(int(argument or 0))
        elif opcode.name == "STACK_GLOBAL":
            if len(strings) >= 2:
                names.add(strings[-2])
                importing = strings[-1] == "subimport"
            last = None
        else:
            last = None
        if last is not None:
            if importing:  # cloudpickle's subimport(name): a module object that the value refers to
                names.add(last)
                importing = False
            strings.append(last)
            del strings[:-2]
    return names
