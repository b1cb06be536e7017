"""The arguments that hooks took before they were given the job: some such methods could still be called, with the wrong
thing. They are named instead."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from aiflow_ext.host.specs import OPTIONAL
from aiflow_ext.model.signature import signature

_ID = "the native id is job.job_context.native_id"
_JOBS = "jobs are this plugin's jobs of the run"
_FORMER = {
    "lookup": (("native_id",), _ID),
    "attach": (("job", "native_id"), _ID),
    "watch": (("native_ids", "since"), "jobs maps each native id to its job"),
    "cleanup_run": (("run",), _JOBS),
    "check_platform": ((), _JOBS),
}


def former_shape(name: str, method: Callable[..., Any]) -> str | None:
    """In words, that a method has the arguments that its hook had before, and what they are now; None: it has not."""
    if name not in _FORMER:
        return None
    arguments, cure = _FORMER[name]
    try:
        if tuple(signature(method).parameters) != arguments:
            return None
    except (TypeError, ValueError):  # a builtin that does not tell
        return None
    return (
        f"{name}({', '.join(arguments)}){_place(method)} has the arguments of an earlier aiflow-ext; it is "
        f"{name}({', '.join(OPTIONAL[name])}) now: {cure}"
    )


def _place(method: Callable[..., Any]) -> str:
    function = getattr(method, "__func__", method)
    if not isinstance(function, FunctionType):
        return ""
    return f" at {function.__code__.co_filename}:{function.__code__.co_firstlineno}"
