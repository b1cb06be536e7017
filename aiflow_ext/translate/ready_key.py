"""The key ``ready`` of a job's config: what it may hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aiflow_ext.model.config import Ready
from aiflow_ext.translate.durations import seconds
from aiflow_ext.translate.fitting import fit
from aiflow_ext.translate.keyed import keyed
from aiflow_ext.translate.misfits import Misfit, given
from aiflow_ext.translate.yaml_source import Located


def checked_ready(part: Located) -> Ready:
    value = part.value
    if isinstance(value, Ready):  # a plugin's own default
        return value
    if not isinstance(value, Mapping):  # the check alone
        is_port = isinstance(value, int) and not isinstance(value, bool)
        return Ready(port=_port(value)) if is_port else Ready(command=_check(value))
    values, wrong = keyed(value, {name: name for name in _READY}, _READY, "ready", "command or port, within and every")
    given_keys = {key for key, item in value.items() if item is not None}
    if ("command" in given_keys) == ("port" in given_keys):
        both = "both command and port" if "command" in given_keys else "neither command nor port"
        wrong.append(((), f"has {both}", "say one: {port: 8080} or {command: curl -fs localhost:8080}"))
    if wrong:
        raise Misfit(items=wrong)
    return Ready(**values)


def _port(value: Any) -> int:
    number = int(fit(value, int))
    if not 1 <= number <= 65535:
        raise Misfit(f"must be a port, from 1 to 65535, not {given(value)}")
    return number


def _check(value: Any) -> str | list[str]:
    """A command: a string, or a list of words."""
    hint = "write a port, a command, or {command: curl -fs localhost:8080, within: 2m}"
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, (list, tuple)) or not words or not all(isinstance(word, str) for word in words):
        raise Misfit(f"must be a command or a port, not {given(value)}", hint)
    if not words[0].strip():
        raise Misfit("has an empty command", hint)
    if any("{properties." in word for word in words):
        raise Misfit("has a {properties...}, which is replaced in the job's commands alone",
                     "write the value, or read it from $AIFLOW_PROPERTIES, which is JSON")  # fmt: skip
    if any("\0" in word for word in words):
        raise Misfit("holds a NUL character", "take it out")
    return value if isinstance(value, str) else list(words)


def _within(value: Any) -> float:
    number = seconds(value)
    if not number:
        raise Misfit("must be longer than 0", "such as 2m; it is 5m where nothing is said")
    return number


def _every(value: Any) -> float:
    number = seconds(value)
    if not 0.1 <= number <= 3600:
        raise Misfit(f"must be from 0.1s to 1h, not {given(value)}", "such as 2s")
    return number


_READY: dict[str, Callable[[Any], Any]] = {
    "command": _check,
    "port": _port,
    "within": _within,
    "every": _every,
}
