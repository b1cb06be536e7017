"""Whether the kernel has ended a process for want of memory, from the kernel's own counters.

A process that it ends so dies of SIGKILL, as after any ``kill -9``; only the counters tell them apart.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_CGROUPS = "/sys/fs/cgroup"
_KILLED = 9, 137  # the signal, and a shell's exit code for a command that died of it


class OomKills:
    """How many processes the kernel has ended for want of memory: of this process's cgroup, or, where that has no
    counter, of the machine.

    The counter is read at the beginning and when a process has died as such a process would; not for others.
    """

    def __init__(self) -> None:
        found = next(_counters(), None)
        self._file: str | None = found[0] if found else None
        self._seen = [(0.0, found[1] if found else 0)]  # when, in seconds since the boot, and how many by then

    def explain(self, began: float, status: int) -> bool:
        """Whether the end of a process may be one of them: it died of SIGKILL, and the count has grown in its time.

        Args:
            began: when it was started, in seconds since the boot.
            status: as os.wait4 returns it.
        """
        signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        if self._file is None or (signal if signal is not None else os.WEXITSTATUS(status)) not in _KILLED:
            return False
        count = _count(self._file)
        if count is None:
            return False
        before = [seen for at, seen in self._seen if at <= began]  # the last one: at its start, as far as is known
        if count != self._seen[-1][1]:
            self._seen.append((time.clock_gettime(time.CLOCK_BOOTTIME), count))
        return count > before[-1]


def _counters() -> Iterator[tuple[str, int]]:
    """The files that have such a counter, the most exact first, with its value."""
    for file in (*_own_files(), "/proc/vmstat"):
        count = _count(file)
        if count is not None:
            yield file, count


def _own_files() -> Iterator[str]:
    """The files of this process's cgroup, which may be seen elsewhere than it is named: from within a container."""
    try:
        with open("/proc/self/cgroup") as file:
            groups = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return
    for number, controllers, path in groups:
        for place in dict.fromkeys((path, "/")):
            if number == "0":
                yield f"{_CGROUPS}{place.rstrip('/')}/memory.events"
            elif "memory" in controllers.split(","):
                yield f"{_CGROUPS}/{controllers}{place.rstrip('/')}/memory.oom_control"


def _count(file: str) -> int | None:
    """The value of ``oom_kill`` in a file; None if it has none."""
    try:
        with open(file) as opened:
            for line in opened:
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
    except (OSError, ValueError):
        pass
    return None
