"""A deadline for a whole HTTP answer, its headers included: a time-out of a socket is one for each byte."""

from __future__ import annotations

import io
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import http.client
    import socket
    from typing import Any


class TooSlow(Exception):
    """An answer was not complete by its deadline. No OSError, after which a request would be sent again."""


class Deadline:
    """When something must be complete.

    Args:
        seconds: from now on.
        rate: bytes a second that are fast enough, where its size is not known before: each byte puts it off. 0: none.
    """

    def __init__(self, seconds: float, rate: float = 0.0) -> None:
        self.seconds, self._rate = seconds, rate
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until then. Raises TooSlow where there are none."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TooSlow(f"it takes longer than the {self.seconds:g} s that it may")
        return left

    def note(self, count: int) -> None:
        """So many bytes have come, or gone."""
        if self._rate:
            self._at += count / self._rate


def response(deadline: Deadline | None, sock: socket.socket, *args: Any, **options: Any) -> http.client.HTTPResponse:
    """What ``http.client`` is to make of a connection's answer, in place of its own ``response_class``.

    Args:
        deadline: None: there is none.
        sock: as ``response_class`` takes it; likewise what follows.
    """
    from http.client import HTTPResponse  # rendering goes without it

    made = HTTPResponse(sock, *args, **options)
    if deadline is not None:
        unlimited, made.fp = made.fp, io.BufferedReader(_Input(sock, deadline))
        unlimited.close()
    return made


class _Input(io.RawIOBase):
    """A socket's bytes until a deadline."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock, self._deadline, self._silence = sock, deadline, sock.gettimeout()
        self._raw: Any = sock.makefile("rb", buffering=0)  # keeps the socket open while this is

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline.left()
        self._sock.settimeout(left if self._silence is None else min(left, self._silence))
        try:
            count: int | None = self._raw.readinto(buffer)
        except OSError:
            self._deadline.left()
            raise
        self._deadline.note(count or 0)
        return count

    def close(self) -> None:
        if not self.closed:
            try:
                self._sock.settimeout(self._silence)  # for the next request on this connection
            except OSError:
                pass
            self._raw.close()
        super().close()
