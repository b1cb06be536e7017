"""Admission control: which jobs may start, and which attempts have a slot; slots are limited by pool.

A job that asks for processors, memory or GPUs of the client's machine needs room there beside its slot. Those that ask
start in the workflow's order: one that does not fit yet makes those of its pool behind it wait, so that it is never
overtaken by smaller ones for ever. Jobs that ask for nothing go on meanwhile: they take nothing that it waits for.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping

from aiflow_ext.run.driving.attempt import Attempt
from aiflow_ext.run.driving.room import Room


class AdmissionQueue:
    """The jobs that may start, in the workflow's order, and the attempts that wait for a slot.

    Args:
        pools: by job, in the workflow's order, the name of the pool that its slots are from.
        streams: the STREAM jobs, which end only when they are stopped: they need no slot.
        limits: by pool, how many slots it has; a pool that is missing has no limit.
        live: the attempts that have not ended.
        room: what these leave of the machine.
    """

    def __init__(
        self,
        pools: Mapping[str, str],
        streams: Collection[str],
        limits: Mapping[str, int],
        live: Mapping[str, Attempt],
        room: Room,
    ) -> None:
        self.streams, self._room = streams, room
        self._place = {name: number for number, name in enumerate(pools)}
        self._of = pools
        names = dict.fromkeys(pools.values())
        self._pools = {
            name: _Pool(limits.get(name), streams, live, None if len(names) == 1 else pools, name) for name in names
        }
        # Most runs have one pool, and the driver asks in each round of its loop.
        self._only = next(iter(self._pools.values())) if len(names) == 1 else None

    # -- jobs that may start

    @property
    def first(self) -> str | None:
        """The next job that may start, in the workflow's order."""
        if self._only is not None and not self._only.asking:
            return self._only.ready[0][1] if self._only.ready else None
        firsts = [jobs[0] for pool in self._pools.values() for jobs in (pool.ready, pool.asking) if jobs]
        return min(firsts)[1] if firsts else None

    def soon(self, most: int) -> list[str]:
        """The next jobs that may start."""
        if self._only is not None and not self._only.asking:
            return [name for _, name in self._only.ready[:most]]
        lists = [jobs[:most] for pool in self._pools.values() for jobs in (pool.ready, pool.asking)]
        return [name for _, name in sorted(itertools.chain(*lists))[:most]]

    def asks(self, job: str) -> bool:
        """Whether a job needs room on the machine beside its slot."""
        return self._room.asks(job)

    def gpus_for(self, job: str) -> str | None:
        """The GPUs that the next attempt of a job is given; None if it is to have none of this machine's."""
        return self._room.gpus_for(job)

    def add(self, job: str) -> None:
        """Add a job that may start."""
        pool = self._pools[self._of[job]]
        bisect.insort(pool.asking if self._room.asks(job) else pool.ready, (self._place[job], job))

    def take(self) -> str:
        """Remove and return the next job, which starts now."""
        return _first_of([jobs for pool in self._pools.values() for jobs in (pool.ready, pool.asking)])

    def take_with_slot(self, *, asking: bool = True) -> str | None:
        """Remove and return the next job for which there are a slot and room; None if there is none.

        ``asking``: whether jobs that need room may start, too.
        """
        if self._only is not None and not self._only.asking:
            return self._only.ready.pop(0)[1] if self._only.ready and self._only.has_free_slot else None
        lists = []
        for pool in self._pools.values():
            if (pool.ready or pool.asking) and pool.has_free_slot:
                lists.append(pool.ready)
                if asking and pool.asking and self._room.has(pool.asking[0][1]):
                    lists.append(pool.asking)
        return _first_of(lists) if any(lists) else None

    def withdraw(self, *jobs: str) -> list[str]:
        """Remove those of these jobs that may start now, which must not; returns them."""
        removed, names = [], set(jobs)
        for pool in {self._of[job]: self._pools[self._of[job]] for job in jobs}.values():
            for queue in (pool.ready, pool.asking):
                removed += [each[1] for each in queue if each[1] in names]
                queue[:] = [each for each in queue if each[1] not in names]
        return removed

    def withdraw_all(self) -> list[str]:
        """Remove all jobs; returns them in the workflow's order."""
        lists = [jobs for pool in self._pools.values() for jobs in (pool.ready, pool.asking)]
        names = [name for _, name in sorted(itertools.chain(*lists))]
        for jobs in lists:
            jobs.clear()
        return names

    def in_order(self, jobs: Iterable[str]) -> list[str]:
        """Jobs in the workflow's order."""
        return sorted(jobs, key=self._place.__getitem__)

    # -- attempts

    @property
    def queued(self) -> int:
        """How many attempts wait for a slot."""
        if self._only is not None:
            return len(self._only.queue)
        return sum([len(pool.queue) for pool in self._pools.values()])

    def limit_for(self, attempt: Attempt) -> int | None:
        """How many slots its pool has; None for no limit."""
        return self._pool(attempt).limit

    def has_slot(self, attempt: Attempt) -> bool:
        """Whether an attempt has a slot, so that it may run."""
        return attempt not in self._pool(attempt).queue

    def must_wait(self, attempt: Attempt) -> bool:
        """Whether more attempts than the limit have a slot, so that this one has to wait until another one ends."""
        return self._pool(attempt).is_exceeded and attempt.planned.name not in self.streams

    def queue(self, attempt: Attempt, then: Callable[[], None] | None = None) -> None:
        """Queue an attempt: it gets a slot when another one of its pool ends; ``then`` is called at that moment."""
        self._pool(attempt).queue[attempt] = then

    def leave(self, ended: Attempt) -> None:
        """Remove an attempt, which has ended; its slot, if it had one, goes to the first that waits."""
        queue = self._pool(ended).queue
        if ended in queue:
            del queue[ended]
        elif queue and ended.planned.name not in self.streams:  # those have none
            attempt = next(iter(queue))
            then = queue.pop(attempt)
            if then is not None:
                then()

    def _pool(self, attempt: Attempt) -> _Pool:
        return self._only or self._pools[self._of[attempt.planned.name]]


class _Pool:
    """The slots of one pool, and the attempts that wait for them.

    Args:
        limit: how many slots there are; None for no limit.
        streams, live: as the queue's.
        pools: by job, its pool; None if all jobs are of this one.
        name: the pool's own name.
    """

    def __init__(
        self,
        limit: int | None,
        streams: Collection[str],
        live: Mapping[str, Attempt],
        pools: Mapping[str, str] | None,
        name: str,
    ) -> None:
        self.limit = limit
        self.ready: list[tuple[int, str]] = []  # jobs that may start, with their places in the workflow
        self.asking: list[tuple[int, str]] = []  # likewise, those that need room beside a slot
        self.queue: dict[Attempt, Callable[[], None] | None] = {}  # live, without a slot; the next one first
        self._streams, self._live, self._pools, self._name = streams, live, pools, name

    @property
    def has_free_slot(self) -> bool:
        return self.limit is None or self._running < self.limit

    @property
    def is_exceeded(self) -> bool:
        return self.limit is not None and self._running > self.limit

    @property
    def _running(self) -> int:
        if self._pools is None and not self._streams:
            return len(self._live) - len(self.queue)
        names = [each.planned.name for each in self._live.values()]
        own = sum(self._pools is None or self._pools[job] == self._name for job in names if job not in self._streams)
        return own - len(self.queue)


def _first_of(lists: Iterable[list[tuple[int, str]]]) -> str:
    """Remove and return the first job of the lists, by the workflow's order."""
    return min(filter(None, lists)).pop(0)[1]
