"""One driver a run: a kernel lock, held by a stopped process too, released by death."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from aiflow_ext.model.errors import StateError

FILE = "driver.lock"


class DriverLock:
    """The right to drive a run. Raises StateError that names the other driver where there is one."""

    def __init__(self, run_folder: Path) -> None:
        self._file = os.open(run_folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = holder(run_folder)
            os.close(self._file)
            stopped = pid is not None and _is_stopped(pid)
            raise StateError(
                f"another process drives this run: pid {pid}" + (", which is stopped (SIGSTOP)" if stopped else ""),
                where=str(run_folder),
                hint=f"wake it: kill -CONT {pid}" if stopped else "follow it: aiflow-ext status RUN --watch",
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Let another driver have the run."""
        os.close(self._file)


def holder(run_folder: Path) -> int | None:
    """The pid of the run's driver, or None where nobody drives it."""
    try:
        file = os.open(run_folder / FILE, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.pread(file, 20, 0) or b"0") or None
    else:
        return None
    finally:
        os.close(file)


def _is_stopped(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] in "Tt"
    except (OSError, IndexError):
        return False
