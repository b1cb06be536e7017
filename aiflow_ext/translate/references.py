"""What code of workflow.py refers to, so that what its job will lack is named beforehand."""

from __future__ import annotations

import dis
import functools
from collections.abc import Iterable
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

_CONTAINERS = (list, dict, set)
_noted: WeakKeyDictionary[ModuleType, dict[str, tuple[Any, Any]]] = WeakKeyDictionary()


def note_globals(module: ModuleType) -> None:
    """Note the globals of a module that has just been imported; see :func:`changed_globals`."""
    _noted[module] = {name: (value, _copy(value)) for name, value in vars(module).items()}


def changed_globals(module: ModuleType, names: Iterable[str]) -> list[str]:
    """Which of these globals are not what they were when the module had been imported."""
    before = _noted.get(module, {})
    return [name for name in names if name in before and _differs(before[name], vars(module).get(name))]


def _copy(value: Any) -> Any:
    return list(value.items() if type(value) is dict else value) if type(value) in _CONTAINERS else None


def _differs(noted: tuple[Any, Any], now: Any) -> bool:
    value, content = noted
    if now is not value:
        return True
    if type(value) not in _CONTAINERS:
        return False
    after = _copy(now)
    if type(value) is dict:
        content, after = [part for item in content for part in item], [part for item in after for part in item]
    return len(content) != len(after) or any(a is not b for a, b in zip(content, after, strict=True))


class Named(NamedTuple):
    """Something that a pickle names: ``name`` of a module; without a name the module itself."""

    module: str
    name: str | None = None


class Reach(NamedTuple):
    """What code uses: modules by name, and the globals of its own module that it reads."""

    modules: frozenset[str] = frozenset()
    globals: frozenset[str] = frozenset()

    def __or__(self, other: tuple[Any, ...]) -> Reach:
        return Reach(self.modules | other[0], self.globals | other[1])


class References:
    """What functions and classes of a module refer to, through all of the module's own that they reach.

    Args:
        module: a module that has been imported.
    """

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self._known: dict[str, Reach] = {}

    def of_global(self, name: str) -> Reach:
        """What the module's global of this name reaches; ``name`` may be a qualified one."""
        if name not in self._known:
            found: Any = self.module
            for part in name.split("."):
                found = getattr(found, part, None)
            self._known[name] = self._walked([found])
        return self._known[name]

    def of_function(self, function: FunctionType) -> Reach:
        """What a function without a name reaches."""
        reach = self._walked(_worth_following(function))
        if function.__globals__ is vars(self.module):
            names = _names(function.__code__) & vars(self.module).keys()
            reach |= Reach(globals=frozenset(names))
            for name in names:
                reach |= self.of_global(name)
        return reach

    def _walked(self, values: Iterable[Any]) -> Reach:
        modules, names, waiting = set[str](), set[str](), list(values)
        seen: dict[int, Any] = {}  # with the object, so that an id stays that of one
        while waiting:
            each = waiting.pop()
            if id(each) in seen:
                continue
            seen[id(each)] = each
            if isinstance(each, ModuleType):
                modules.add(each.__name__)
            elif isinstance(each, FunctionType) and each.__globals__ is vars(self.module):
                read = _names(each.__code__) & vars(self.module).keys()
                names |= read
                waiting += [vars(self.module)[name] for name in read]
                waiting += _worth_following(each)
            elif isinstance(each, type) and each.__module__ == self.module.__name__:
                waiting += [*each.__bases__, *vars(each).values()]
            elif isinstance(each, (staticmethod, classmethod, MethodType)):
                waiting.append(each.__func__)
            elif isinstance(each, property):
                waiting += [each.fget, each.fset, each.fdel]
            elif isinstance(each, functools._lru_cache_wrapper):
                waiting.append(each.__wrapped__)
            elif isinstance(each, functools.partial):
                waiting.append(each.func)
            elif callable(each) and isinstance(home := getattr(each, "__module__", None), str):
                modules.add(home)
        return Reach(frozenset(modules - {self.module.__name__}), frozenset(names))


@functools.lru_cache(4096)
def _names(code: CodeType) -> frozenset[str]:
    """The globals that code reads, that of the functions in it included."""
    loads = (each for each in dis.get_instructions(code) if each.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
    inner = (_names(const) for const in code.co_consts if isinstance(const, CodeType))
    return frozenset(each.argval for each in loads).union(*inner)


def _worth_following(function: FunctionType) -> list[Any]:
    """What a closure holds and may lead further."""
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # not assigned yet
            continue
    return [each for each in found if callable(each) or isinstance(each, ModuleType)]
