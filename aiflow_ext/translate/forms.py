"""How values of the standard library's types are written in a file, where they are no class's named arguments."""

from __future__ import annotations

import datetime
import re
import typing
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from aiflow_ext.translate.durations import seconds


class Form(NamedTuple):
    """How a type of the standard library is written: in words, and what makes it of that."""

    words: str
    make: Callable[[Any, Any], Any]
    numbers: bool = False


def _seconds(value: Any, kind: Any) -> datetime.timedelta:
    return datetime.timedelta(seconds=seconds(value))


def _moment(value: Any, kind: Any) -> Any:
    return kind.fromisoformat(value[:-1] + "+00:00" if value.endswith("Z") else value)


def _call(value: Any, kind: Any) -> Any:
    return kind(value)


# By name, so that nothing is imported for a type that is not used.
_FORMS = {
    "datetime.datetime": Form("a time such as 2024-05-01T12:00:00", _moment),
    "datetime.date": Form("a date such as 2024-05-01", lambda value, kind: kind.fromisoformat(value)),
    "datetime.time": Form("a time of day such as 12:30", lambda value, kind: kind.fromisoformat(value)),
    "datetime.timedelta": Form("a duration such as 30s, 10m or 2h", _seconds, True),
    # Through its text: 0.1 is meant, not the nearest binary fraction.
    "decimal.Decimal": Form("a number, in quotes to keep every digit", lambda value, kind: kind(str(value)), True),
    "fractions.Fraction": Form("a number or a fraction such as 1/3", lambda value, kind: kind(str(value)), True),
    "builtins.complex": Form("a number or text such as 1+2j", _call, True),
    "builtins.bytearray": Form("bytes", lambda value, kind: kind(value.encode())),
    "uuid.UUID": Form("a UUID", _call),
    "re.Pattern": Form("a regular expression", lambda value, kind: re.compile(value)),
    "zoneinfo.ZoneInfo": Form("a time zone such as Europe/Berlin", _call),
    "os.PathLike": Form("a path", lambda value, kind: Path(value)),
    **{f"ipaddress.IPv{version}{kind}": Form(f"an IPv{version} {words}", _call)
       for version in (4, 6)
       for kind, words in (("Address", "address"), ("Network", "network"), ("Interface", "address with its network"))},
}  # fmt: skip
_PATH = Form("a path", _call)


def form_of(kind: Any) -> Form | None:
    origin = typing.get_origin(kind) or kind
    if not isinstance(origin, type):
        return None
    if issubclass(origin, PurePath):
        return _PATH
    return _FORMS.get(f"{origin.__module__}.{origin.__qualname__}")
