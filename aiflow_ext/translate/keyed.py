"""Small mappings as values of a key: each of their keys checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aiflow_ext.model.spelling import near
from aiflow_ext.translate.misfits import Item, Misfit


def keyed(
    mapping: Mapping[Any, Any],
    names: Mapping[str, str],
    checks: Mapping[str, Callable[[Any], Any]],
    what: str,
    keys: str,
) -> tuple[dict[str, Any], list[Item]]:
    """The checked values of a small mapping, and what is wrong with the others.

    Args:
        mapping: what was written; a key without a value is as if it were not there.
        names: the name of the value at each key.
        checks: by name.
        what: what the mapping is, for messages.
        keys: its keys in words, likewise.
    """
    values: dict[str, Any] = {}
    wrong: list[Item] = []
    for key, value in mapping.items():
        name = names.get(key) if isinstance(key, str) else None
        if name is None:
            close = near(str(key), checks)
            hint = f"its keys are {keys}"
            wrong.append(((key,), f"is not a key of {what}", f"{close} {hint}" if close else hint))
        elif value is not None:
            try:
                values[name] = checks[name](value)
            except Misfit as misfit:
                wrong += misfit.under(key)
    return values, wrong
