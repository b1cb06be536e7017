"""From an advertised entry point to the author's object: import, attribute, creation; each failure by its own name."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from pathlib import PurePath
from typing import Any

from aiflow_ext.host.guard import Ended
from aiflow_ext.host.metadata import split_value
from aiflow_ext.host.records import IN_PROCESS, PluginRecord, provider
from aiflow_ext.host.specs import NINE
from aiflow_ext.model.errors import (
    PluginAttributeError,
    PluginDependencyError,
    PluginError,
    PluginImportError,
    PluginTypeError,
    text_of,
)


def describe(record: PluginRecord) -> str:
    """The plugin for a sentence: kind, name, distribution and version, entry point."""
    kind = record.kind.replace("_", " ")
    return f"{kind} {record.name!r} of {provider(record)} ({record.entry_point})"


def load(record: PluginRecord) -> Any:
    """Import what ``record`` advertises and return the attribute; only KeyboardInterrupt passes unclassified."""
    where = describe(record)
    module_name, attribute = split_value(record.entry_point)
    try:
        found: Any = _import(module_name)
        for part in filter(None, attribute.split(".")):
            try:
                found = getattr(found, part)
            except AttributeError as error:
                raise _no_attribute(where, record, found, part) from error
    except (KeyboardInterrupt, PluginAttributeError):
        raise
    except ModuleNotFoundError as error:
        raise not_found(where, record, error) from error
    except BaseException as error:  # SystemExit too: a plugin must not end its host by being imported
        raise PluginImportError(
            f"{where} cannot be imported: {shown(error)}{raised_at(error)}",
            hint=_reinstall(record, "report it to its authors, or"),
        ) from error
    return found


def make(found: Any, where: str) -> Any:
    """The plugin object that an entry point leads to: an object, a class, or a factory without arguments."""
    offered = [name for name in NINE if callable(getattr(found, name, None))]
    if isinstance(found, type):
        missing = [name for name in NINE if name not in offered or name in _abstract(found)]
        if missing and (_abstract(found) or not offered):
            raise _lacking(where, found, missing)
        made = _create(found, where)
    elif not offered and callable(found):
        made = _create(found, where)
        if isinstance(made, type):
            return make(made, where)
    else:
        made = found
    missing = [name for name in NINE if not callable(getattr(made, name, None))]
    if missing:
        raise _lacking(where, made, missing)
    return made


def create(found: Any, where: str) -> Any:
    """The extension or source of secrets that an entry point leads to: an object, a class, or a factory."""
    if isinstance(found, type) or inspect.isroutine(found):
        return _create(found, where)
    return found


def shown(error: BaseException) -> str:
    """An exception in one line."""
    text = text_of(error).strip().partition("\n")[0]
    if isinstance(error, Ended):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def raised_at(error: BaseException) -> str:
    """Where an exception that looks like a mistake in the code was raised, as the end of a sentence; else nothing."""
    return raised_in(error) if isinstance(error, _MISTAKES) else ""


def raised_in(error: BaseException) -> str:
    """The author's innermost line that led to an exception, as the end of a sentence; nothing where there is none."""
    trace = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in trace if not frame.filename.startswith(("<frozen ", _OURS))]
    return f" (raised in {PurePath(theirs[-1].filename).name}:{theirs[-1].lineno})" if theirs else ""


_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_MISTAKES = (AttributeError, NameError, TypeError, LookupError, AssertionError, ArithmeticError, ImportError)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Installed a moment ago, this process may still remember the folder as it was before.
        importlib.invalidate_caches()
        if error.name is None or importlib.util.find_spec(error.name.partition(".")[0]) is None:
            raise
        return importlib.import_module(name)


def _is_part_of(advertised: str, missing: str | None) -> bool:
    return missing is not None and (advertised == missing or advertised.startswith(f"{missing}."))


