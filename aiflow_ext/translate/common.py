"""The keys that every job's config has: what each may hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from aiflow_ext.model.config import Grow, RetryDelay
from aiflow_ext.model.resources import MOST_GPU, parse_cpu, parse_memory
from aiflow_ext.model.spelling import near
from aiflow_ext.model.states import ExecutionMode, JobState
from aiflow_ext.translate.durations import seconds
from aiflow_ext.translate.fitting import fit
from aiflow_ext.translate.keyed import keyed
from aiflow_ext.translate.misfits import Item, Misfit, given
from aiflow_ext.translate.periodic_key import checked_period
from aiflow_ext.translate.ready_key import checked_ready
from aiflow_ext.translate.shell_key import checked_shell
from aiflow_ext.translate.yaml_source import Located, Mark

# AI Flow's name of a key, and aiflow-ext's.
ALIASES = {"periodic_config": "periodic"}
# The attribute of BaseJobConfig, where it is called otherwise than the key.
ATTRIBUTES = {"periodic": "periodic_config"}

_Size = TypeVar("_Size", float, int)
RETRY_ON = (*(state.lower() for state in JobState if state.failed), "timeout", "out_of_memory")


def is_common(key: Any) -> bool:
    """Whether every job's config has this key."""
    return key in COMMON_KEYS or key in ALIASES


def common_values(layer: Located) -> tuple[dict[str, Any], list[Item]]:
    """The common values that a job gives, checked, by BaseJobConfig's names; and what is wrong with the others."""
    values: dict[str, Any] = {}
    wrong: list[Item] = []
    for key, value in layer.value.items():
        check = _CHECKS.get(ALIASES.get(key, key)) if isinstance(key, str) else None
        if check is None or value is None:
            continue  # nothing after the colon: as if it were not there
        try:
            name = ALIASES.get(key, key)
            values[ATTRIBUTES.get(name, name)] = check(layer.at(key))
        except Misfit as misfit:
            wrong += misfit.under(key)
    return values, wrong


def checked(key: str, value: Any) -> Any:
    """The value of one common key, checked. Raises Misfit."""
    return _CHECKS[key](Located(value, Mark(""), ""))


def _text(part: Located) -> str:
    text = str(fit(part.value, str))
    if not text.strip():
        raise Misfit("must not be empty", "write its name")
    return text


def _exec_mode(part: Located) -> Any:
    return fit(part.value, ExecutionMode)


def _cpu(part: Located) -> float:
    return _parsed(parse_cpu, part.value)


def _memory(part: Located) -> int:
    return _parsed(parse_memory, part.value)


def _parsed(parse: Callable[[Any], _Size], value: Any) -> _Size:
    try:
        return parse(value)
    except ValueError as error:
        raise Misfit(f"{error}, not {given(value)}" if str(error).startswith("must") else str(error)) from None


def _gpu(part: Located) -> int:
    number = int(fit(part.value, int))
    if number < 0:
        raise Misfit(f"must be 0 or more, not {number}", "it is how many devices the job gets")
    if number > MOST_GPU:
        raise Misfit("is more devices than exist")
    return number


def _keep(part: Located) -> bool | str:
    if isinstance(part.value, bool) or part.value == "failed":
        return cast("bool | str", part.value)
    hint = "false: results that no job reads are not kept; failed: what a failed attempt ran in stays"
    raise Misfit(f"must be true, false or failed, not {given(part.value)}", hint)


def _retries(part: Located) -> int:
    number = int(fit(part.value, int))
    if number < 0:
        raise Misfit(f"must be 0 or more, not {number}", "0 means that a failed job is not tried again")
    return number


_LONGEST_DELAY = 600.0  # seconds, where a delay that grows names no limit


def _delay(part: Located) -> float | RetryDelay:
    if isinstance(part.value, RetryDelay):  # a plugin's own default
        part = Located(part.value.to_json(), part.mark, part.file)
    if not isinstance(part.value, Mapping):
        return seconds(part.value)
    values, wrong = keyed(part.value, {name: name for name in _DELAY}, _DELAY, "a delay", "first, factor and max")
    if not wrong and "first" not in values:
        wrong.append(((), "lacks the first delay", "write {first: 10s, factor: 2, max: 10m}"))
    if wrong:
        raise Misfit(items=wrong)
    delay = RetryDelay(**{"max": max(_LONGEST_DELAY, values["first"]), **values})
    if delay.max < delay.first:
        raise Misfit("is shorter than the first delay", "give the longest delay", path=("max",))
    return delay


def _factor(value: Any) -> float:
    number = float(fit(value, float))
    if not 1 <= number <= 1e6:
        raise Misfit(f"must be from 1 to 1000000, not {given(value)}", "2 doubles the delay each time")
    return number


_DELAY: dict[str, Callable[[Any], float]] = {"first": seconds, "factor": _factor, "max": seconds}


