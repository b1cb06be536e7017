"""Values pickled for a job, and what their pickles would import. Nothing is ever opened here."""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Iterator
from typing import Any, NamedTuple

from aiflow_ext.model import pickling
from aiflow_ext.model.graph import AINode, NodeOutput


def dumps(value: Any) -> bytes:
    """``value`` as a pickle: code of the workflow's own by value. Raises whatever says why it cannot be one."""
    return pickling.dumps(value, _refuse)


def _refuse(value: Any) -> None:
    # cloudpickle would read a whole text file into the pickle, and leave the job with a copy in memory.
    if isinstance(value, io.IOBase) and not isinstance(value, (io.StringIO, io.BytesIO)) and not _is_standard(value):
        raise pickle.PicklingError(f"an open file ({getattr(value, 'name', 'without a name')})")
    if isinstance(value, (AINode, NodeOutput)):
        node = value if isinstance(value, AINode) else value.node
        raise pickle.PicklingError(
            f"it holds the node {node.name!r}: nodes are arguments of their own, or stand in lists, tuples and dicts "
            "of them"
        )


def _is_standard(file: Any) -> bool:
    import sys

    return file in (sys.stdout, sys.stderr)


def blame(function: Any) -> str:
    """Which of a function's own variables cannot be pickled, as an addition to a sentence; or nothing."""
    code = getattr(function, "__code__", None)
    if code is None:
        return ""
    for name, value in _variables(function, code):
        try:
            dumps(value)
        except Exception:
            return f" (its variable {name!r})"
    return ""


def _variables(function: Any, code: Any) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    for name in code.co_names:
        if name in function.__globals__:
            yield name, function.__globals__[name]


class _Global(NamedTuple):
    module: str
    name: str


def modules_named(data: bytes) -> set[str]:
    """The modules that opening the pickle would import; the pickle is read, not opened."""
    names: set[str] = set()
    strings: list[str] = []
    memo: list[str | _Global | None] = []
    last: str | _Global | None = None
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
            last = _Global(*strings)
            names.add(last.module)
        else:
            last = None
        if isinstance(last, _Global):
            # cloudpickle's subimport(name): a module object that the value refers to
            importing = last.name == "subimport"
        elif last is not None:
            if importing:
                names.add(last)
                importing = False
            strings = [*strings[-1:], last]
    return names
