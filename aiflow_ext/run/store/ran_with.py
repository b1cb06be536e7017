"""Reads what an attempt ran with, from its folder."""

from __future__ import annotations

import json

from aiflow_ext.model.ran_with import RAN_WITH, RanWith
from aiflow_ext.regular_file import read_whole

_LARGEST = 1 << 20  # bytes; a thousand distributions take 25,000


def ran_with_of(folder: str) -> RanWith | None:
    """What an attempt ran with.

    Args:
        folder: the attempt's, on this machine.

    Returns None where that is not known: its job has no ``af.python``, its platform does not keep it, it has not begun,
    or the job has written something else in that place.
    """
    try:
        return RanWith.from_data(json.loads(read_whole(f"{folder}/{RAN_WITH}", _LARGEST)))
    except (OSError, ValueError, RecursionError):
        return None
