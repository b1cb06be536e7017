"""Run as a script: prints the public API, an entry a line, for tests/public_api.txt (docs/compatibility.md).

An entry is a name with its arguments, as far as callers see them. Annotations are left out: how they are written
differs among Pythons. What a class has is listed once, under the public class that defines it.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import types
from collections.abc import Iterator
from typing import Any

MODULES = ("aiflow_ext", "aiflow_ext.plugin", "aiflow_ext.plugin.engines", "aiflow_ext.plugin.supervised",
           "aiflow_ext.testing")  # fmt: skip
_PLAIN = (type(None), bool, int, float, str)


def entries() -> list[str]:
    """The entries, sorted."""
    doors = [importlib.import_module(module) for module in MODULES]
    public = {f"{door.__name__}.{name}": getattr(door, name) for door in doors for name in _names(door)}
    classes = {each for each in public.values() if isinstance(each, type)}
    found = {f"{name}{_called(value)}" for name, value in public.items()}
    for each in classes:
        found.update(_members(each, classes))
    return sorted({*found, *_hooks()})


def _names(door: types.ModuleType) -> list[str]:
    """The names of a module that are public: all without an underscore, where it does not say so."""
    if hasattr(door, "__all__"):
        return list(door.__all__)
    return [name for name, each in vars(door).items() if name[0] != "_" and not isinstance(each, types.ModuleType)]


def _hooks() -> Iterator[str]:
    from aiflow_ext.host import specs

    for spec in (specs.JobPluginSpec, specs.OptionalJobPluginSpec, specs.ExtensionSpec):
        for name, hook in vars(spec).items():
            if not name.startswith("_"):
                yield f"hook {spec.__name__}.{name}{_arguments(hook)}"


def _called(value: Any) -> str:
    """The arguments that it is called with; none of a class that makes nothing of its own, and of a constant."""
    if isinstance(value, type):
        made = any({"__init__", "__new__"} & vars(each).keys() for each in _homes(value))
        return _arguments(value) if made and not issubclass(value, enum.Enum) else ""
    return _arguments(value) if callable(value) else ""


def _members(cls: type, public: set[type]) -> Iterator[str]:
    for home in _homes(cls):
        if cls.__module__.startswith("aiflow_ext.testing") and home is not cls and home.__name__ != "Conformance":
            continue  # tests and their helpers are the kit's own
        owner = home if home in public else cls
        for name in {*vars(home), *getattr(home, "__members__", ())}:
            if not name.startswith(("_", "test_")):
                yield f"{owner.__name__}.{name}{_member(inspect.getattr_static(home, name))}"


def _homes(cls: type) -> list[type]:
    """The classes of aiflow-ext that a class consists of."""
    return [each for each in cls.__mro__ if each.__module__.startswith("aiflow_ext")]


def _member(value: Any) -> str:
    value = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
    return _arguments(value) if inspect.isfunction(value) else ""


def _arguments(value: Any) -> str:
    """``(a, b=None, *, c=...)``; ``...`` stands for a default that is not plain."""
    parameters = inspect.signature(value).parameters.values()
    plain = [
        each.replace(annotation=each.empty,
                     default=each.default if each.default is each.empty or type(each.default) in _PLAIN else ...)
        for each in parameters
    ]  # fmt: skip
    return str(inspect.Signature(plain)).replace("Ellipsis", "...")


if __name__ == "__main__":
    print("\n".join(entries()))
