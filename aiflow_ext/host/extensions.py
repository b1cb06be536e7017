"""The extensions of a run: what they are told and asked, and the wrappers that they put around the nine."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any

from aiflow_ext.host.fit import DoesNotFit, fit
from aiflow_ext.host.loading import create_extension, describe, load, shown
from aiflow_ext.host.manager import Hooks, marker, unknown
from aiflow_ext.host.records import PluginRecord
from aiflow_ext.host.specs import EXTENSION, NINE, SECOND
from aiflow_ext.model.errors import PluginError, PluginTypeError

log = logging.getLogger("aiflow_ext.host")
_HINT = "mark each hook with @aiflow_ext.hookimpl; python -m pydoc aiflow_ext.host.specs.ExtensionSpec tells which"


class _Extension:
    """One loaded extension: its own hooks, and its wrappers."""

    def __init__(self, record: PluginRecord) -> None:
        self.record, self.where = record, describe(record)
        self.hooks: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {}
        self.wrappers: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {}
        made = create_extension(load(record), self.where)
        wrong = [f"{name} is marked as a hook, but there is no such hook{near}" for name, near in unknown(made)]
        for name in (*NINE, *SECOND, *EXTENSION):
            mark = marker(made, name)
            if mark is not None:
                reason = self._take(name, getattr(made, name), mark)
                wrong += [f"{name} {reason}"] if reason else []
        if not (wrong or self.hooks or self.wrappers):
            plain = [name for name in (*EXTENSION, *NINE) if callable(getattr(made, name, None))]
            wrong = [f"it marks no hook (unmarked are {', '.join(plain)})" if plain else "it marks no hook"]
        if wrong:
            raise PluginTypeError(f"{self.where}: {'; '.join(wrong)}", hint=_HINT)

    def _take(self, name: str, method: Callable[..., Any], mark: dict[str, Any]) -> str:
        """Note one marked hook; returns why it is refused, or ''."""
        wraps = bool(mark.get("wrapper") or mark.get("hookwrapper"))
        if name in SECOND:
            return "is a job plugin's alone; an extension can neither implement nor wrap it"
        if name in NINE:
            if not wraps:
                return "is one of the nine: an extension may only wrap it, with @aiflow_ext.hookimpl(wrapper=True)"
            if mark.get("wrapper") and mark.get("hookwrapper"):
                return "is marked both wrapper and hookwrapper"
            if not inspect.isgeneratorfunction(method):
                return "is marked as a wrapper and must be a generator function with one yield"
            extra = [item for item in inspect.signature(method).parameters if item not in NINE[name]]
            if extra:
                return f"wants an argument {extra[0]!r}; the hook gives {', '.join(NINE[name]) or 'none'}"
            self.wrappers[name] = method, {**mark, "specname": None}
            return ""
        if wraps:
            return "cannot be wrapped"
        try:
            self.hooks[name] = fit(method, EXTENSION[name]), mark
        except DoesNotFit as error:
            return str(error)
        return ""


class Extensions:
    """The loaded extensions, in the order of their names (``tryfirst`` before, ``trylast`` after the others).

    Attributes:
        records: a record for each advertised extension, the broken and the refused included.
        wrappers: (name for messages, hooks) of each extension that wraps any of the nine.
    """

    def __init__(self, records: Sequence[PluginRecord]) -> None:
        loaded: list[_Extension] = []
        found: list[PluginRecord] = []
        for record in records:
            if record.status != "available":
                found.append(record)
                if record.status != "disabled":
                    log.warning("%s is left out: it is %s: %s", describe(record), record.status, record.reason)
                continue
            try:
                loaded.append(_Extension(record))
                found.append(record.replace("loaded"))
            except PluginError as error:
                log.warning("an extension is left out: %s", error)
                found.append(record.replace("broken", error.message, shown(error.__cause__ or error)))
        self.records = tuple(found)
        self.wrappers: tuple[tuple[str, Hooks], ...] = tuple(
            (extension.where, extension.wrappers) for extension in loaded if extension.wrappers
        )
        self._calls = {name: _in_order(name, loaded) for name in EXTENSION}

    def before_submit(self, job: Any) -> None:
        """Ask every extension; the first that refuses ``job`` ends it with a PluginError that names it."""
        for where, call in self._calls["before_submit"]:
            try:
                call(job)
            except (Exception, SystemExit) as error:
                raise PluginError(f"{where} refuses the job: {shown(error)}", hint=_ask(error)) from error

    @property
    def listening(self) -> bool:
        """Whether anybody wants to be told of transitions."""
        return bool(self._calls["on_transition"])

    def on_transition(self, event: Any) -> list[tuple[str, BaseException]]:
        """Tell every extension; an error is logged and returned with the extension it came from, never raised."""
        errors: list[tuple[str, BaseException]] = []
        for where, call in self._calls["on_transition"]:
            try:
                call(event)
            except (Exception, SystemExit) as error:
                log.warning("%s: on_transition raised %s", where, shown(error), exc_info=error)
                errors.append((where, error))
        return errors

    def should_retry(self, attempt: Any, outcome: Any) -> float | None:
        """The delay in seconds that the first extension with an opinion gives; None: no extension has one."""
        for where, call in self._calls["should_retry"]:
            try:
                delay = call(attempt, outcome)
            except (Exception, SystemExit) as error:
                log.warning("%s: should_retry raised %s", where, shown(error), exc_info=error)
                continue
            if delay is None:
                continue
            if isinstance(delay, (int, float)) and not isinstance(delay, bool) and 0 <= delay < float("inf"):
                return float(delay)
            log.warning("%s: should_retry returned %r, which is no number of seconds", where, delay)
        return None


def _in_order(name: str, extensions: list[_Extension]) -> list[tuple[str, Callable[..., Any]]]:
    having = [extension for extension in extensions if name in extension.hooks]

    def rank(extension: _Extension) -> tuple[bool, bool]:
        mark = extension.hooks[name][1]
        return not mark.get("tryfirst"), bool(mark.get("trylast"))

    return [(extension.where, extension.hooks[name][0]) for extension in sorted(having, key=rank)]


def _ask(error: BaseException) -> str | None:
    problems = getattr(error, "problems", None)
    return problems[0].hint if problems else None
