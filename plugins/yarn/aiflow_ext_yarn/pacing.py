"""When a client polls a ResourceManager: soon after something has changed, within a budget of requests, and more rarely
while nothing changes, where answers are large, or where they take long.

Pure arithmetic: the caller passes the time.
"""

from __future__ import annotations

import random

BUDGET, BURST = 0.7, 16.0  # requests a second that may be made in the long run, and that may be saved up
QUICKEST = 0.15  # seconds between two polls, just after something has changed
USUAL = 1.8  # seconds within which a poll follows the one before, while jobs change now and then
LONGEST = 5.0  # the same, while nothing has changed for a long time
SHARE, LATE = 0.15, 0.01  # of the time since the last change: a poll's pause up to USUAL, and from USUAL to LONGEST
BUSY = 2.0  # times as long as the last poll took is the pause after it, at least: the service is slow
SLOWEST = 10.0  # seconds: no pause is longer because polls take long
# Where requests are scarce, all live applications are listed so rarely, in seconds; in between, those that have ended.
LIST_PAUSE = 10.0
LIST_RATE = 128 << 10  # bytes a second that lists may have, on average
LONGEST_LIST_PAUSE = 60.0  # seconds


class Pacing:
    """The pace of one client's polls of one ResourceManager.

    Args:
        now: the time, in seconds, of any clock that goes on steadily.

    Attributes:
        only_lists: whether every poll lists all live applications, so that none is made sooner than a list may be.
    """

    def __init__(self, now: float) -> None:
        self.only_lists = False
        self._saved, self._saved_at = BURST, now
        self._changed = now
        self._last, self._took, self._jitter = float("-inf"), 0.0, 1.0
        self._listed, self._list_pause = float("-inf"), 0.0

    def changed(self, now: float) -> None:
        """Something has changed: what follows it may come soon."""
        self._changed = now

    def rests(self, until: float) -> None:
        """Poll no sooner than that."""
        self._last, self._took, self._jitter = until, 0.0, 0.0

    def polled(self, now: float, requests: int, seconds: float, listed: int | None = None) -> None:
        """A poll was made.

        Args:
            now: when it ended.
            requests: how many there were.
            seconds: how long they took.
            listed: the size in bytes of the list of all live applications; None where there was none.
        """
        self._saved, self._saved_at = max(self._saved_by(now) - requests, 0.0), now
        self._last, self._took, self._jitter = now, seconds, random.uniform(0.9, 1.0)
        if listed is not None:
            self._listed = now
            self._list_pause = min(max(listed / LIST_RATE, BUSY * seconds), LONGEST_LIST_PAUSE)

    def due(self) -> float:
        """When the next poll is to be made."""
        asked_for = max(self._last, self._changed)
        quiet, left = asked_for - self._changed, self._saved_by(asked_for) / BURST
        pause = min(max(quiet * SHARE, QUICKEST), USUAL)
        pause = max(pause, USUAL * (1 - left) ** 2)  # what is saved is not used up at once
        pause = max(pause, min(quiet * LATE, LONGEST), min(self._took * BUSY, SLOWEST))
        if self.only_lists:
            pause = max(pause, self._list_pause)
        return self._last + pause * self._jitter  # clients that started together drift apart

    def may_list(self, now: float) -> bool:
        """Whether a poll now may list all live applications."""
        scarce = self._saved_by(now) < BURST / 2
        return now >= self._listed + max(self._list_pause, LIST_PAUSE if scarce else 0.0)

    def _saved_by(self, now: float) -> float:
        return min(self._saved + max(now - self._saved_at, 0.0) * BUDGET, BURST)
