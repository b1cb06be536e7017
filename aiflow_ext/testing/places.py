"""The places at which a client can be killed."""

from __future__ import annotations

import os
from typing import NamedTuple


class Place(NamedTuple):
    """A line, and the number of its execution: the same in another process, whatever its threads do."""

    file: str
    line: int
    time: int

    def __str__(self) -> str:
        return f"{shown(self.file, self.line)} (time {self.time})"


def shown(file: str, line: int) -> str:
    """A line for people: ``run/driving/driver.py:111``."""
    return f"{os.sep.join(file.split(os.sep)[-2:])}:{line}"
