"""The extensions of a run, checked: their hooks, and the wrappers that they put around the nine."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from aiflow_ext.host.fit import DoesNotFit, hook_of, refuse_awaitable
from aiflow_ext.host.guard import guarded, unending
from aiflow_ext.host.loading import create, describe, load, raised_at, shown
from aiflow_ext.host.manager import Hooks, called, marker, unknown
from aiflow_ext.host.records import PluginRecord
from aiflow_ext.host.specs import EXTENSION, NINE, OPTIONAL
from aiflow_ext.model.errors import (
    PluginConflictError,
    PluginDisabledError,
    PluginError,
    PluginIncompatibleError,
    PluginNotInstalledError,
    PluginTypeError,
    Problem,
)
from aiflow_ext.model.signature import signature

log = logging.getLogger("aiflow_ext.host")
_HINT = "mark each hook with @aiflow_ext.hookimpl; python -m pydoc aiflow_ext.host.specs.ExtensionSpec tells which"
_PROJECT = "project.yaml requires an extension (extensions.require)"
_MEANT = 0.88  # of difflib: on_transitions is meant as on_transition, a helper called should_retry_job as nothing
# Exceptions by which a hook's author says nothing to anybody.
_REFUSALS: dict[str, type[PluginError]] = {
    "incompatible": PluginIncompatibleError,
    "conflicted": PluginConflictError,
    "disabled": PluginDisabledError,
}


class Hook(NamedTuple):
    """A hook of an extension.

    Attributes:
        name: the hook's: ``before_submit``, ``on_transition`` or ``should_retry``.
        extension: the extension's name.
        where: the extension for a sentence, with its distribution and version.
        function: what is called, with the hook's arguments by position.
    """

    name: str
    extension: str
    where: str
    function: Callable[..., Any]


class _Extension:
    """One loaded extension: its own hooks, and its wrappers."""

    def __init__(self, record: PluginRecord) -> None:
        self.record, self.where = record, describe(record)
        self.hooks: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {}
        self.wrappers: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {}
        made = create(load(record), self.where)
        wrong = [f"{name} is marked as a hook, but there is no such hook{near}" for name, near in unknown(made)]
        for name in (*NINE, *OPTIONAL, *EXTENSION):
            mark = marker(made, name)
            if mark is not None:
                reason = self._take(made, name, mark)
                wrong += [f"{name} {reason}"] if reason else []
        wrong += _unmarked(made)
        if not (wrong or self.hooks or self.wrappers):
            wrong = ["it marks no hook"]
        if wrong:
            raise PluginTypeError(f"{self.where}: {'; '.join(wrong)}", hint=_HINT)

    def _take(self, made: Any, name: str, mark: dict[str, Any]) -> str:
        """Note one marked hook; returns why it is refused, or ''."""
        method = getattr(made, name)
        wraps = bool(mark.get("wrapper") or mark.get("hookwrapper"))
        if name in OPTIONAL:
            return "is a job plugin's alone; an extension can neither implement nor wrap it"
        if name in NINE:
            if not wraps:
                return "is one of the nine: an extension may only wrap it, with @aiflow_ext.hookimpl(wrapper=True)"
            if mark.get("wrapper") and mark.get("hookwrapper"):
                return "is marked both wrapper and hookwrapper"
            if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
                return "is async; a wrapper is a plain generator function with one yield"
            if not inspect.isgeneratorfunction(method):
                return "is marked as a wrapper and must be a generator function with one yield"
            extra = [item for item in signature(method).parameters if item not in NINE[name]]
            if extra:
                return f"wants an argument {extra[0]!r}; the hook gives {', '.join(NINE[name]) or 'none'}"
            self.wrappers[name] = method, {**mark, "specname": None}
            return ""
        if wraps:
            return "cannot be wrapped"
        if inspect.iscoroutinefunction(called(method)) or inspect.isasyncgenfunction(called(method)):
            return "is async; hooks are plain functions, called in a thread of their own"
        if inspect.isgeneratorfunction(called(method)):
            return "yields, so that calling it runs none of it; only a wrapper of the nine yields"
        try:
            self.hooks[name] = hook_of(made, name, EXTENSION[name]), mark
        except DoesNotFit as error:
            return str(error)
        return ""


def _unmarked(extension: Any) -> list[str]:
    """Methods without the marker that must have been meant as hooks; without it none of them would ever be called."""
    found = []
    own = getattr(extension, "__name__", None) if inspect.ismodule(extension) else None
    for name in dir(extension):
        if name.startswith("_") or marker(extension, name) is not None:
            continue
        method = inspect.getattr_static(extension, name)
        method = getattr(method, "__func__", method)  # of a static or a class method
        if isinstance(method, functools.partial):
            method = method.func
        if name in EXTENSION and (callable(method) or hasattr(type(method), "__get__")):
            found.append(f"{name} is not marked with @aiflow_ext.hookimpl")
        elif not inspect.isroutine(method):
            continue
        elif name in NINE:
            if inspect.isgeneratorfunction(method):
                found.append(f"{name} is not marked with @aiflow_ext.hookimpl(wrapper=True)")
        elif own in (None, getattr(method, "__module__", None)):
            from difflib import get_close_matches

            near = get_close_matches(name, EXTENSION, 1, _MEANT)
            found += [f"there is no hook {name}; did you mean {near[0]}? It is not marked either"] if near else []
    return found


def made(record: PluginRecord) -> tuple[_Extension, list[str]]:
    """The extension that ``record`` advertises, imported and checked, and what that has damaged. Raises PluginError."""
    return guarded(describe(record), functools.partial(_made, record))


def _made(record: PluginRecord) -> _Extension:
    try:
        return _Extension(record)
    except (PluginError, KeyboardInterrupt):
        raise
    except BaseException as error:  # its own __dir__ or __getattr__, for example
        raise PluginTypeError(f"{describe(record)}: looking for its hooks raised {shown(error)}", hint=_HINT) from error


class Extensions:
    """The loaded extensions, in the order of their names (``tryfirst`` before, ``trylast`` after the others).

    Attributes:
        records: a record for each advertised extension, the broken and the refused included.
        wrappers: (name for messages, hooks) of each extension that wraps any of the nine.

    Args:
        records: a record of each advertised extension.
        required: names of extensions without which nothing runs. Where one cannot be had a PluginError is raised, of
            the kind that says why; any other extension that cannot be had is logged and left out.
        why: who requires them, as the beginning of that error.
    """

    def __init__(self, records: Sequence[PluginRecord], required: Sequence[str] = (), why: str = _PROJECT) -> None:
        loaded: list[_Extension] = []
        found: list[PluginRecord] = []
        missing = _missing(records, required)
        for record in records:
            if record.status != "available":
                found.append(record)
                if record.status != "disabled" and record.name not in required:
                    log.warning("%s is left out: it is %s: %s", describe(record), record.status, record.reason)
                continue
            try:
                extension, damage = made(record)
                loaded.append(extension)
                for each in damage:
                    log.warning("importing %s %s, for all of this process", extension.where, each)
                found.append(record.replace("loaded"))
            except PluginError as error:
                if record.name in required:
                    missing.append(error)
                else:
                    log.warning("an extension is left out, and the run goes on without it: %s", error)
                found.append(record.replace("broken", error.message, shown(error.__cause__ or error)))
        self.records = tuple(found)
        if missing:
            raise _needed(missing, why)
        self.wrappers: tuple[tuple[str, Hooks], ...] = tuple(
            (extension.where, extension.wrappers) for extension in loaded if extension.wrappers
        )
        self._hooks = {name: _in_order(name, loaded) for name in EXTENSION}

    def hooks(self, name: str) -> tuple[Hook, ...]:
        """The hooks of this name, in the order in which they are called."""
        return self._hooks[name]


def call(hook: Hook, *arguments: Any) -> Any:
    """What a hook returns.

    Raises what it raises, guard.Ended where it would have ended this process, and TypeError where it returns what would
    have to be awaited.
    """
    answer = unending(hook.function, *arguments)
    refuse_awaitable(hook.name, answer)
    return answer


def words_of(error: BaseException) -> str:
    """An exception that a hook raised, in one line; with its place where it looks like a mistake of the hook's."""
    return shown(error) + raised_at(error)


