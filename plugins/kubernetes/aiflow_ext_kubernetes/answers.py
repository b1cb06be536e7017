"""Parses an API server's answers into types: the fields of its objects that this package uses.

A shape is ``str``, ``bool``, ``int``, ``[shape]`` for a list, ``{name: shape}`` for an object with these fields (others
are left out), and ``{str: shape}`` for a mapping. What is ``null`` is as if it were not there. A text is cut after
``LONGEST`` characters, and surrogates in it, which are no characters, become question marks.
"""

from __future__ import annotations

import re
from typing import Any

from aiflow_ext.plugin import PlatformError
from aiflow_ext.plugin.engines import LARGEST_ANSWER, MalformedJson, TooLargeJson, json_kind, parse_json

MOST = 10**15  # of a number
LONGEST = 32 << 10  # characters of a text
_NAME = re.compile("[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")  # of a Job or a pod: RFC 1123; it becomes part of a URL

_STATE = {name: {"reason": str, "message": str, "startedAt": str, "finishedAt": str, "exitCode": int}
          for name in ("waiting", "running", "terminated")}  # fmt: skip
_CONTAINERS = [
    {"name": str, "started": bool, "state": _STATE, "lastState": _STATE, "resources": {"limits": {"memory": str}}}
]
_CONDITION = dict.fromkeys(("type", "status", "reason", "message", "lastTransitionTime"), str)
METADATA = {"name": str, "uid": str, "resourceVersion": str, "creationTimestamp": str, "deletionTimestamp": str,
            "deletionGracePeriodSeconds": int, "annotations": {str: str}, "labels": {str: str}}  # fmt: skip
THING = {  # a Job, a pod or a Service
    "metadata": METADATA,
    "spec": {"suspend": bool, "nodeName": str, "clusterIP": str},
    "status": {"conditions": [_CONDITION], "phase": str, "reason": str, "message": str, "startTime": str,
               "containerStatuses": _CONTAINERS, "initContainerStatuses": _CONTAINERS},
}  # fmt: skip
LIST = {"resourceVersion": str, "continue": str}


class TooLargeError(PlatformError):
    """An answer is larger than may be kept in memory."""


def parsed(data: bytes, who: str) -> dict[str, Any]:
    """An object as JSON. Raises PlatformError where it is anything else."""
    found = value_of(data, who)
    if not isinstance(found, dict):
        raise PlatformError(f"{who} answers with {json_kind(found)} where an object is expected", hint=_HINT)
    return found


def value_of(data: bytes, who: str) -> Any:
    """A value as JSON. Raises PlatformError where it is none."""
    try:
        return parse_json(data)
    except TooLargeJson as error:
        words = f"{who} answers with more than {LARGEST_ANSWER >> 20} MiB, or with too many values"
        raise TooLargeError(words, hint=_HINT) from error
    except MalformedJson as error:
        raise PlatformError(f"{who} answers with something that is no JSON: {error}", hint=_HINT) from error


def thing(value: Any) -> dict[str, Any]:
    """What we use of an object: the rest need not be kept in memory. Raises PlatformError where it is none."""
    found: dict[str, Any] = read(value, THING, "an object")
    name = found.get("metadata", {}).get("name")
    if not name:
        raise PlatformError("the API server tells of an object without a name", hint=_HINT)
    if not _NAME.fullmatch(name):
        raise PlatformError(f"the API server tells of an object whose name none can have: {name[:100]!r}", hint=_HINT)
    for part in ("spec", "status"):
        found.setdefault(part, {})
    for kind in ("containerStatuses", "initContainerStatuses"):
        for container in found["status"].get(kind, ()):
            # Always there (core/v1, ContainerStateTerminated): 0 must not be assumed.
            if "exitCode" not in (container.get("state", {}).get("terminated") or {"exitCode": 0}):
                raise PlatformError(f"the API server tells of a container of {name[:100]} that ended without an exit "
                                    "code", hint=_HINT)  # fmt: skip
    return found


def items(value: Any, shape: Any = dict) -> list[Any]:
    """The items of a list of the API, each of a shape. Raises PlatformError where it is none."""
    found = value.get("items")
    if not isinstance(found, list):
        raise PlatformError(
            f"the API server answers with {json_kind(found)} where a list's items are expected", hint=_HINT
        )
    return [read(each, shape, "an item") for each in found]


def read(value: Any, shape: Any, what: str) -> Any:
    """A value of a shape, without what is not of the shape. Raises PlatformError for one of another type."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            raise _another(value, "an object", what)
        if str in shape:
            return {key: read(each, shape[str], f"{what}'s {key}") for key, each in value.items() if each is not None}
        return {key: read(value[key], inner, f"{what}'s {key}") for key, inner in shape.items()
                if value.get(key) is not None}  # fmt: skip
    if isinstance(shape, list):
        if not isinstance(value, list):
            raise _another(value, "a list", what)
        return [read(each, shape[0], what) for each in value]
    if shape is int:
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MOST:
            raise _another(value, "a number that could be", what)
    elif not isinstance(value, shape):
        raise _another(value, {str: "text", bool: "true or false", dict: "an object"}[shape], what)
    elif shape is str and not (value.isascii() and len(value) <= LONGEST):
        return value[:LONGEST].encode("utf-8", "replace").decode()
    return value


def size_of(value: Any) -> int:
    """Roughly the bytes that a value takes in memory."""
    if isinstance(value, dict):
        return 100 + sum(size_of(key) + size_of(each) for key, each in value.items())
    if isinstance(value, list):
        return 100 + sum(map(size_of, value))
    return 50 + len(value) if isinstance(value, str) else 50


_HINT = "see that the kubeconfig's address is the API server's: kubectl version"


def _another(value: Any, expected: str, what: str) -> PlatformError:
    return PlatformError(f"the API server tells of {what[:100]} that is {json_kind(value)}, not {expected}", hint=_HINT)