def _grow(part: Located) -> Grow:
    if isinstance(part.value, Grow):  # a plugin's own default
        return part.value
    if not isinstance(part.value, Mapping):
        raise Misfit(f"must be a mapping, not {given(part.value)}", f"write {_GROWS}")
    values, wrong = keyed(part.value, {name: name for name in _GROWTH}, _GROWTH, "a growth", "memory and max")
    if not wrong and "memory" not in values:
        wrong.append(((), "does not say how many times the memory the next attempt gets", f"write {_GROWS}"))
    if wrong:
        raise Misfit(items=wrong)
    return Grow(values["memory"], values.get("max"))


def _times(value: Any) -> float:
    number = float(fit(value, float))
    if not 1 < number <= 1000:
        raise Misfit(f"must be more than 1, and at most 1000, not {given(value)}", "2 doubles the memory each time")
    return number


_GROWS = "{memory: 2, max: 64Gi}"
_GROWTH: dict[str, Callable[[Any], Any]] = {"memory": _times, "max": lambda value: _parsed(parse_memory, value)}


def _timeout(part: Located) -> float:
    limit = seconds(part.value)
    if not limit:
        raise Misfit("must be longer than 0", "leave it out for no limit")
    return limit


def _retry_on(part: Located) -> tuple[str, ...]:
    ends = [part.value] if isinstance(part.value, str) else list(fit(part.value, list[str]))
    wrong: list[Item] = []
    for number, end in enumerate(ends):
        if end not in RETRY_ON:
            close = near(end, RETRY_ON)
            path = () if isinstance(part.value, str) else (number,)
            words = f"must be one of {', '.join(map(repr, RETRY_ON))}, not {given(end)}"
            wrong.append((path, words, close))
    if wrong:
        raise Misfit(items=wrong)
    return tuple(dict.fromkeys(ends))


def _properties(part: Located) -> dict[str, Any]:
    fit(part.value, Mapping)
    wrong: list[Item] = []
    _check_names(part.value, (), wrong)
    if wrong:
        raise Misfit(items=wrong)
    return dict(part.value)


def _check_names(value: Any, path: tuple[Any, ...], wrong: list[Item]) -> None:
    """Keys that are no text, at any depth: the job gets its properties as JSON, which has no others."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                wrong.append(((*path, key), "is a key that must be text", "put the key in quotes"))
            _check_names(item, (*path, key), wrong)
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            _check_names(item, (*path, number), wrong)


def _env(part: Located) -> dict[str, Any]:
    if not isinstance(part.value, Mapping):
        # The value itself is never shown: it may be a token.
        raise Misfit("must be a mapping of variables", "write NAME: value")
    made: dict[str, Any] = {}
    wrong: list[Item] = []
    for name in part.value:
        try:
            if not isinstance(name, str):
                raise Misfit("is a variable's name that must be text", "put the name in quotes")
            if not name or "=" in name or "\0" in name:
                raise Misfit("cannot be a variable's name", "use letters, digits and _")
            made[name] = _variable(part.at(name))
        except Misfit as misfit:
            wrong += misfit.under(name)
    if wrong:
        raise Misfit(items=wrong)
    return made


def _variable(part: Located) -> Any:
    value = part.value
    if isinstance(value, str):
        if "\0" in value:
            raise Misfit("holds a NUL character, which no variable can", "take it away")
        return value
    if isinstance(value, (bool, int, float)):
        return str(value).lower()
    if isinstance(value, Mapping):
        if set(value) != {"secret"}:
            raise Misfit("must be text, a number, true or false, or {secret: ...}", 'write {secret: "env:NAME"}')
        return {"secret": _secret(value["secret"])}
    kind = "a list" if isinstance(value, list) else "nothing"
    hint = 'write "" for an empty variable' if value is None else "join the items into one text"
    raise Misfit(f"must be text, a number, true or false, or {{secret: ...}}, not {kind}", hint)


def _secret(reference: Any) -> str:
    source, _, rest = reference.partition(":") if isinstance(reference, str) else ("", "", "")
    if not source or not rest:
        # Nor is this one shown: it may be the secret itself, put here by mistake.
        hint = 'write the name of its source, such as "env:NAME" or "file:PATH"'
        raise Misfit("is no reference to a secret", hint, path=("secret",))
    return str(reference)


# Every common key but ``platforms``: BaseJobConfig has an attribute for each.
_CHECKS: dict[str, Callable[[Located], Any]] = {
    "platform": _text,
    "engine": _text,
    "job_name": _text,
    "exec_mode": _exec_mode,
    "periodic": checked_period,
    "properties": _properties,
    "env": _env,
    "cpu": _cpu,
    "memory": _memory,
    "gpu": _gpu,
    "retries": _retries,
    "retry_delay": _delay,
    "retry_on": _retry_on,
    "grow": _grow,
    "timeout": _timeout,
    "python": _text,
    "shell": checked_shell,
    "ready": checked_ready,
    "keep": _keep,
}
COMMON_KEYS = (*_CHECKS, "platforms")
# BaseJobConfig's names of the common values: ``platforms`` alone is not one of them.
NAMES = tuple(ATTRIBUTES.get(key, key) for key in _CHECKS)