def check_required(records: Sequence[PluginRecord], required: Sequence[str]) -> None:
    """Raise a PluginError for required extensions that ``records`` show cannot be had. Imports none of them."""
    missing = _missing(records, required)
    if missing:
        raise _needed(missing, _PROJECT)


def _missing(records: Sequence[PluginRecord], required: Sequence[str]) -> list[PluginError]:
    missing: list[PluginError] = []
    for name in dict.fromkeys(required):
        named = [record for record in records if record.name == name]
        if not named:
            known = sorted({record.name for record in records})
            from difflib import get_close_matches

            near = get_close_matches(name, known, 3, 0.6)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else (
                f"pip install the distribution that provides it, or correct the name (installed: {', '.join(known)})"
                if known else "pip install the distribution that provides it, or correct the name"
            )  # fmt: skip
            missing.append(PluginNotInstalledError(f"the extension {name!r} is not installed", hint=hint))
        elif not any(record.status == "available" for record in named):
            kind = _REFUSALS.get(named[0].status, PluginError)
            missing.append(kind(f"{describe(named[0])} is {named[0].status}: {named[0].reason}"))
    return missing


def _needed(missing: Sequence[PluginError], why: str) -> PluginError:
    """One error for all required extensions that cannot be had."""
    problems = [
        Problem(f"{why}: {each.message}", each.where, each.hint) for error in missing for each in error.problems
    ]
    found = type(missing[0])(problems=problems)
    found.__cause__ = missing[0].__cause__ or missing[0]
    return found


def _in_order(name: str, extensions: list[_Extension]) -> tuple[Hook, ...]:
    having = [extension for extension in extensions if name in extension.hooks]

    def rank(extension: _Extension) -> tuple[bool, bool]:
        mark = extension.hooks[name][1]
        return not mark.get("tryfirst"), bool(mark.get("trylast"))

    return tuple(
        Hook(name, extension.record.name, extension.where, extension.hooks[name][0])
        for extension in sorted(having, key=rank)
    )
