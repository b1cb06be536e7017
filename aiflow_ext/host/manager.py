"""One small pluggy manager for each resolved job plugin: a call's price does not grow with what is installed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from types import FunctionType, MethodType
from typing import Any

import pluggy

from aiflow_ext.host.fit import DoesNotFit, hook_of
from aiflow_ext.host.former import former_shape
from aiflow_ext.host.specs import MANY, NINE, OPTIONAL, PROJECT, JobPluginSpec, OptionalJobPluginSpec
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
_ARGUMENTS = NINE | OPTIONAL
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
        self.add_hookspecs(OptionalJobPluginSpec)

    def add(self, hooks: Hooks, name: str) -> None:
        """Register ``hooks``: name -> (function, pluggy's options). Raises pluggy.PluginValidationError."""
        self.register(_Face(hooks), name)

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        found = plugin._hooks.get(name) if isinstance(plugin, _Face) else None
        return None if found is None else dict(found[1])


def manager_of(plugin: Any, where: str) -> tuple[PluginManager, frozenset[str], tuple[str, ...]]:
    """The manager for ``plugin``, the optional hooks that it offers, and remarks on what it seems
    to offer and does not."""
    wrong: list[str] = []
    hooks: dict[str, tuple[Callable[..., Any], Mapping[str, Any]]] = {}
    for name in _ARGUMENTS:
        mark = marker(plugin, name)
        if mark is None and name in OPTIONAL:
            continue
        method = getattr(plugin, name)
        if mark is not None and (mark.get("wrapper") or mark.get("hookwrapper")):
            wrong.append(f"{name} is marked as a wrapper; only an extension wraps")
        elif inspect.iscoroutinefunction(called(method)) or inspect.isasyncgenfunction(called(method)):
            wrong.append(f"{name} is async; hooks are plain functions")
        elif name not in MANY and inspect.isgeneratorfunction(called(method)):
            wrong.append(f"{name} yields, so that calling it runs none of it; hooks are plain functions")
        elif (former := former_shape(name, method)) is not None:
            wrong.append(former)
        else:
            try:
                hooks[name] = bindable(hook_of(plugin, name, _ARGUMENTS[name]), _ARGUMENTS[name]), _PLAIN
            except DoesNotFit as error:
                wrong.append(f"{name} {error}")
    wrong += [f"{name} is marked as a hook, but there is no such hook{near}" for name, near in unknown(plugin)]
    plain = unmarked(plugin)
    durable = [name for name in ("lookup", "attach") if name in hooks or name in plain]
    if len(durable) == 2 and (missing := [name for name in durable if name in plain]):
        wrong.append(
            f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} not marked with @aiflow_ext.hookimpl: "
            "lookup and attach make a plugin durable, and only marked methods are taken; mark them, or call them "
            "otherwise"
        )
        plain = []
    if wrong:
        raise PluginTypeError(
            f"{where}: {'; '.join(wrong)}", hint="what each hook takes: python -m pydoc aiflow_ext.host.specs"
        )
    manager = PluginManager()
    manager.add(hooks, where)
    manager.add(_defaults(), "defaults of aiflow-ext")
    offers = frozenset(name for name in OPTIONAL if name in hooks)
    return manager, offers, tuple(_remarks(plugin, offers, plain, where))


def _remarks(plugin: Any, offers: frozenset[str], plain: list[str], where: str) -> list[str]:
    """What an author may not have meant, in sentences; none of it keeps the plugin from being used."""
    found = [f"{where}: its {_shape(plugin, name)} @aiflow_ext.hookimpl, or call it otherwise" for name in plain]
    for one, other in (("lookup", "attach"), ("attach", "lookup")):
        if one in offers and other not in (*offers, *plain):
            found.append(
                f"{where}: it offers {one} and not {other}, so it is not durable and {one} is never asked: offer both"
            )
    return found


def _shape(plugin: Any, name: str) -> str:
    """What is not taken, and what to do, as the middle of a sentence."""
    if isinstance(inspect.getattr_static(plugin, name), (property, cached_property)):
        return f"property {name} is not taken as the hook of that name: make it a method that is marked with"
    return f"method {name} is not taken as the hook of that name: mark it with"


def unmarked(plugin: Any) -> list[str]:
    """Optional hooks whose name and arguments a method without a marker has, or whose name a
    property or another object has that stands for one."""
    found = []
    for name, arguments in OPTIONAL.items():
        static = inspect.getattr_static(plugin, name, None)
        function = getattr(static, "__func__", static)  # of a static or a class method
        if isinstance(function, partial):
            function = function.func
        if marker(plugin, name) is not None:
            continue
        if not inspect.isroutine(function):
            if not isinstance(function, type) and (callable(function) or hasattr(type(function), "__get__")):
                found.append(name)
            continue
        try:
            hook_of(plugin, name, arguments)
        except DoesNotFit:
            if former_shape(name, getattr(plugin, name)) is None:  # something else of that name
                continue
        found.append(name)
    return found


def called(method: Callable[..., Any]) -> Callable[..., Any]:
    """The function that calling ``method`` runs."""
    if inspect.isroutine(method) or isinstance(method, partial):
        return method
    function: Callable[..., Any] = type(method).__call__
    return function


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
    from aiflow_ext.host.specs import EXTENSION

    hooks = [*NINE, *OPTIONAL, *EXTENSION]
    found = []
    try:
        names = dir(plugin)
    except Exception:  # a __dir__ of its author's
        names = list(object.__dir__(plugin))
    for name in names:
        if name not in hooks and marker(plugin, name) is not None:
            from difflib import get_close_matches

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

    return {name: (function, _LAST) for name, function in vars(defaults).items() if name in OPTIONAL}
