"""The clock of a run's folder: the same for every process of one boot, so that setting the clock changes no duration.

The first process records the time of the boot, by the clock as it is then; all add CLOCK_BOOTTIME to it, which cannot
be set and goes on while the machine is suspended.
"""

from __future__ import annotations

import os
import time

from aiflow_ext.shared_folder import share_file
from aiflow_ext.supervise import proc

FILE = "clock"  # the boot's id, and the moment of that boot in seconds since the epoch


class Clock:
    """The clock of a folder; if the folder cannot be read or written, of this process only."""

    def __init__(self, folder: str | int) -> None:
        """Read the time of the boot, or record it. ``folder`` is a path or a descriptor."""
        self._booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        boot = proc.boot_id()
        try:
            number = os.open(folder, os.O_RDONLY | os.O_CLOEXEC) if isinstance(folder, str) else os.dup(folder)
        except OSError:
            return
        try:
            self._booted = _read(number, boot) or _begin(number, boot, self._booted)
        except OSError:
            pass
        finally:
            os.close(number)

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._booted + time.clock_gettime(time.CLOCK_BOOTTIME)


def _read(folder: int, boot: str) -> float | None:
    """The recorded time of this boot; None if it was not recorded."""
    try:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        with open(os.open(FILE, flags, dir_fd=folder)) as file:
            of, booted = file.read(200).split()
        return float(booted) if of == boot and 0 < float(booted) < 1e11 else None
    except (FileNotFoundError, ValueError):
        return None


def _begin(folder: int, boot: str, booted: float) -> float:
    temporary = f".{FILE}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with open(os.open(temporary, flags, 0o600, dir_fd=folder), "w") as file:
        file.write(f"{boot} {booted!r}\n")
        share_file(file.fileno(), folder)
    os.rename(temporary, FILE, src_dir_fd=folder, dst_dir_fd=folder)
    return booted
