"""Ending everything that a process started: its session, its descendants, and whatever carries its mark.

The same steps serve the daemon, which has other things to do between them, and a client that must do without one.

What can still escape: a process that went into a session of its own, dropped AIFLOW_MARK from its environment *and*
lost the parent that tied it to the job before anybody looked (the daemon, as their subreaper, still ends such a one
when no living process can be its owner any more); what other services start on the job's behalf (systemd, cron,
docker); and what we may not signal (another user's, by sudo or a set-uid program).
"""

from __future__ import annotations

import errno
import os
import signal
import time

from aiflow_ext.supervise import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FIRST_LOOK, LAST_LOOK = 0.005, 0.25
MOST_ROUNDS = 20
_TICKS = os.sysconf("SC_CLK_TCK")


class Sweep:
    """One process's end: TERM, a grace period, then KILL until a look at all of /proc finds nothing of it."""

    def __init__(
        self,
        *,
        mark: str | None,
        grace: float,
        since: int = 0,
        roots: Iterable[tuple[int, int]] = (),
        session: int | None = None,
    ) -> None:
        """Prepare to end what belongs to a process.

        Args:
            mark: the mark that its processes carry.
            grace: seconds between TERM and KILL.
            since: nothing of it can have started before this (clock ticks since boot).
            roots: (pid, start time) of processes known to belong to it; their descendants do too.
            session: its session, where that number cannot have passed on to strangers.
        """
        self.mark, self.since = mark, since
        self.roots = dict(roots)
        self.sessions = {session} if session else set()
        self.deadline = time.monotonic() + grace
        self.members: dict[int, int] = {}
        self._groups: set[int] = set()
        self._group_of: dict[int, int] = {}
        self._told: dict[int, int] = {}  # groups that have received TERM, and when: in clock ticks since boot
        self.refused: dict[int, str] = {}
        self.done = False
        self._asked: set[tuple[int, int]] = set()
        self._delay = FIRST_LOOK
        self._rounds = 0

    def hurry(self, grace: float) -> None:
        """Let the grace period end in ``grace`` seconds, if that is sooner."""
        self.deadline = min(self.deadline, time.monotonic() + grace)

    def step(self, look: Callable[[int], proc.Snapshot]) -> float:
        """Do what is due and return the seconds until the next step; ``done`` says whether that was the last one.

        Args:
            look: gives a view of all processes started since some tick, taken no earlier than the last step.
        """
        if self._asked and time.monotonic() < self.deadline and self._some_alive():
            return self._pause()
        moving = self._find(look(self.since))
        if not self.members:
            self.done = True
            return 0.0
        if time.monotonic() >= self.deadline:
            # All stand still before the first one dies: who loses a parent then is known already and cannot escape.
            if moving and self._rounds < MOST_ROUNDS:
                self._rounds += 1
                self._signal_all(signal.SIGSTOP)
                return 0.0
            self._rounds = 0
            self._signal_all(signal.SIGKILL)
            return self._pause()
        fresh = [member for member in self.members.items() if member not in self._asked]
        if fresh:
            self._delay = FIRST_LOOK
            self._ask(fresh)
        return self._pause()

    def _ask(self, fresh: list[tuple[int, int]]) -> None:
        """Send TERM to members, to each once. A stopped process takes it only once it goes on."""
        # Its groups as a whole first: that also reaches a child forked since we looked, which its parent may wait for.
        for group in self._groups - self._told.keys():
            try:
                os.killpg(group, signal.SIGTERM)
                os.killpg(group, signal.SIGCONT)
            except OSError:
                continue
            self._told[group] = int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS)
        for pid, start in fresh:
            self._asked.add((pid, start))
            if start <= self._told.get(self._group_of[pid], -1):
                self._signal(pid, start, 0)  # whether we may
            else:
                self._signal(pid, start, signal.SIGTERM)
                self._signal(pid, start, signal.SIGCONT)

    def _pause(self) -> float:
        delay, self._delay = self._delay, min(self._delay * 2, LAST_LOOK)
        left = self.deadline - time.monotonic()
        return min(delay, left) if left > 0 else delay

    def _some_alive(self) -> bool:
        for pid, start in self.members.items():
            stat = proc.read_stat(pid)
            if stat is not None and stat.start == start and stat.alive:
                return True
        return False

    def _find(self, snapshot: proc.Snapshot) -> bool:
        """Note all that belongs to it now; whether any of that is new or can still fork."""
        barred = {0, 1, os.getpid()}
        offspring: dict[int, list[proc.Stat]] = {}
        inmates: dict[int, list[proc.Stat]] = {}
        found: dict[int, proc.Stat] = {}
        todo: list[proc.Stat] = []
        for stat in snapshot.stats.values():
            if stat.start < self.since:
                continue
            offspring.setdefault(stat.ppid, []).append(stat)
            inmates.setdefault(stat.session, []).append(stat)
            known = stat.start in (self.roots.get(stat.pid), self.members.get(stat.pid))
            if known or stat.session in self.sessions or (self.mark and snapshot.mark(stat.pid) == self.mark):
                todo.append(stat)
        while todo:
            stat = todo.pop()
            if stat.pid in barred:
                continue
            barred.add(stat.pid)
            todo += offspring.get(stat.pid, ())
            if stat.session == stat.pid:
                self.sessions.add(stat.pid)
                todo += inmates.get(stat.pid, ())
            if stat.pid not in self.refused:
                found[stat.pid] = stat
        moved = any(stat.state not in "TtZXx" or pid not in self.members for pid, stat in found.items())
        self.members = {pid: stat.start for pid, stat in found.items()}
        self._group_of = {pid: stat.pgrp for pid, stat in found.items()}
        self._groups = {stat.pgrp for stat in found.values() if stat.session in self.sessions}
        return moved

    def _signal_all(self, number: int) -> None:
        # Its groups as a whole first: that also reaches a child forked since we looked.
        for group in self._groups:
            try:
                os.killpg(group, number)
            except OSError:
                continue
        for pid, start in self.members.items():
            self._signal(pid, start, number)

    def _signal(self, pid: int, start: int, number: int) -> None:
        stat = proc.read_stat(pid)
        if stat is None or stat.start != start:
            return
        try:
            os.kill(pid, number)
        except OSError as error:
            if error.errno == errno.EPERM:
                self.refused[pid] = f"process {pid} could not be ended: {error.strerror}"


def sweep(task: Sweep) -> None:
    """Run ``task`` to its end, here and now."""
    while True:
        delay = task.step(proc.Snapshot)
        if task.done:
            return
        time.sleep(delay)
