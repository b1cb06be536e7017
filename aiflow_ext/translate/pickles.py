"""Values pickled for a job, and what their pickles would import. Nothing is ever opened here."""

from __future__ import annotations

import io
import pickle
import pickletools
import sys
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

from aiflow_ext.model import pickling
from aiflow_ext.model.by_module import module_of, reduction
from aiflow_ext.model.graph import AINode, NodeOutput
from aiflow_ext.translate.references import Named


def dumps(value: Any, is_own: Callable[[ModuleType], bool], functions: list[FunctionType] | None = None) -> bytes:
    """``value`` as a pickle. Raises whatever says why it cannot be one.

    Args:
        value: anything.
        is_own: whether a module is the project's: its lambdas and closures are its functions in the job too.
        functions: those of them that are in the pickle are appended to it.
    """

    def override(each: Any) -> Any:
        by_module = reduction(each, is_own)
        if by_module is not None and functions is not None and type(each) is FunctionType:
            functions.append(each)
        if by_module is None:
            _refuse(each)
        return by_module

    return pickling.dumps(value, override)


def _refuse(value: Any) -> None:
    # cloudpickle would read a whole text file into the pickle, and leave the job with a copy in memory.
    if is_open_file(value):
        raise pickle.PicklingError(f"an open file ({getattr(value, 'name', 'without a name')})")
    if isinstance(value, (AINode, NodeOutput)):
        node = value if isinstance(value, AINode) else value.node
        raise pickle.PicklingError(
            f"it holds the node {node.name!r}: nodes are arguments of their own, or stand in lists, tuples and dicts "
            "of them"
        )


def is_open_file(value: Any) -> bool:
    """Whether ``value`` is a file, pipe or socket of this process; its standard streams are in every process."""
    if not isinstance(value, io.IOBase) or isinstance(value, (io.StringIO, io.BytesIO)):
        return False
    return value not in (sys.stdout, sys.stderr)


def blame(function: Any, is_own: Callable[[ModuleType], bool]) -> str:
    """Which of a function's own variables cannot be pickled, as an addition to a sentence; or nothing."""
    if not isinstance(function, FunctionType):
        return ""
    module = module_of(function)
    for name, value in _variables(function, with_globals=module is None or not is_own(module)):
        try:
            dumps(value, is_own)
        except Exception:
            return f" (its variable {name!r})"
    return ""


def _variables(function: FunctionType, with_globals: bool) -> Iterator[tuple[str, Any]]:
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    for name in code.co_names:
        if with_globals and name in function.__globals__:
            yield name, function.__globals__[name]


def modules_named(data: bytes) -> set[str]:
    """The modules that opening the pickle would import; the pickle is read, not opened."""
    return {each.module for each in named(data)}


def named(data: bytes) -> set[Named]:
    """All that opening the pickle would import."""
    names: set[Named] = set()
    strings: list[str] = []
    memo: list[str | Named | None] = []
    last: str | Named | None = None
    importing = False
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "MEMOIZE":
            memo.append(last)
            continue
        if opcode.name in ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"):
            last = str(argument)
        elif opcode.name in ("BINGET", "LONG_BINGET"):
            last = memo[int(argument or 0)]
        elif opcode.name == "STACK_GLOBAL" and len(strings) == 2:
            last = Named(*strings)
            names.add(last)
        else:
            last = None
        if isinstance(last, Named):
            # cloudpickle's subimport(name): a module object that the value refers to
            importing = last.name == "subimport"
        elif last is not None:
            if importing:
                names.add(Named(last))
                importing = False
            strings = [*strings[-1:], last]
    return names
