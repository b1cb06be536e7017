"""The bytes read of stdout and stderr: in memory up to a size, in temporary files beyond it."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path
from typing import IO

from aiflow_ext.plugin.engines import LOG_TAIL, RAN_WITH, STREAMS, cut_note, log_limit

IN_MEMORY = 1 << 16  # bytes of a stream; more is on disk
TOGETHER = 500  # lines that are written together, or earlier at a read
PIECE = 1 << 20  # bytes that one call gives at most
_KEPT = (RAN_WITH, *STREAMS)  # in this order: with both streams the log is complete


class StreamBuffers:
    """The bytes of both streams, and of what the job ran with as a third: of each up to a limit, and the end of what is
    longer. Safe to use from any thread.

    Args:
        folder: for temporary files; by default the system's.
    """

    def __init__(self, folder: str | None) -> None:
        home = folder if folder is not None and os.path.isdir(folder) else None
        self._lock = threading.Lock()
        self._files: dict[str, IO[bytes]] = {
            stream: tempfile.SpooledTemporaryFile(IN_MEMORY, dir=home)  # noqa: SIM115 (open for as long as this is)
            for stream in _KEPT
        }
        self._pending: dict[str, list[bytes]] = {stream: [] for stream in _KEPT}
        self._limit = log_limit()
        self._sizes = dict.fromkeys(_KEPT, 0)
        self._tails: dict[str, bytearray] = {stream: bytearray() for stream in _KEPT}  # what comes after the limit
        self._left_out = dict.fromkeys(_KEPT, 0)  # bytes between

    def append(self, stream: str, data: bytes) -> None:
        """Add to the end of a stream."""
        if data:
            with self._lock:
                room = max(self._limit - self._sizes[stream], 0)
                self._sizes[stream] += len(data)
                if len(data) > room:
                    self._append_to_tail(stream, data[room:])
                    data = data[:room]
                    if not data:
                        return
                pending = self._pending[stream]
                pending.append(data)
                if len(pending) >= TOGETHER:
                    self._flush(stream)

    def read(self, stream: str, offset: int) -> bytes:
        """At most ``PIECE`` bytes of a stream from byte ``offset`` on."""
        with self._lock:
            self._flush(stream)
            file = self._files[stream]
            file.seek(offset)
            return file.read(PIECE)

    def write(self, folder: Path) -> None:
        """Write each stream as a file into ``folder``: whole or not at all."""
        with self._lock:
            for stream in _KEPT:
                if stream == RAN_WITH and not self._sizes[stream]:
                    continue
                self._flush(stream)
                source = self._files[stream]
                source.seek(0)
                part = folder / f".{stream}.{os.getpid()}.part"
                try:
                    part.unlink(missing_ok=True)  # a job on this machine may have put a FIFO or a link there
                    with open(part, "xb") as target:
                        while data := source.read(PIECE):
                            target.write(data)
                        if left_out := self._left_out[stream]:
                            target.write(cut_note(left_out))
                        target.write(self._tails[stream][-LOG_TAIL:])
                    part.replace(folder / stream)
                finally:
                    part.unlink(missing_ok=True)

    def _append_to_tail(self, stream: str, data: bytes) -> None:
        tail = self._tails[stream]
        tail += data
        if (gone := len(tail) - 2 * LOG_TAIL) > 0:
            del tail[: gone + LOG_TAIL]
        self._left_out[stream] = max(self._sizes[stream] - self._limit - LOG_TAIL, 0)

    def _flush(self, stream: str) -> None:
        """Write what is buffered; the caller holds the lock."""
        if pending := self._pending[stream]:
            file = self._files[stream]
            file.seek(0, os.SEEK_END)
            file.write(b"".join(pending))
            pending.clear()
