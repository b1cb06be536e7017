"""Fits an author's method to its hook: arguments called otherwise are passed by position, or named in an error."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from types import FunctionType, GeneratorType, MethodType
from typing import Any

from aiflow_ext.model.signature import signature


class DoesNotFit(Exception):
    """Why a method cannot take the hook's arguments, as the end of a sentence."""


def hook_of(owner: Any, name: str, arguments: Sequence[str]) -> Callable[..., Any]:
    """The method ``name`` of an author's object, fitted to the hook's arguments. Raises DoesNotFit."""
    method = inspect.getattr_static(owner, name, None)
    if not isinstance(method, partial) or name in getattr(owner, "__dict__", ()):
        return fit(getattr(owner, name), arguments)
    # Python binds a partial in a class body to the object from 3.14 on, and did not before. What it takes tells which
    # of the two is meant, so that every Python reads it alike.
    try:
        return fit(method, arguments)
    except DoesNotFit:
        try:
            return fit(MethodType(method, owner), arguments)
        except DoesNotFit:
            pass
        raise


def fit(method: Callable[..., Any], arguments: Sequence[str]) -> Callable[..., Any]:
    """A function with exactly (or some of) the hook's argument names that calls ``method``.

    The method itself where its own names fit, so that the usual plugin pays for no extra call.
    """
    if _fits_as_it_is(method, arguments):
        return method
    try:
        parameters = list(signature(method).parameters.values())
    except (TypeError, ValueError):  # a builtin that does not tell: by position, as it would be called
        return _caller(method, arguments, ", ".join(arguments))
    return _caller(method, arguments, _call(parameters, arguments))


def refuse_awaitable(name: str, answer: object) -> None:
    """Raise TypeError where a hook has returned what would have to be awaited: none of its code has run."""
    kind: Any = type(answer)
    if answer is not None and _may_be_awaited(kind) and inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        raise TypeError(f"{name} returned an awaitable; hooks are plain functions")


@functools.lru_cache(maxsize=256)  # hooks are called several times a job, and isawaitable asks abstract classes
def _may_be_awaited(kind: type) -> bool:
    return kind is GeneratorType or issubclass(kind, Awaitable)


def _fits_as_it_is(method: Callable[..., Any], arguments: Sequence[str]) -> bool:
    function = method.__func__ if isinstance(method, MethodType) else method
    if not isinstance(function, FunctionType) or hasattr(function, "__wrapped__"):
        return False
    code = function.__code__
    names = code.co_varnames[int(isinstance(method, MethodType)) : code.co_argcount]
    variadic = code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    return names == tuple(arguments) and not (function.__defaults__ or code.co_kwonlyargcount or variadic)


def _call(parameters: list[inspect.Parameter], arguments: Sequence[str]) -> str:
    """The call, as text: each hook argument goes to the parameter of its name, the others in order."""
    plain = [one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    star = any(one.kind is one.VAR_POSITIONAL for one in parameters)
    stars = any(one.kind is one.VAR_KEYWORD for one in parameters)
    gives = {one.name: one.name for one in plain if one.name in arguments and one.kind is not one.POSITIONAL_ONLY}
    left = [name for name in arguments if name not in gives]
    for one in plain:
        if one.name in gives:
            continue
        if left and one.kind is not one.KEYWORD_ONLY and (one.default is one.empty or not (star or stars)):
            gives[one.name] = left.pop(0)
        elif one.default is one.empty:
            raise DoesNotFit(f"wants an argument {one.name!r}; the hook gives {_listed(arguments)}")
    renamed = any(theirs != ours for theirs, ours in gives.items())
    if left and not (star or stars) and renamed:
        raise DoesNotFit(f"takes ({', '.join(gives)}); which of {_listed(arguments)} is meant is not clear")
    call = [
        gives[one.name] if one.kind is one.POSITIONAL_ONLY else f"{one.name}={gives[one.name]}"
        for one in plain
        if one.name in gives
    ]
    if star and left:
        # What *args takes comes after all that is passed by position.
        ahead = [gives[one.name] for one in plain if one.kind is not one.KEYWORD_ONLY and one.name in gives]
        by_name = [f"{one.name}={gives[one.name]}" for one in plain
                   if one.kind is one.KEYWORD_ONLY and one.name in gives]  # fmt: skip
        call = [*ahead, *left, *by_name]
    elif stars:
        call += [f"{name}={name}" for name in left]
    return ", ".join(call)


def _caller(method: Callable[..., Any], arguments: Sequence[str], call: str) -> Callable[..., Any]:
    # As namedtuple does: pluggy reads argument names from the code object. The text is made of our own argument
    # names and of identifiers that Python has already accepted as parameters.
    made: Callable[..., Any] = eval(f"lambda {', '.join(arguments)}: _method({call})", {"_method": method})
    return made


def _listed(arguments: Sequence[str]) -> str:
    return ", ".join(arguments) or "none"
