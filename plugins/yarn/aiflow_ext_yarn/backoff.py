"""Retries with back-off while a service cannot be reached, up to a time limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from aiflow_ext_yarn.http import Unreachable

T = TypeVar("T")
FIRST, LONGEST = 0.2, 5.0  # seconds between two calls


def retry(function: Callable[[], T], seconds: float) -> T:
    """What ``function`` returns; while it raises Unreachable it is called again, for at most ``seconds``.

    Raises the last Unreachable, with the time that was waited, and whatever else ``function`` raises.
    """
    began, pause = time.monotonic(), FIRST
    while True:
        try:
            return function()
        except Unreachable as error:
            waited = time.monotonic() - began
            if waited + pause > seconds:
                if waited < 1:
                    raise
                first = error.problems[0]
                raise Unreachable(
                    f"{first.message} (asked for {waited:.0f} s)", where=first.where, hint=first.hint
                ) from error
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST)
