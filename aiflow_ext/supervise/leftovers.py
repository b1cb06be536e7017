"""Orphaned processes: which job they belong to, and the sweeps that end them, one step at a time."""

from __future__ import annotations

import os
import time

from aiflow_ext.supervise import proc
from aiflow_ext.supervise.journal import print_error
from aiflow_ext.supervise.sweep import Sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiflow_ext.supervise.spawn import Process

GRACE = 2.0
# Seconds until the next try if /proc cannot be read.
LOOK_AGAIN = 1.0


class Leftovers:
    """The sweeps of one folder's processes.

    Attributes:
        sweeps: those that are under way, by the id of the process; one of an orphan without an owner has its own.

    Args:
        living: the living processes, by id.
        mains: those of them that are children of the supervisor, by pid.
        ids: the ids of all processes that there ever were, by mark.
    """

    def __init__(self, living: Mapping[str, Process], mains: Mapping[int, Process], ids: Mapping[str, str]) -> None:
        self._living, self._mains, self._ids = living, mains, ids
        self.sweeps: dict[str, Sweep] = {}
        self._due: dict[str, float] = {}
        self._look_at = 0.0

    def sweep(
        self,
        id: str,
        mark: str | None,
        grace: float,
        since: int,
        roots: Iterable[tuple[int, int]] = (),
        session: int | None = None,
    ) -> None:
        """Start to end the processes of ``id``, unless that is under way; arguments as of :class:`Sweep`."""
        if id not in self.sweeps:
            self.sweeps[id] = Sweep(mark=mark, grace=grace, since=since, roots=roots, session=session)
        self._due[id] = 0.0

    def hurry(self, id: str, grace: float) -> bool:
        """Let the sweep of ``id`` end within ``grace`` seconds; False if there is none."""
        if id not in self.sweeps:
            return False
        self.sweeps[id].hurry(grace)
        self._due[id] = 0.0
        return True

    def reaped(self, pid: int) -> None:
        """Note that a child has ended: the sweeps that it belongs to continue at once."""
        self._due.update((id, 0.0) for id, sweep in self.sweeps.items() if pid in sweep.members)

    def sweep_orphans(self, ended: list[Process]) -> None:
        """End orphaned children that belong to no living process.

        Args:
            ended: the processes that have just ended.
        """
        sessions = {process.pid: process for process in ended}
        for pid in proc.children(os.getpid()):
            if pid in self._mains:
                continue
            stat = proc.read_stat(pid)
            if stat is None or not stat.alive or any(pid in sweep.members for sweep in self.sweeps.values()):
                continue
            dead = sessions.get(stat.session)
            owner = self._ids.get(proc.mark_of(pid) or "") or (dead.id if dead else None)
            if owner in self._living or stat.session in self._mains:
                continue
            if owner is None and any(process.start <= stat.start for process in self._living.values()):
                continue
            key = owner or f"\0orphan {pid}"
            if key in self.sweeps:
                self.sweeps[key].roots[pid] = stat.start
            else:
                mark, session = (dead.mark, dead.pid) if dead else (None, None)
                since = dead.start if dead else 0
                self.sweep(key, mark, GRACE, since, [(pid, stat.start)], session)

    def orphans_of(self, process: Process) -> list[tuple[int, int]]:
        """Orphans, not identified by mark or session, that only ``process`` can have started: pid and start time."""
        orphans: list[tuple[int, int]] = []
        for pid in proc.children(os.getpid()):
            stat = None if pid in self._mains else proc.read_stat(pid)
            if stat is None or stat.session in self._mains or proc.mark_of(pid) in self._ids:
                continue
            if [each for each in self._living.values() if each.start <= stat.start] == [process]:
                orphans.append((pid, stat.start))
        return orphans

    @property
    def next_step(self) -> float | None:
        """When the next step is due, by the monotonic clock; None: no sweep is under way."""
        return max(self._look_at, min(self._due.values())) if self._due else None

    def step(self, now: float) -> dict[str, Sweep] | None:
        """Take the due steps; returns the sweeps that have ended, None: nothing was due."""
        snapshot: proc.Snapshot | None = None

        def look(since: int) -> proc.Snapshot:
            # One walk over /proc serves all sweeps that are due now.
            nonlocal snapshot
            if snapshot is None:
                snapshot = proc.Snapshot(min(self.sweeps[id].since for id in due))
            return snapshot

        due = [id for id, when in self._due.items() if when <= now] if now >= self._look_at else []
        if not due:
            return None
        done: dict[str, Sweep] = {}
        for id in due:
            task = self.sweeps[id]
            try:
                delay = task.step(look)
            except OSError as error:
                # /proc cannot be read now (out of descriptors): the sweep is retried later.
                print_error(error)
                delay = LOOK_AGAIN
            if task.done:
                done[id] = task
            else:
                self._due[id] = time.monotonic() + delay
        for id in done:
            del self.sweeps[id], self._due[id]
        if snapshot is not None:
            # Walks over /proc take half of the time at most: consecutive stops share them.
            after = time.monotonic()
            self._look_at = after + (after - now)
        return done
