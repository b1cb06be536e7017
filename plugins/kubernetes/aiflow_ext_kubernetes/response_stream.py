"""An answer that is read as it arrives: a watch, or a log."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

from aiflow_ext.plugin import PlatformError, UnreachableError
from aiflow_ext.plugin.engines import Deadline

LONGEST = 8 << 20  # bytes of a line: an object has at most 3 MiB


class Stream:
    """An answer that is read as it arrives. Raises UnreachableError if it breaks off."""

    def __init__(self, response: Any, deadline: Deadline | None = None) -> None:
        self._response, self._deadline = response, deadline

    def pieces(self) -> Iterator[tuple[bytes, bool]]:
        """Its lines without their newline, each as soon as it has arrived; and whether it had one: all but the last
        do."""
        begun = bytearray()  # of a line that has no end yet
        for data in self._received():
            first, *more = data.split(b"\n")
            begun += first
            if len(begun) > LONGEST:
                raise PlatformError(f"the API server answers with a line of more than {LONGEST >> 20} MiB")
            if more:
                yield bytes(begun), True
                for line in more[:-1]:
                    yield line, True
                begun = bytearray(more[-1])
        if begun:
            yield bytes(begun), False

    def lines(self) -> Iterator[bytes]:
        """Its lines, without their newline; the last one also where it has none."""
        return (line for line, _ in self.pieces())

    def _received(self) -> Iterator[bytes]:
        received = iter(self._response.stream(1 << 16, decode_content=False))
        while True:
            try:
                data = next(received, None)
            except Exception as error:  # urllib3's, the socket's; where another thread has closed it, anything
                words = f"{type(error).__name__}: {str(error)[:500]}"
                raise UnreachableError(f"the answer broke off: {words}") from error
            if data is None:
                return
            yield data

    def close(self) -> None:
        """Close the connection; a thread that is reading from it gets an error."""
        with contextlib.suppress(Exception):
            if (sock := self._socket()) is not None:
                sock.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(Exception):
            self._response.close()

    def wait_at_most(self, silence: float, lasts: float | None, rate: float) -> None:
        """From now on the connection counts as dead after so many seconds without a byte; or when the answer is not
        complete by its deadline, to which every ``rate`` bytes add a second."""
        if self._deadline is not None:
            self._deadline.set(lasts)
            self._deadline.rate = rate
        if (sock := self._socket()) is not None:
            sock.settimeout(silence)

    def _socket(self) -> Any:
        return getattr(getattr(self._response, "_connection", None), "sock", None)
