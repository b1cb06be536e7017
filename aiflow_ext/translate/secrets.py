"""Secrets: only their references are stored or shown; a value is read when it is sent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiflow_ext.model.errors import Problem, SecretError


def is_secret(value: Any) -> bool:
    """Whether an ``env`` value is a secret's reference: ``{"secret": "..."}``."""
    return isinstance(value, Mapping) and set(value) == {"secret"}


def shown(env: Mapping[str, Any]) -> dict[str, str]:
    """``env`` as it may be shown and stored: each secret stands as ``${secret:REFERENCE}``."""
    return {name: f"${{secret:{value['secret']}}}" if is_secret(value) else plain(value) for name, value in env.items()}


def resolve(env: Mapping[str, Any]) -> dict[str, str]:
    """``env`` with each secret's value. Raises SecretError that names every missing one."""
    values: dict[str, str] = {}
    problems: list[Problem] = []
    for name, value in env.items():
        if is_secret(value):
            try:
                values[name] = read(str(value["secret"]))
            except SecretError as error:
                problems += [
                    Problem(f"variable {name}: {each.message}", each.where, each.hint) for each in error.problems
                ]
        else:
            values[name] = plain(value)
    if problems:
        raise SecretError(problems=problems)
    return values


def read(reference: str) -> str:
    """The value behind ``env:NAME`` or ``file:PATH``. Raises SecretError where it is missing here."""
    source, _, name = reference.partition(":")
    if source == "env":
        if name not in os.environ:
            raise SecretError(f"secret {reference!r}: the variable is not set", hint=f"export {name}=... and try again")
        return os.environ[name]
    if source == "file":
        try:
            return Path(os.path.expanduser(name)).read_text(encoding="utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            words = error.strerror if isinstance(error, OSError) else "it is not text"
            raise SecretError(f"secret {reference!r}: {words}", hint="create the file, or name another one") from error
    raise SecretError(
        f"secret {reference!r} cannot be read on this machine",
        hint="a local job takes env:NAME or file:PATH; kubernetes:name/key works on kubernetes",
    )


def plain(value: Any) -> str:
    """A plain ``env`` value as the string that the job sees."""
    return str(value).lower() if isinstance(value, bool) else str(value)
