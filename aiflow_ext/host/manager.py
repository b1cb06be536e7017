"""One small pluggy manager for each resolved job plugin: a call's price does not grow with what is installed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import FunctionType, MethodType
from typing import Any

import pluggy

from aiflow_ext.host.fit import DoesNotFit, fit
from aiflow_ext.host.specs import NINE, PROJECT, SECOND, JobPluginSpec, SecondSpec
from aiflow_ext.model.errors import PluginTypeError

_PLAIN: dict[str, Any] = {
    "wrapper": False,
    "hookwrapper": False,
    "optionalhook": False,
    "tryfirst": False,
    "trylast": False,
    "specname": None,
}
_LAST: dict[str, Any] = {**_PLAIN, "trylast": True}
_ARGUMENTS = NINE | SECOND
Hooks = Mapping[str, tuple[Callable[..., Any], Mapping[str, Any]]]


class _Face:
    """What is registered in place of the author's object: only the hooks, as attributes.

    pluggy would look at every attribute of the object itself, and run its properties.
    """

    def __init__(self, hooks: Hooks) -> None:
        for name, (function, _) in hooks.items():
            setattr(self, name, function)
        self._hooks = hooks


class PluginManager(pluggy.PluginManager):
    """The manager of one job plugin; what it calls has been checked and fitted before."""

    def __init__(self) -> None:
        super().__init__(PROJECT)
        self.add_hookspecs(JobPluginSpec)
        self.add_hookspecs(SecondSpec)

    def add(self, hooks: Hooks, name: str) -> None:
        """Register ``hooks``: name -> (function, pluggy's options). Raises pluggy.PluginValidationError."""
        self.register(_Face(hooks), name)

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        found = plugin._hooks.get(name) if isinstance(plugin, _Face) else None
        return None if found is None else dict(found[1])


def manager_of(plugin: Any, where: str) -> tuple[PluginManager, frozenset[str]]:
    """The manager for ``plugin``, and the hooks of the second specification that it offers."""
    wrong: list[str] = []
    hooks: dict[str, tuple[Callable[..., Any], Mapping[str, Any]]] = {}
    for name in _ARGUMENTS:
        mark = marker(plugin, name)
        if mark is None and name in SECOND:
            continue
        method = getattr(plugin, name)
        if mark is not None and (mark.get("wrapper") or mark.get("hookwrapper")):
            wrong.append(f"{name} is marked as a wrapper; only an extension wraps")
        elif inspect.iscoroutinefunction(method):
            wrong.append(f"{name} is async; hooks are plain functions")
        else:
            try:
                hooks[name] = bindable(fit(method, _ARGUMENTS[name]), _ARGUMENTS[name]), _PLAIN
            except DoesNotFit as error:
                wrong.append(f"{name} {error}")
    wrong += [f"{name} is marked as a hook, but there is no such hook{near}" for name, near in unknown(plugin)]
    if wrong:
        raise PluginTypeError(
            f"{where}: {'; '.join(wrong)}", hint="what each hook takes: python -m pydoc aiflow_ext.host.specs"
        )
    manager = PluginManager()
    manager.add(hooks, where)
    manager.add(_defaults(), "defaults of aiflow-ext")
    return manager, frozenset(name for name in SECOND if name in hooks)


def marker(plugin: Any, name: str) -> dict[str, Any] | None:
    """The options of ``@hookimpl`` on an attribute, looked up without running a property; None: not marked."""
    static = inspect.getattr_static(plugin, name, None)
    for holder in (static, getattr(static, "__func__", None)):
        mark = getattr(holder, f"{PROJECT}_impl", None)
        if isinstance(mark, dict):
            return mark
    return None


def unknown(plugin: Any) -> list[tuple[str, str]]:
    """(name, near hooks in words) of what is marked as a hook and is none."""
    from difflib import get_close_matches

    from aiflow_ext.host.specs import EXTENSION

    hooks = [*NINE, *SECOND, *EXTENSION]
    found = []
    for name in dir(plugin):
        if name not in hooks and marker(plugin, name) is not None:
            near = get_close_matches(name, hooks, 2)
            found.append((name, f"; did you mean {' or '.join(near)}?" if near else ""))
    return found


def bindable(function: Callable[..., Any], arguments: tuple[str, ...]) -> Callable[..., Any]:
    """``function`` as something that every pluggy takes from an object's attribute."""
    if isinstance(function, (FunctionType, MethodType)):
        return function
    names = ", ".join(arguments)
    wrapped: Callable[..., Any] = eval(f"lambda {names}: _call({names})", {"_call": function})
    return wrapped


def _defaults() -> Hooks:
    from aiflow_ext.host import defaults

    return {name: (getattr(defaults, name), _LAST) for name in ("allocate_id", "lookup", "check_platform")}
