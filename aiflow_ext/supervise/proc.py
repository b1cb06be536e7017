"""Reads /proc: which processes are alive, their parents, start times and ends."""

from __future__ import annotations

import os
import struct
import time

from aiflow_ext.supervise import kernel

MARK_VARIABLE = b"AIFLOW_MARK="
_boot = ""


class Stat:
    """One line of /proc/PID/stat. ``start`` (clock ticks since boot) and ``pid`` together identify a process
    uniquely."""

    __slots__ = ("exit_status", "pgrp", "pid", "ppid", "session", "start", "state", "threads")

    def __init__(self, pid: int, line: bytes) -> None:
        # The command's name may hold spaces and brackets: the fields begin after the last bracket.
        fields = line[line.rindex(b")") + 2 :].split()
        self.pid = pid
        self.state = fields[0].decode()
        self.ppid, self.pgrp, self.session = int(fields[1]), int(fields[2]), int(fields[3])
        self.threads, self.start = int(fields[17]), int(fields[19])
        self.exit_status = int(fields[49])

    @property
    def alive(self) -> bool:
        """Whether it is alive; also if its first thread has ended and others have not."""
        return self.state not in "ZXx" or (self.state == "Z" and self.threads > 1)


def read_stat(pid: int) -> Stat | None:
    """The stat line of ``pid``, or None if there is no such process."""
    line = _read(f"/proc/{pid}/stat")
    try:
        return Stat(pid, line) if line else None
    except (ValueError, IndexError):
        return None


def boot_id() -> str:
    """The id of this boot of the machine: pids and start times are only valid in it."""
    global _boot
    if not _boot:
        _boot = _read("/proc/sys/kernel/random/boot_id").decode().strip()
    return _boot


_this_boot = boot_id


def start_time(pid: int) -> int | None:
    """When ``pid`` started, in clock ticks since boot; None: no such process."""
    stat = read_stat(pid)
    return stat.start if stat else None


_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def ticks() -> int:
    """Now, in clock ticks since boot: the clock of :attr:`Stat.start` (proc_pid_stat(5))."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // _TICK


def began_since(moment: int, pid: int) -> int | None:
    """:func:`start_time` of a process that was started at ``moment`` or later; needs no system call within that tick.

    Args:
        moment: clock ticks since boot.
        pid: the process.
    """
    return moment if ticks() == moment else start_time(pid)


def process_alive(pid: int, start_time: int, boot_id: str) -> bool:
    """Whether a process is still alive; another process that has its pid does not count.

    Args:
        pid: the process.
        start_time: when it was started, in clock ticks since boot.
        boot_id: of the boot in which it was started (/proc/sys/kernel/random/boot_id).
    """
    stat = read_stat(pid)
    if stat is None or stat.start != start_time or not stat.alive:
        return False
    return boot_id == _this_boot()


def children(pid: int) -> list[int]:
    """The children of ``pid`` (a process with one thread), dead ones not yet waited for included."""
    path = f"/proc/{pid}/task/{pid}/children"
    listed = _read(path)
    if listed or os.path.exists(path):
        return [int(child) for child in listed.split()]
    # A kernel built without that file.
    return [stat.pid for stat in Snapshot().stats.values() if stat.ppid == pid]


def mark_of(pid: int) -> str | None:
    """The AIFLOW_MARK in the environment that ``pid`` was executed with, if it may be read."""
    environ = _read(f"/proc/{pid}/environ")
    if not environ or MARK_VARIABLE not in environ:
        return None
    for entry in environ.split(b"\0"):
        if entry.startswith(MARK_VARIABLE):
            return entry[len(MARK_VARIABLE) :].decode("utf-8", "surrogateescape")
    return None


class Snapshot:
    """Every living process that started at ``since`` or later, as a walk over /proc saw it.

    The walk is repeated for the pids that are new until there are none: a process that forks and exits faster than
    /proc is read is in no single listing.
    """

    def __init__(self, since: int = 0) -> None:
        self.stats: dict[int, Stat] = {}
        self._marks: dict[int, str | None] = {}
        seen: set[str] = set()
        for _ in range(100):
            # The newest first: they are the ones that may be gone in a moment.
            new = sorted((name for name in os.listdir("/proc") if name.isdigit() and name not in seen), key=int)
            if not new:
                break
            seen.update(new)
            for name in reversed(new):
                stat = read_stat(int(name))
                if stat is not None and stat.start >= since and stat.alive:
                    self.stats[stat.pid] = stat

    def mark(self, pid: int) -> str | None:
        """The mark that ``pid`` carries; read once."""
        if pid not in self._marks:
            self._marks[pid] = mark_of(pid)
        return self._marks[pid]


def open_pidfd(pid: int, start: int) -> int | None:
    """A descriptor that becomes readable when a process ends; None: it is gone, or the kernel gives none.

    Args:
        pid: the process.
        start: when it was started, in clock ticks since boot; another process with its pid does not count.
    """
    try:
        descriptor = kernel.pidfd_open(pid)
    except OSError:
        return None
    # Only now can the pid not be reused: check that it is the same process.
    if start_time(pid) != start:
        os.close(descriptor)
        return None
    return descriptor


_PIDFD_GET_INFO = 0xC040FF0B
_PIDFD_INFO_EXIT = 1 << 3


def exit_status(pid: int, start: int, pidfd: int | None) -> int | None:
    """The wait status of an ended process that is not a child of this one; None: the kernel does not have it any more.

    A zombie has it in its stat line; Linux 6.15 and newer keep it as long as a pidfd is open.

    Args:
        pid: the process.
        start: when it was started, in clock ticks since boot.
        pidfd: of :func:`open_pidfd`, or None.
    """
    stat = read_stat(pid)
    if stat is not None and stat.start == start and not stat.alive and _may_trace(pid):
        return stat.exit_status
    if pidfd is None:
        return None
    import fcntl

    request = bytearray(struct.pack("=QQ12Ii", _PIDFD_INFO_EXIT, *[0] * 14).ljust(64, b"\0"))
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, request)
    except OSError:
        return None
    mask = struct.unpack_from("=Q", request)[0]
    return struct.unpack_from("=i", request, 60)[0] if mask & _PIDFD_INFO_EXIT else None


def _may_trace(pid: int) -> bool:
    # Without the permission to ptrace, the exit code in stat is 0: only the owner sees the true one.
    try:
        return os.geteuid() in (0, os.stat(f"/proc/{pid}").st_uid)
    except OSError:
        return False


def _read(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        data = os.read(descriptor, 65536)
        while len(data) % 65536 == 0:
            more = os.read(descriptor, 65536)
            if not more:
                break
            data += more
        return data
    except OSError:
        return b""
    finally:
        os.close(descriptor)
