"""Lines on stdout that never block a run's driver: the reader of a pipe may pause, or close it."""

from __future__ import annotations

import os
import queue
import select
import threading

from aiflow_ext.cli.escape import one_line
from aiflow_ext.cli.output import lose_stdout, print, stdout

_AT_ONCE = select.PIPE_BUF  # bytes that a pipe takes without waiting where it is writable at all


class Outlet:
    """Writes lines to stdout, at once if that cannot block, else from a thread. Drops them once the reader has closed
    the pipe. ``close`` waits until everything is written."""

    def __init__(self) -> None:
        stdout().flush()
        try:
            self._stdout: int | None = stdout().fileno()
        except (OSError, ValueError):  # a caller has replaced sys.stdout
            self._stdout = None
        self._poll = select.poll()
        if self._stdout is not None:
            self._poll.register(self._stdout, select.POLLOUT)
        self._behind: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._gone = False

    def line(self, text: str) -> None:
        """Write a line; control characters are escaped."""
        if self._gone:
            return
        text = one_line(text)
        if self._stdout is None:
            print(text, flush=True)
            return
        data = f"{text}\n".encode(stdout().encoding, "backslashreplace")
        if self._writer is None and len(data) <= _AT_ONCE and self._poll.poll(0):
            self._write(data)
            return
        if self._writer is None:
            self._writer = threading.Thread(target=self._catch_up, daemon=True, name="aiflow-lines")
            self._writer.start()
        self._behind.put(data)

    def close(self) -> None:
        """Return once everything is written; waits for a reader that pauses."""
        if self._writer is not None:
            self._behind.put(None)
            self._writer.join()

    def _catch_up(self) -> None:
        while (data := self._behind.get()) is not None:
            if not self._gone:
                self._write(data)

    def _write(self, data: bytes) -> None:
        assert self._stdout is not None
        while data:
            try:
                data = data[os.write(self._stdout, data) :]
            except BlockingIOError:  # non-blocking, as the command has inherited it
                self._poll.poll()
            except OSError as error:  # the reader has left, or there is no room; the run is recorded all the same
                self._gone = True
                lose_stdout(error)
                return
