"""Copies the logs that only a job's handler has into the attempt's own files, in the attempt host."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from aiflow_ext.model.errors import UnreachableError, named
from aiflow_ext.model.job import AbstractJobHandler
from aiflow_ext.run.platforms.outcome import own, takes

STREAMS = {"stdout": 1, "stderr": 2}
PAUSE = 0.5  # seconds between two reads
LAST = 10.0  # seconds for the last reads after the end
MOST = 256 << 20  # bytes that are read after the end at most
PIECE = 1 << 20  # characters that are encoded at once
HEAD = 4096  # first bytes of a log, by which a repetition is recognised
BEYOND = 1 << 40  # an offset beyond every log


class _Log:
    """How much of one stream has been copied.

    Attributes:
        offset: bytes that have been copied.
        head: its first bytes, at most ``HEAD``.
        whole: whether each call returns the whole log; None: not known.
    """

    def __init__(self, whole: bool | None) -> None:
        self.offset, self.head, self.whole = 0, b"", whole


class HandlerLogs:
    """Follows ``handler.logs``, if its author wrote one, in a thread: it may block, and its errors are reported once.

    The bytes are appended to this process's stdout and stderr, which are the attempt's.
    """

    def __init__(self, handler: Any) -> None:
        self._logs = own(handler, "logs") if isinstance(handler, AbstractJobHandler) else None
        self._wanted = list(STREAMS)
        self._silent: str | None = None  # why the platform did not answer in this round
        self._ending = threading.Event()
        self._last = LAST
        self._thread: threading.Thread | None = None
        if self._logs is not None:
            self._takes_offset = takes(self._logs, "stdout", 0)
            self._copied = {stream: _Log(None if self._takes_offset else True) for stream in STREAMS}
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
        log = self._copied[stream]
        before = log.offset
        try:
            data = self._ask(stream, before)
            seen = before if self._is_whole(stream, log, data) else 0
            for piece in _encoded(data):
                if not self._append(stream, log, piece[seen:]):
                    break
                seen = max(0, seen - len(piece))
        except UnreachableError as error:
            self._silent = error.message
        except BaseException as error:  # SystemExit too, which would end the thread unnoticed
            _say(f"the handler's logs() raised {named(error)}")
            self._wanted.remove(stream)
        return log.offset - before

    def _append(self, stream: str, log: _Log, data: memoryview) -> bool:
        """Append ``data``; returns False where it cannot be written: the stream is not read any more."""
        log.head += bytes(data[: HEAD - len(log.head)])
        log.offset += len(data)
        while data:
            try:
                data = data[os.write(STREAMS[stream], data) :]
            except OSError:  # the disk is full: the job goes on all the same
                self._wanted.remove(stream)
                return False
        return True

    def _ask(self, stream: str, offset: int) -> Any:
        assert self._logs is not None
        return self._logs(stream, offset) if self._takes_offset else self._logs(stream)

    def _is_whole(self, stream: str, log: _Log, data: Any) -> bool:
        """Whether ``data`` is the whole log although it was requested from an offset on.

        Where ``data`` begins like the log, an offset beyond every log is requested once: a handler that honours the
        offset returns nothing for it.
        """
        if log.whole is None and log.offset and data and next(_encoded(data))[: len(log.head)] == log.head:
            try:
                log.whole = bool(self._ask(stream, BEYOND))
            except UnreachableError:
                raise
            except Exception:
                log.whole = False
        return log.whole or False


def _encoded(data: Any) -> Iterator[memoryview]:
    """What a handler has returned, as bytes, without a copy of a long log: a long text is encoded in pieces."""
    if isinstance(data, str):
        for start in range(0, len(data), PIECE):
            yield memoryview(data[start : start + PIECE].encode("utf-8", "surrogateescape"))
    else:
        yield memoryview(data or b"").cast("B")


def _say(words: str) -> None:
    with contextlib.suppress(OSError):
        print(f"aiflow-ext: {words}", file=sys.stderr, flush=True)
