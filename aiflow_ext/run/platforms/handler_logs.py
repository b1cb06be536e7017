"""Copies the logs that only a job's handler has into the attempt's own files, in the attempt host."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from typing import Any

from aiflow_ext.model.errors import UnreachableError, named
from aiflow_ext.model.job import AbstractJobHandler
from aiflow_ext.run.platforms.outcome import own, takes

STREAMS = {"stdout": 1, "stderr": 2}
PAUSE = 0.5  # seconds between two reads
LAST = 10.0  # seconds for the last reads after the end
MOST = 256 << 20  # bytes that are read after the end at most


class HandlerLogs:
    """Follows ``handler.logs``, if its author wrote one, in a thread: it may block, and its errors are reported once.

    The bytes are appended to this process's stdout and stderr, which are the attempt's.
    """

    def __init__(self, handler: Any) -> None:
        self._logs = own(handler, "logs") if isinstance(handler, AbstractJobHandler) else None
        self._wanted = list(STREAMS)
        self._silent: str | None = None  # why the platform did not answer in this round
        self._offsets = dict.fromkeys(STREAMS, 0)
        self._ending = threading.Event()
        self._last = LAST
        self._thread: threading.Thread | None = None
        if self._logs is not None:
            self._whole = not takes(self._logs, "stdout", 0)
            self._thread = threading.Thread(target=self._follow, daemon=True, name="aiflow-logs")
            self._thread.start()

    def finish(self, limit: float = LAST) -> None:
        """Read the rest after the job's end, for about ``limit`` seconds at most."""
        if self._thread is None:
            return
        thread, self._thread = self._thread, None
        self._last = limit
        self._ending.set()
        thread.join(limit + PAUSE)
        if thread.is_alive():
            _say(f"the handler's logs() has not returned for {limit:g} s; the rest is left there")

    def _follow(self) -> None:
        deadline, last = float("inf"), 0
        while self._wanted:
            ending = self._ending.is_set()
            if ending and deadline == float("inf"):
                deadline = time.monotonic() + self._last
            self._silent = None
            fresh = sum(self._take(stream) for stream in list(self._wanted))
            if not ending:
                self._ending.wait(PAUSE if not fresh else PAUSE / 5)
                continue
            last += fresh
            if not fresh and self._silent is None:
                return
            if time.monotonic() > deadline or last > MOST:
                what = f"gives no answer: {self._silent}" if self._silent else "has ever more to give"
                _say(f"the handler's logs() {what}; the rest is left there")
                return
            if not fresh:
                time.sleep(PAUSE)

    def _take(self, stream: str) -> int:
        """Append the new bytes of ``stream``; returns their number."""
        assert self._logs is not None
        offset = self._offsets[stream]
        try:
            data = self._logs(stream) if self._whole else self._logs(stream, offset)
            data = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else bytes(memoryview(data or b""))
        except UnreachableError as error:
            self._silent = error.message
            return 0
        except BaseException as error:  # SystemExit too, which would end the thread unnoticed
            _say(f"the handler's logs() raised {named(error)}")
            self._wanted.remove(stream)
            return 0
        left = memoryview(data)[offset if self._whole else 0 :]
        taken = len(left)
        self._offsets[stream] += taken
        while left:
            try:
                left = left[os.write(STREAMS[stream], left) :]
            except OSError:  # the disk is full: the job goes on all the same
                self._wanted.remove(stream)
                break
        return taken


def _say(words: str) -> None:
    with contextlib.suppress(OSError):
        print(f"aiflow-ext: {words}", file=sys.stderr, flush=True)
