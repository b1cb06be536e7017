"""Which jobs may start, how many attempts run at once, and which of them wait for another one to end."""

from __future__ import annotations

import bisect
import collections
from collections.abc import Collection, Iterable, Mapping

from aiflow_ext.run.driving.attempt import Attempt


class AdmissionQueue:
    """The turns of one run.

    Args:
        jobs: every job, in the workflow's order.
        streams: of these, those that end only when somebody stops them: they take no other's turn away.
        limit: how many of the others run at once; None for no limit.
        live: the attempts that have not ended, kept by the driver.
    """

    def __init__(
        self, jobs: Iterable[str], streams: Collection[str], limit: int | None, live: Mapping[str, Attempt]
    ) -> None:
        self.limit = limit
        self._streams, self._live = streams, live
        self._place = {name: number for number, name in enumerate(jobs)}
        self._ready: list[tuple[int, str]] = []
        self._behind: collections.deque[Attempt] = collections.deque()

    # -- jobs that may start

    @property
    def first(self) -> str | None:
        """The next job that may start, in the workflow's order."""
        return self._ready[0][1] if self._ready else None

    def soon(self, most: int) -> list[str]:
        """The next ones."""
        return [name for _, name in self._ready[:most]]

    def add(self, job: str) -> None:
        """It may start."""
        bisect.insort(self._ready, (self._place[job], job))

    def take(self) -> str:
        """The next one starts now."""
        return self._ready.pop(0)[1]

    def withdraw(self, job: str) -> None:
        """It shall not start."""
        self._ready = [each for each in self._ready if each[1] != job]

    def withdraw_all(self) -> list[str]:
        """None of them shall start; which they were, in the workflow's order."""
        names = [name for _, name in self._ready]
        self._ready.clear()
        return names

    def in_order(self, jobs: Iterable[str]) -> list[str]:
        """Jobs in the workflow's order."""
        return sorted(jobs, key=self._place.__getitem__)

    # -- attempts

    @property
    def room(self) -> bool:
        """Whether another attempt may run."""
        return self.limit is None or self._running() < self.limit

    @property
    def exceeded(self) -> bool:
        """Whether more attempts have a turn than may run."""
        return self.limit is not None and self._running() > self.limit

    @property
    def standing(self) -> int:
        """How many attempts wait for another one to end."""
        return len(self._behind)

    def stand_behind(self, attempt: Attempt) -> None:
        """It has no turn yet: another one has to end first."""
        attempt.behind = True
        self._behind.append(attempt)

    def after(self, ended: Attempt) -> Attempt | None:
        """The attempt whose turn it is now that this one has ended, if one stands behind."""
        if ended.behind:
            self._behind.remove(ended)
        elif self._behind and ended.planned.name not in self._streams:  # those had none
            attempt = self._behind.popleft()
            attempt.behind = False
            return attempt
        return None

    def _running(self) -> int:
        streaming = sum(each.planned.name in self._streams for each in self._live.values()) if self._streams else 0
        return len(self._live) - len(self._behind) - streaming
