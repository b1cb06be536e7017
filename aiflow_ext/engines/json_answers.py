"""JSON that a server has answered with, read so that it is never larger in memory than is sane."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

LARGEST_ANSWER = 32 << 20  # bytes of an answer that is kept in memory: the reports of 10,000 YARN applications
# What an answer of that size may become in memory: commas are values, and brackets objects and lists, of 60 and 250
# bytes. A YARN application's report has 60 and 6, a page of 250 pods 100,000 and 30,000.
_MOST_TEXT, _MOST_VALUES, _MOST_OBJECTS = 64 << 20, 700_000, 100_000
_DEEPEST = 64  # objects in objects


class MalformedJson(ValueError):
    """Bytes that are no JSON that could be read; the message says why, as a clause."""


class TooLargeJson(MalformedJson):
    """JSON that has more than ``LARGEST_ANSWER`` bytes, or more values than may be kept in memory."""


def parse_json(data: bytes) -> Any:
    """JSON as ``json.loads`` reads it, without NaN and infinities. Raises MalformedJson."""
    objects = data.count(b"{") + data.count(b"[")
    if len(data) > LARGEST_ANSWER or data.count(b",") > _MOST_VALUES or objects > _MOST_OBJECTS:
        raise TooLargeJson("it is too large")
    try:
        text = data.decode()
        if sys.getsizeof(text) > _MOST_TEXT:
            raise TooLargeJson("it is too large")
        found = json.loads(text, parse_constant=_refused, parse_float=_finite)
    except MalformedJson:
        raise
    except RecursionError as error:
        raise MalformedJson("it is nested too deeply") from error
    except ValueError as error:
        raise MalformedJson(str(error)) from error
    level: list[Any] = [found]
    for _ in range(_DEEPEST):
        level = [each for holder in level if isinstance(holder, (dict, list))
                 for each in (holder.values() if isinstance(holder, dict) else holder)
                 if isinstance(each, (dict, list))]  # fmt: skip
        if not level:
            return found
    raise MalformedJson("it is nested too deeply")


def json_kind(value: Any) -> str:
    """A value of JSON in a few words, for messages: ``a list``."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else repr(value)[:60]


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number
