"""How another process gets a driver's ear: requests stand in the store, a doorbell tells that there is one."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

from aiflow_ext.run.lock import unwritable

BELL = "bell"


class Doorbell:
    """A named pipe in the run's folder; whoever writes into it has ``rung`` called, in a thread."""

    def __init__(self, run_folder: Path, rung: Callable[[], None]) -> None:
        path = run_folder / BELL
        try:
            with contextlib.suppress(FileExistsError):
                os.mkfifo(path, 0o600)
            # Opened for both, so that it never comes to an end when a writer leaves.
            self._pipe = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise unwritable(path, error) from error
        self._rung, self._closed = rung, False
        threading.Thread(target=self._listen, daemon=True, name="aiflow-bell").start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while os.read(self._pipe, 512) and not self._closed:
                self._rung()
        os.close(self._pipe)

    def close(self) -> None:
        """Listen no more."""
        self._closed = True
        with contextlib.suppress(BlockingIOError):
            os.write(self._pipe, b"\n")  # a read that waits ends with nothing else


def ring(run_folder: Path) -> bool:
    """Have the run's driver look at its requests; False where there is none to hear it."""
    try:
        pipe = os.open(run_folder / BELL, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(pipe, b"\n")
    except BlockingIOError:
        pass  # it has been rung often enough
    finally:
        os.close(pipe)
    return True
