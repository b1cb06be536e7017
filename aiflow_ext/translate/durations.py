"""Durations as they are written in files and on the command line."""

from __future__ import annotations

import math
import re
from typing import Any

from aiflow_ext.translate.misfits import Misfit, given

_UNITS = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}  # the greatest first
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
# Each unit at most once, and the greater before the smaller: 1h30m.
_DURATION = r"(?ai)" + r"\s*".join(["", *(rf"(?:{_NUMBER}\s*{unit})?" for unit in _UNITS), ""])


def seconds(value: Any) -> float:
    """A duration in seconds, from a number or a text such as 30s, 500ms, 10m, 1h30m, 1d. Raises Misfit for others."""
    number: float | None = None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            pass
    elif isinstance(value, str) and re.fullmatch(_NUMBER, value.strip(), re.ASCII):
        number = float(value)
    elif isinstance(value, str) and (match := re.fullmatch(_DURATION, value)) and any(match.groups()):
        parts = zip(match.groups(), _UNITS.values(), strict=True)
        number = math.fsum(float(part) * unit for part, unit in parts if part)
    if number is None or not math.isfinite(number) or number < 0:
        hint = "write seconds, or a text such as 30s, 500ms, 10m, 1h30m, 2h, 1d or 1w"
        raise Misfit(f"must be a duration, not {given(value)}", hint)
    return number
