"""What a job prints in this process: shown as it comes, and kept in the attempt's folder as that of any other job."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Any

from aiflow_ext.regular_file import open_to_append


class JobOutput:
    """``sys.stdout`` and ``sys.stderr`` of a run's jobs. The same for all: a logger may keep one of the two."""

    def __init__(self) -> None:
        self._streams: dict[str, _Kept] = {}

    @contextmanager
    def kept_in(self, folder: str) -> Iterator[None]:
        """Keep what is printed meanwhile in these files of a folder: ``stdout`` and ``stderr``."""
        before = sys.stdout, sys.stderr
        self._streams = self._streams or {"stdout": _Kept(sys.stdout), "stderr": _Kept(sys.stderr)}
        with ExitStack() as files:
            for name, stream in self._streams.items():
                stream.raw.file = files.enter_context(open(open_to_append(f"{folder}/{name}"), "ab", 0))
            sys.stdout, sys.stderr = self._streams["stdout"], self._streams["stderr"]
            try:
                yield
            finally:
                sys.stdout, sys.stderr = before
                for stream in self._streams.values():
                    stream.flush()
                    stream.raw.file = None


class _Kept(io.TextIOWrapper):
    """A stream that also writes to a file, if it has one. A terminal stays one, for debuggers and progress bars."""

    def __init__(self, shown: Any) -> None:
        self.raw: _Both = _Both(shown)
        encoding = getattr(shown, "encoding", None) or "utf-8"
        super().__init__(self.raw, encoding, "backslashreplace", write_through=True)


class _Both(io.RawIOBase):
    def __init__(self, shown: Any) -> None:
        self._shown, self.name = shown, getattr(shown, "name", None)
        self.file: IO[bytes] | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        data = bytes(data)
        if self.file is not None:
            self.file.write(data)
        if self._shown is not None:
            if hasattr(self._shown, "buffer"):
                self._shown.flush()
                self._shown.buffer.write(data)
            else:  # a notebook's
                self._shown.write(data.decode("utf-8", "replace"))
            self._shown.flush()
        return len(data)

    def fileno(self) -> int:
        return int(self._shown.fileno())

    def isatty(self) -> bool:
        return bool(self._shown.isatty())
