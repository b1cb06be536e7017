"""Ends everything that a process started: its session, its descendants, and every process that has its mark.

The daemon takes the same steps one by one in its loop, and a client without a daemon takes them all at once.

What can still escape: a process that has moved to a session of its own, removed AIFLOW_MARK from its environment *and*
lost its parent before it was seen (the daemon, as subreaper, still ends it when no living process can be its owner any
more); processes that other services start for the job (systemd, cron, docker); and processes that may not be signalled
(another user's, by sudo or a set-uid program).
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
    """Ends a process and all that it started: TERM, a grace period, then KILL until /proc has none of them any more."""

    def __init__(
        self,
        *,
        mark: str | None,
        grace: float,
        since: int = 0,
        roots: Iterable[tuple[int, int]] = (),
        session: int | None = None,
    ) -> None:
        """Prepare to end the processes.

        Args:
            mark: the mark that they have in their environment; None: do not search for a mark.
            grace: seconds between TERM and KILL.
            since: none of them can have started before this (clock ticks since boot); 0 by default.
            roots: (pid, start time) of processes that belong to them, as do their descendants; none by default.
            session: their session, if its number cannot have been reused; None by default.
        """
        self.mark, self.since = mark, since
        self.roots = dict(roots)
        self.sessions = {session} if session else set()
        self.deadline = time.monotonic() + grace
        self.members: dict[int, int] = {}
        self._groups: set[int] = set()
        self._group_of: dict[int, int] = {}
        self._signalled_groups: dict[int, int] = {}  # group -> when it received TERM: clock ticks since boot
        self.refused: dict[int, str] = {}
        self.done = False
        self._asked: set[tuple[int, int]] = set()
        self._delay = FIRST_LOOK
        self._rounds = 0

    def hurry(self, grace: float) -> None:
        """Let the grace period end in ``grace`` seconds, if that is sooner."""
        self.deadline = min(self.deadline, time.monotonic() + grace)

    def step(self, look: Callable[[int], proc.Snapshot]) -> float:
        """Take the due steps and return the seconds until the next one; ``done`` says whether that was the last one.

        Args:
            look: returns a snapshot of all processes started since a tick, taken no earlier than the last step.
        """
        if self._asked and time.monotonic() < self.deadline and self._some_alive():
            return self._pause()
        moving = self._find(look(self.since))
        if not self.members:
            self.done = True
            return 0.0
        if time.monotonic() >= self.deadline:
            # All are stopped (SIGSTOP) before the first one is killed: those that then lose their parent are known
            # already.
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
            self._send_term(fresh)
        return self._pause()

    def _send_term(self, fresh: list[tuple[int, int]]) -> None:
        """Send TERM to each member, once. A stopped process handles it only when it continues."""
        # Its groups as a whole first: that also reaches a child forked since we looked, which its parent may wait for.
        for group in self._groups - self._signalled_groups.keys():
            try:
                os.killpg(group, signal.SIGTERM)
                os.killpg(group, signal.SIGCONT)
            except OSError:
                continue
            self._signalled_groups[group] = int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS)
        for pid, start in fresh:
            self._asked.add((pid, start))
            if start <= self._signalled_groups.get(self._group_of[pid], -1):
                self._signal(pid, start, 0)  # whether it is permitted
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
        """Find all processes that belong to it now; returns whether any of them is new or can still fork."""
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
    """Run ``task`` to its end."""
    while True:
        delay = task.step(proc.Snapshot)
        if task.done:
            return
        time.sleep(delay)
