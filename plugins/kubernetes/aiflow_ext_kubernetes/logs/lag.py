"""The times of a log's lines on their node, and how far reading is behind them."""

from __future__ import annotations

import math
import time
from functools import lru_cache

from aiflow_ext_kubernetes.times import seconds_since_epoch

GAP = 3  # seconds between two lines that are suspicious if reading is that far behind


def seconds_of(timestamp: str) -> int:
    """A line's time in whole seconds since the epoch; nodes write their own time zone.

    Raises ValueError for a date or a time zone that does not exist.
    """
    return _seconds(timestamp[:19], timestamp[-6:] if timestamp[-6:-5] in ("+", "-") else "+00:00")


@lru_cache(maxsize=64)
def _seconds(moment: str, zone: str) -> int:
    return math.floor(seconds_since_epoch(moment + zone))


def is_time(timestamp: str) -> bool:
    """Whether there is such a date and time zone."""
    try:
        seconds_of(timestamp)
    except ValueError:
        return False
    return True


class LagMonitor:
    """Detects that a kubelet has rotated files of a log away before they were read, and continues with a newer one."""

    def __init__(self) -> None:
        self._text, self._second = "", 0
        self._least = math.inf  # seconds between a line's time on its node and its arrival, where reading keeps up
        self._behind = 0.0

    def jumps(self, timestamp: str) -> bool:
        """Whether lines may be missing before the one of this time."""
        if timestamp[:19] == self._text:
            return False
        second = seconds_of(timestamp)
        took = time.time() - second
        found = bool(self._text) and min(self._behind, second - self._second) >= GAP
        self._text, self._second = timestamp[:19], second
        self._least = min(self._least, took)
        self._behind = took - self._least
        return found
