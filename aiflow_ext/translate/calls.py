"""Checks that functions can be called with the arguments of their nodes, as far as signatures are known."""

from __future__ import annotations

import functools
import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiflow_ext.model.errors import Problem
from aiflow_ext.model.graph import AIGraph, AINode
from aiflow_ext.model.signature import signature
from aiflow_ext.model.spelling import near

# By the function's id: many nodes of a graph call one function.
Signatures = dict[int, tuple[Callable[..., Any], inspect.Signature | None]]


def check_calls(graph: AIGraph) -> list[Problem]:
    """The python nodes whose function does not take their arguments; to be asked while functions are still live."""
    inputs = Counter(edge.target for edge in graph.data_edges)
    known: Signatures = {}
    problems = []
    for node in graph.nodes:
        if node.kind == "python" and callable(node.properties.get("function")):
            # af.node("python", a, b, function=f) says no more than that a and b are what f is given.
            args = node.properties.get("args", [None] * inputs[str(node.instance_id)])
            problem = _check(node, args, node.properties.get("kwargs", {}), known)
            problems += [problem] if problem is not None else []
    return problems


def _check(node: AINode, args: Sequence[Any], kwargs: Mapping[str, Any], known: Signatures) -> Problem | None:
    called, args, kwargs = _unwrapped(node.properties["function"], args, kwargs)
    if id(called) not in known:
        known[id(called)] = called, _signature(called)
    signature = known[id(called)][1]
    if signature is None:
        return None
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(called, "__qualname__", type(called).__qualname__)
        words = (
            f"{name}{_shown(signature)} cannot be called with the arguments of node {node.name!r} in job {node.job!r}"
        )
        return Problem(
            f"{words}: {error}", node.where, _hint(signature, kwargs) or "give it the arguments that it takes"
        )
    return None


def _unwrapped(
    function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Any, Sequence[Any], Mapping[str, Any]]:
    """The function that is called in the end, and its arguments, without ``functools.partial`` and ``lru_cache``."""
    while True:
        if type(function) is functools.partial and not _leaves_places(function):
            args, kwargs = [*function.args, *args], {**function.keywords, **kwargs}
            function = function.func
        elif isinstance(function, functools._lru_cache_wrapper):
            function = function.__wrapped__
        else:
            return function, args, kwargs


def _leaves_places(function: functools.partial[Any]) -> bool:
    placeholder = getattr(functools, "Placeholder", None)  # Python 3.14
    return placeholder is not None and any(each is placeholder for each in function.args)


def _signature(function: Any) -> inspect.Signature | None:
    """The parameters of ``function``; None where they are not certain.

    A wrapper's own signature counts, not that of what it wraps: it may add arguments, or take some away.
    """
    # A metaclass may take more than the signature that it shows: pydantic ignores what it does not know.
    if isinstance(function, type) and "__signature__" in dir(function):
        return None
    try:
        return signature(function, follow_wrapped=False)
    except (ValueError, TypeError):  # of a builtin that tells none
        return None
    except Exception:  # of an object with attributes of its own
        return None


def _shown(signature: inspect.Signature) -> str:
    """The parameters without their annotations and defaults, which may be long."""
    empty, parts = inspect.Parameter.empty, []
    for each in signature.parameters.values():
        default = empty if each.default is empty else ...
        parts.append(each.replace(annotation=empty, default=default))
    text = str(signature.replace(parameters=parts, return_annotation=inspect.Signature.empty))
    return text.replace("=Ellipsis", "=...")


def _hint(signature: inspect.Signature, kwargs: Mapping[str, Any]) -> str | None:
    unknown = [name for name in kwargs if name not in signature.parameters]
    return near(unknown[0], [name for name in signature.parameters if name not in kwargs]) if unknown else None
