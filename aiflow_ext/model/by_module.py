"""Lambdas and closures pickled by value that stay functions of their module: its globals, file and lines.

They are made again with the globals of the module that the reader imports, so that all functions of a module share
them, as they did where they were written.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any


def reduction(value: Any, is_own: Callable[[ModuleType], bool]) -> tuple[Any, ...] | str | None:
    """What a pickler's ``reducer_override`` returns for a function of a module that ``is_own``.

    None for one that pickle finds by its own name, and for whatever is none of these.
    """
    if type(value) is FunctionType:
        module = module_of(value)
    elif isinstance(value, functools._lru_cache_wrapper):
        module = sys.modules.get(str(value.__module__))
    else:
        return None
    if module is None or not is_own(module) or _has_name(value):
        return None
    if name := other_name(value, module):
        return name
    if isinstance(value, functools._lru_cache_wrapper):
        return cached, (value.__wrapped__, value.cache_parameters())
    return _reduced(value, module)


def cached(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    """``function`` with a cache of its own."""
    return functools.lru_cache(**parameters)(function)


def other_name(function: Any, module: ModuleType) -> str | None:
    """The name of the module's global that ``function`` is, where it calls itself something else."""
    if isinstance(function, (FunctionType, functools._lru_cache_wrapper)):
        for name, value in vars(module).items():
            if value is function:
                return name
    return None


def module_of(function: FunctionType) -> ModuleType | None:
    """The loaded module whose globals are those of ``function``."""
    module = sys.modules.get(str(function.__globals__.get("__name__")))
    return module if module is not None and vars(module) is function.__globals__ else None


def _has_name(function: Any) -> bool:
    """Whether ``function`` is found where its module and qualified name say."""
    found: Any = sys.modules.get(str(function.__module__))
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is function


def _reduced(function: FunctionType, module: ModuleType) -> tuple[Any, ...]:
    cells = [_content(cell) for cell in function.__closure__ or ()]
    try:
        annotations = dict(function.__annotations__)
    except Exception:  # Python 3.14 evaluates them now, and a name may be missing
        from aiflow_ext.model.signature import annotations_of

        annotations = annotations_of(function, written=True)
    state = {
        "__name__": function.__name__,
        "__qualname__": function.__qualname__,
        "__module__": function.__module__,
        "__doc__": function.__doc__,
        "__defaults__": function.__defaults__,
        "__kwdefaults__": function.__kwdefaults__,
        "__annotations__": annotations,
    }
    file = function.__code__.co_filename
    made = module, None if file == getattr(module, "__file__", None) else file, function.__code__, len(cells)
    return make, made, (cells, state, dict(vars(function))), None, None, fill


def _content(cell: CellType) -> tuple[Any, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:  # not assigned yet
        return ()


def make(module: ModuleType, file: str | None, code: CodeType, cells: int) -> FunctionType:
    """A function of ``module`` with empty cells; its code is of ``file``, or of the module's own."""
    # cloudpickle drops the names of files.
    code = _of_file(code, file or getattr(module, "__file__", None) or code.co_filename)
    return FunctionType(code, vars(module), code.co_name, None, tuple(CellType() for _ in range(cells)))


def _of_file(code: CodeType, file: str) -> CodeType:
    consts = tuple(_of_file(each, file) if isinstance(each, CodeType) else each for each in code.co_consts)
    return code.replace(co_filename=file, co_consts=consts)


def fill(function: FunctionType, filling: tuple[list[tuple[Any, ...]], dict[str, Any], dict[str, Any]]) -> None:
    """Give a function from :func:`make` its variables and attributes; apart, because they may lead back to it."""
    cells, state, attributes = filling
    for cell, content in zip(function.__closure__ or (), cells, strict=True):
        if content:
            cell.cell_contents = content[0]
    for name, value in state.items():
        setattr(function, name, value)
    vars(function).update(attributes)
