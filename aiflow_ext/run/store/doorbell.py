"""Wakes a driver from another process: requests are stored in SQLite, a byte through a FIFO says that there is one."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

from aiflow_ext.run.store.lock import unwritable
from aiflow_ext.shared_folder import share_file

BELL = "bell"


class Doorbell:
    """A FIFO in the run's folder: whenever a process writes into it, ``wake`` is called, in a thread."""

    def __init__(self, run_folder: Path, wake: Callable[[], None]) -> None:
        path = run_folder / BELL
        try:
            with contextlib.suppress(FileExistsError):
                os.mkfifo(path, 0o600)
                share_file(path, run_folder)
            # Opened for reading and writing, so that there is no EOF when a writer closes it.
            self._pipe = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise unwritable(path, error) from error
        self._wake, self._closed = wake, False
        self._lock = (
            threading.Lock()
        )  # held while the pipe is closed: its number may be that of another file afterwards
        threading.Thread(target=self._listen, daemon=True, name="aiflow-bell").start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while os.read(self._pipe, 512) and not self._closed:
                self._wake()
        with self._lock:
            os.close(self._pipe)
            self._pipe = -1

    def close(self) -> None:
        """Close the FIFO and end the thread."""
        self._closed = True
        with self._lock, contextlib.suppress(BlockingIOError):
            if self._pipe >= 0:
                os.write(self._pipe, b"\n")  # nothing else ends a blocking read


def ring(run_folder: Path) -> bool:
    """Wake the run's driver, so that it reads its requests; False if no process reads the FIFO."""
    try:
        pipe = os.open(run_folder / BELL, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        os.write(pipe, b"\n")
    except BlockingIOError:
        pass  # the FIFO is full: the driver will wake up anyway
    finally:
        os.close(pipe)
    return True
