"""Parses a server's answers into types: the fields of its objects, one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiflow_ext.plugin import PlatformError
from aiflow_ext.plugin.engines import json_kind

_MISSING = object()


class Fields:
    """The fields of an object in a server's answer.

    Args:
        value: the object.
        who: the server, for messages.
        what: what the object is, for messages: ``a report``.

    Attributes:
        value: the object as it is.

    Every method raises PlatformError where the answer is of another type. A field that is ``null`` is missing.
    """

    def __init__(self, value: Any, who: str, what: str) -> None:
        self._who, self._what = who, what
        if not isinstance(value, Mapping):
            raise PlatformError(f"{who} answers with {json_kind(value)} where {what} is expected", hint=_HINT)
        self.value = value

    def __contains__(self, key: str) -> bool:
        return self.value.get(key) is not None

    def text(self, key: str, default: Any = _MISSING) -> str:
        """A field that is text. Raises PlatformError also where it is missing and there is no default."""
        found = self._found(key, default)
        if not isinstance(found, str):
            raise self._another(key, found, "text")
        return found

    def number(self, key: str, default: Any = _MISSING, most: float = 1e15) -> int:
        """A whole number from 0 to ``most``, also one that is written as text."""
        found = self._found(key, default)
        if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 20:
            found = int(found)
        if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 <= found <= most:
            raise self._another(key, found, "a number that could be")
        return int(found)

    def flag(self, key: str) -> bool:
        """A field that is true or false; false where it is missing."""
        found = self._found(key, False)
        if not isinstance(found, bool):
            raise self._another(key, found, "true or false")
        return found

    def object(self, key: str) -> Fields:
        """A field that is an object; one without fields where it is missing."""
        found = self._found(key, {})
        if not isinstance(found, Mapping):
            raise self._another(key, found, "an object")
        return Fields(found, self._who, f"{self._what}'s {key}")

    def objects(self, key: str) -> list[Fields]:
        """A field that is a list of objects, or one of them alone; none where it is missing."""
        found = self._found(key, [])
        each = [found] if isinstance(found, Mapping) else found
        if not isinstance(each, list):
            raise self._another(key, found, "a list")
        return [Fields(one, self._who, f"{self._what}'s {key}") for one in each]

    def _found(self, key: str, default: Any) -> Any:
        found = self.value.get(key)
        if found is not None:
            return found
        if default is _MISSING:
            raise PlatformError(f"{self._who} answers with {self._what} that has no {key!r}", hint=_HINT)
        return default

    def _another(self, key: str, found: Any, expected: str) -> PlatformError:
        words = f"{self._who} answers with {self._what} whose {key!r} is {json_kind(found)}, not {expected}"
        return PlatformError(words, hint=_HINT)


_HINT = "is that address the service's, and does nothing between here and there answer in its place?"
