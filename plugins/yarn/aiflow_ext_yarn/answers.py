"""What a server answers, read into types: JSON of a bounded size, and its objects' fields one at a time."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from typing import Any

from aiflow_ext.plugin import PlatformError

LARGEST = 32 << 20  # bytes of an answer that is kept in memory: the reports of 10,000 applications
# What an answer of that size may become in memory: commas are values, and brackets objects and lists, of 60 and 250
# bytes. A report has 60 and 6.
MOST_TEXT, MOST_VALUES, MOST_OBJECTS = 64 << 20, 700_000, 100_000
DEEPEST = 64  # objects in objects
_MISSING = object()


class Malformed(ValueError):
    """Bytes that are no JSON that could be read."""


def parsed(body: bytes) -> Any:
    """JSON as ``json.loads`` reads it, without NaN and infinities. Raises Malformed."""
    if len(body) > LARGEST or body.count(b",") > MOST_VALUES or body.count(b"{") + body.count(b"[") > MOST_OBJECTS:
        raise Malformed("it is too large")
    try:
        text = body.decode()
        if sys.getsizeof(text) > MOST_TEXT:
            raise Malformed("it is too large")
        found = json.loads(text, parse_constant=_refused, parse_float=_finite)
    except RecursionError as error:
        raise Malformed("it is nested too deeply") from error
    except ValueError as error:
        raise Malformed(str(error)) from error
    level = [found]
    for _ in range(DEEPEST):
        level = [each for holder in level if isinstance(holder, (dict, list))
                 for each in (holder.values() if isinstance(holder, dict) else holder)
                 if isinstance(each, (dict, list))]  # fmt: skip
        if not level:
            return found
    raise Malformed("it is nested too deeply")


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


class Fields:
    """The fields of an object that a server has answered with.

    Args:
        value: the object.
        who: the server, for messages.
        what: what the object is, for messages: ``a report``.

    Every method raises PlatformError where the answer is of another type. A field that is ``null`` is missing.
    """

    def __init__(self, value: Any, who: str, what: str) -> None:
        self._who, self._what = who, what
        if not isinstance(value, Mapping):
            raise PlatformError(f"{who} answers with {_kind(value)} where {what} is expected", hint=_HINT)
        self._value = value

    def __contains__(self, key: str) -> bool:
        return self._value.get(key) is not None

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
        found = self._value.get(key)
        if found is not None:
            return found
        if default is _MISSING:
            raise PlatformError(f"{self._who} answers with {self._what} that has no {key!r}", hint=_HINT)
        return default

    def _another(self, key: str, found: Any, expected: str) -> PlatformError:
        words = f"{self._who} answers with {self._what} whose {key!r} is {_kind(found)}, not {expected}"
        return PlatformError(words, hint=_HINT)


_HINT = "is that address the service's, and does nothing between here and there answer in its place?"


def _kind(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return repr(value)[:60] if value is not None else "nothing"
