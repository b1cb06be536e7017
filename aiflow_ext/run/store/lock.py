"""One driver a run: a kernel lock, held by a stopped process too, released by death."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from aiflow_ext.model.errors import StateError
from aiflow_ext.shared_folder import share_file
from aiflow_ext.supervise import journal

FILE = "driver.lock"
LOOKING = "looking"  # written beside the pid of a process that only refreshes the records
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # no link to another file, no wait for a FIFO
PATIENCE = 30.0  # seconds to wait for a process that only refreshes the records
# Seconds to wait for a dead driver: a child that it was just starting has the lock until it executes its program.
PATIENCE_DEAD = 10.0
PATIENCE_ENDED = 10.0  # seconds to wait for the driver of a run that has ended: it is about to let go


class DriverLock:
    """The right to drive a run, or to write its records for a moment.

    Raises StateError that names the other driver, if there is one.

    Args:
        run_folder: the run's folder.
        looking: only to refresh the records; a driver waits for that, and the holder is not shown as a driver.
        ended: whether the run has ended, so that its driver, if there is one still, is about to end, too.
    """

    def __init__(self, run_folder: Path, *, looking: bool = False, ended: bool = False) -> None:
        try:
            self._file = os.open(run_folder / FILE, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
            share_file(self._file, run_folder)
        except OSError as error:
            raise unwritable(run_folder, error) from error
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            os.close(self._file)
            raise StateError("the lock of the run's driver is no regular file", where=str(run_folder / FILE),
                             hint="remove what is in its place")  # fmt: skip
        began = time.monotonic()
        while not self._lock(run_folder):
            pid, looks = _signature(self._file)
            patience = PATIENCE_DEAD if not _lives(pid) else PATIENCE if looks and not looking else 0.0
            patience = max(patience, PATIENCE_ENDED if ended else 0.0)
            if time.monotonic() - began < patience:
                time.sleep(0.01)
                continue
            os.close(self._file)
            stopped = pid is not None and is_stopped(pid)
            follow = f"follow it: aiflow-ext status {run_folder.name} --watch"
            raise StateError(
                f"another process drives this run: pid {pid}" + (", which is stopped (SIGSTOP)" if stopped else ""),
                where=str(run_folder),
                hint=f"wake it: kill -CONT {pid}" if stopped else follow,
            )
        try:  # in one write, so that it is never read half-written
            os.pwrite(self._file, f"{os.getpid()} {LOOKING if looking else ''}".ljust(32).encode(), 0)
        except OSError as error:
            os.close(self._file)
            raise unwritable(run_folder, error) from error

    def _lock(self, run_folder: Path) -> bool:
        try:
            return journal.lock(self._file)
        except OSError as error:
            os.close(self._file)
            raise _no_locks(run_folder, error) from error

    def release(self) -> None:
        """Release the lock, so that another driver may take the run."""
        journal.unlock(self._file)  # a child that is just being started has a copy of the descriptor until it executes
        os.close(self._file)


def unwritable(path: Path, error: OSError) -> StateError:
    """The error for a run's folder, or a file in it, that cannot be written."""
    return StateError(
        f"the run's folder cannot be written: {error.strerror}",
        where=str(path),
        hint="give permission or make room there",
    )


def _no_locks(run_folder: Path, error: OSError) -> StateError:
    return StateError(
        f"whether this run has a driver is not known: {error.strerror}",
        where=str(run_folder),
        hint="keep state on a local disk (AIFLOW_STATE=/path), on a machine with Linux 5.4 or newer",
    )


def holder(run_folder: Path) -> int | None:
    """The pid of the run's driver, or None if it has none. Does not disturb a driver."""
    try:
        file = os.open(run_folder / FILE, os.O_RDONLY | _FLAGS)
    except OSError:
        return None
    try:
        if not journal.locked_file(file):
            return None
        pid, looks = _signature(file)
        return None if looks else pid
    except OSError as error:
        raise _no_locks(run_folder, error) from error
    finally:
        os.close(file)


def _signature(file: int) -> tuple[int | None, bool]:
    """The pid in the lock's file, and whether it only refreshes the records. It is written just after the lock is
    taken."""
    pid: int | None = None
    words: list[bytes] = []
    for _ in range(100):
        words = os.pread(file, 32, 0).split()
        pid = int(words[0]) if words and words[0].isdigit() and len(words[0]) < 20 else None
        if _lives(pid):
            break
        if not journal.locked_file(file):
            break
        time.sleep(0.005)
    return pid, LOOKING.encode() in words


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped (SIGSTOP)."""
    return _process_state(pid) in ("T", "t")


def _lives(pid: int | None) -> bool:
    """Whether there is such a process, and it is not a zombie, which has no locks."""
    return pid is not None and _process_state(pid) not in (None, "Z", "X")


def _process_state(pid: int) -> str | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return None
