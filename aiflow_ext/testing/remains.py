"""Leftovers of a run: processes with its mark, files outside of its folder."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection
from pathlib import Path

from aiflow_ext.supervise import proc


def marked(run: str) -> dict[int, str]:
    """The living processes of this machine that carry the mark of a run's attempt, with their command lines."""
    found = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        pid = int(entry.name)
        mark = proc.mark_of(pid)
        if mark is None or not mark.startswith(f"{run}:"):
            continue
        stat = proc.read_stat(pid)
        if stat is not None and stat.alive:
            with contextlib.suppress(OSError):
                found[pid] = Path(entry.path, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return found


def commands_with(text: str) -> list[str]:
    """The command lines of this machine that hold ``text``."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                command = Path(entry.path, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if text in command:
                    found.append(command)
    return found


def alive(stat: bytes) -> bool:
    """Whether the process that once had this /proc/PID/stat is alive. False for a process of another machine."""
    if not stat:
        return False
    then = proc.Stat(int(stat.split()[0]), stat)
    now = proc.read_stat(then.pid)
    return now is not None and now.start == then.start and now.alive


def gone_within(stat: bytes, seconds: float) -> bool:
    """Whether that process ends in time: after a signal it is not gone at once."""
    deadline = time.monotonic() + seconds
    while alive(stat):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def kill_marked(run: str) -> None:
    """End what carries the mark of a run's attempt."""
    for pid in marked(run):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_stat(stat: bytes) -> None:
    """End the process that once had this /proc/PID/stat."""
    if alive(stat):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(stat.split()[0]), signal.SIGKILL)


def kill_line(pid: int, since: int, spared: Collection[int]) -> None:
    """End a process and those that it descends from, as far as they began at ``since`` (clock ticks since boot) or
    later, all at once: none of them sees another one's end."""
    line: list[int] = []
    while pid > 1 and pid not in spared and (stat := proc.read_stat(pid)) is not None and stat.start >= since:
        line.append(pid)
        pid = stat.ppid
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for each in reversed(line):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, number)


def files_below(*folders: Path) -> set[str]:
    """Every file and folder below these, but for caches of compiled code."""
    found = set()
    for folder in folders:
        for path in folder.rglob("*"):
            if "__pycache__" not in path.parts:
                found.add(str(path))
    return found


PLACES = ("/tmp", "/var/tmp", "/dev/shm", "~", "~/.cache")
SMALL = 1 << 20  # bytes: larger files are not read


def entries() -> set[str]:
    """The files in the folders where programs usually leave temporary files, whatever TMPDIR is."""
    found = set()
    for place in PLACES:
        with contextlib.suppress(OSError):
            found |= {entry.path for entry in os.scandir(os.path.expanduser(place))}
    return found


def named(paths: Collection[str], words: Collection[str], root: Path) -> list[str]:
    """The files that have one of these words in their name or content: other programs leave files there too."""
    found = []
    for path in sorted(paths):
        if root.is_relative_to(path) or path.startswith(f"{root}/"):
            continue
        files = [path]
        for folder, _, names in os.walk(path):
            files += [os.path.join(folder, name) for name in names][:100]
        if any(word in file for word in words for file in files) or any(_holds(file, words) for file in files):
            found.append(path)
    return found


def _holds(path: str, words: Collection[str]) -> bool:
    with contextlib.suppress(OSError):
        if os.path.isfile(path) and os.path.getsize(path) <= SMALL:
            text = Path(path).read_bytes()
            return any(os.fsencode(word) in text for word in words)
    return False