def not_found(where: str, record: PluginRecord, error: ModuleNotFoundError) -> PluginError:
    """The error of a plugin whose code, as it is imported or called, needs a module that is not there.

    Args:
        where: which plugin, for the sentence's beginning.
        record: its record.
        error: what was raised.
    """
    module = split_value(record.entry_point)[0]
    if _is_part_of(module, error.name):
        return PluginImportError(f"{where} advertises the module {module!r}, which is not there: {error}",
                                 hint=_reinstall(record))  # fmt: skip
    if error.name is None:
        return PluginDependencyError(f"{where} lacks something that it needs: {error}", hint=_reinstall(record))
    top = error.name.partition(".")[0]
    if top == module.partition(".")[0]:
        return PluginDependencyError(f"{where} lacks a module of its own, {error.name!r}", hint=_reinstall(record))
    if top in sys.modules:
        what = f"needs the module {error.name!r}, which the installed {top!r} does not have"
        return PluginDependencyError(f"{where} {what}", hint=f"pip install --upgrade {top.replace('_', '-')}")
    hint = f"pip install {top}"
    if record.distribution != IN_PROCESS:
        hint += f"  (or, for all that it requires: pip install {record.distribution})"
    return PluginDependencyError(f"{where} needs the module {error.name!r}, which is not installed", hint=hint)


def _no_attribute(where: str, record: PluginRecord, holder: Any, name: str) -> PluginAttributeError:
    from difflib import get_close_matches

    near = get_close_matches(name, [item for item in dir(holder) if not item.startswith("_")], 3)
    what = f"{holder.__name__!r}" if hasattr(holder, "__name__") else repr(holder)
    meant = f"it has {' and '.join(map(repr, near))}; " if near else ""
    return PluginAttributeError(f"{where}: {what} has no attribute {name!r}", hint=meant + _reinstall(record))


def _reinstall(record: PluginRecord, first: str = "") -> str:
    if record.distribution == IN_PROCESS:
        return "correct what was registered"
    return f"{first} install another version: pip install --force-reinstall {record.distribution}".strip()


def _abstract(cls: type[Any]) -> frozenset[str]:
    return frozenset(getattr(cls, "__abstractmethods__", ()))


def _create(factory: Any, where: str) -> Any:
    try:
        return factory()
    except KeyboardInterrupt:
        raise
    except TypeError as error:
        # One frame deep means that the call itself failed, before any of the author's code ran.
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            raise PluginTypeError(
                f"{where} cannot be created without arguments: {error}",
                hint="a job plugin's class, or a factory of one, is called without arguments",
            ) from error
        raise PluginImportError(f"{where}: creating it raised {shown(error)}{raised_at(error)}", hint=_ASK) from error
    except BaseException as error:
        raise PluginImportError(f"{where}: creating it raised {shown(error)}{raised_at(error)}", hint=_ASK) from error


_ASK = "the exception above is the plugin's own; correct what it asks for, or install another version of it"


def _lacking(where: str, found: Any, missing: list[str]) -> PluginTypeError:
    from difflib import get_close_matches

    from aiflow_ext.model.plugin import AbstractEngine, AbstractPlatform

    cls = found if isinstance(found, type) else type(found)
    what = "is no job plugin"
    for base, word in ((AbstractPlatform, "a platform"), (AbstractEngine, "an engine")):
        if issubclass(cls, base):
            what = f"is {word}, not a job plugin"
    if len(missing) < len(NINE) - 1:
        what = "is not a whole job plugin"
    hint = "a job plugin has nine methods; aiflow_ext.AbstractJobPlugin names them"
    others = [name for name in dir(cls) if name not in NINE and not name.startswith("_")]
    meant = [(near[0], name) for name in missing if (near := get_close_matches(name, others, 1, 0.8))]
    if meant:
        hint = " ".join([*(f"is {other!r} meant to be {name!r}?" for other, name in meant), hint])
    return PluginTypeError(
        f"{where} {what}: {cls.__qualname__} lacks the method{'s' * (len(missing) > 1)} {', '.join(missing)}",
        hint=hint,
    )
