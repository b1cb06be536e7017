"""A deadline for a whole HTTP answer, its headers included: a time-out of a socket is one for each byte.

For plugins that talk to a service by urllib3, which is imported where a pool is made.
"""

from __future__ import annotations

import functools
import io
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_MOST_LINES = 1000  # http.client reads at most 100 headers, and interim answers and trailers without end
_requests = threading.local()  # .deadline: of the request that this thread makes


class TooSlow(Exception):
    """An answer was not complete by its deadline. No OSError, after which urllib3 would send the request again."""


class Deadline:
    """When an answer must be complete.

    Args:
        seconds: from now on.
        rate: bytes a second that are fast enough, where the size is not known before: each byte puts it off. 0: none.

    Attributes:
        seconds, rate: as given, until they are changed.
    """

    def __init__(self, seconds: float, rate: float = 0.0) -> None:
        self.seconds, self.rate = seconds, rate
        self._at = time.monotonic() + seconds

    def set(self, seconds: float | None) -> None:
        """From now on so many seconds are left; None: as many as it takes."""
        self._at = math.inf if seconds is None else time.monotonic() + seconds
        self.seconds = math.inf if seconds is None else seconds

    def left(self) -> float:
        """Seconds until then. Raises TooSlow where there are none."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TooSlow(f"it takes longer than the {self.seconds:g} s that it may")
        return left

    def note(self, count: int) -> None:
        """So many bytes have come."""
        if self.rate:
            self._at += count / self.rate


@contextmanager
def within(deadline: Deadline) -> Iterator[None]:
    """Have the answers to requests of this thread read by a deadline, also those parts that are read later.

    The requests must be made through a pool that has :func:`pool_classes`.
    """
    _requests.deadline = deadline
    try:
        yield
    finally:
        _requests.deadline = None


def pool_classes() -> dict[str, Any]:
    """The ``pool_classes_by_scheme`` of a ``urllib3.PoolManager``, with connections for :func:`within`."""
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    def timed(pool: Any) -> Any:
        connection = type(pool.ConnectionCls.__name__, (pool.ConnectionCls,), {"response_class": _response})
        return type(pool.__name__, (pool,), {"ConnectionCls": connection})

    return {"http": timed(HTTPConnectionPool), "https": timed(HTTPSConnectionPool)}


def _response(connection: object, sock: Any, *args: Any, **options: Any) -> Any:
    made = _answer_class()(sock, *args, **options)
    deadline: Deadline | None = getattr(_requests, "deadline", None)
    if deadline is not None:
        unlimited, made.fp = made.fp, _Lines(_Input(sock, deadline))
        unlimited.close()
    return made


@functools.lru_cache(maxsize=1)
def _answer_class() -> Any:
    """``HTTPResponse``, but an interim answer is not the answer, and a chunk of a negative size not all until EOF."""
    from http.client import HTTPException, HTTPResponse

    def begin(self: Any) -> None:
        HTTPResponse.begin(self)
        while 100 <= self.status < 200:  # http.client knows 100 alone
            if self.status == 101:
                raise HTTPException("status 101: it switches to another protocol, unasked")
            self.headers = self.msg = None
            HTTPResponse.begin(self)

    def safe_read(self: Any, size: int) -> bytes:
        if size < 0:
            raise HTTPException(f"a chunk of {size} bytes")
        part: bytes = HTTPResponse._safe_read(self, size)  # type: ignore[attr-defined]
        return part

    return type("HTTPResponse", (HTTPResponse,), {"begin": begin, "_safe_read": safe_read})


class _Lines(io.BufferedReader):
    """Limits what is read by lines: headers, trailers, interim answers (1xx)."""

    _count = 0  # lines since the last bytes of a body

    def readline(self, size: int | None = -1, /) -> bytes:
        from http.client import HTTPException

        self._count += 1
        if self._count > _MOST_LINES:
            raise HTTPException(f"more than {_MOST_LINES} lines of headers")
        return super().readline(size)

    def read(self, size: int | None = -1, /) -> bytes:
        self._count = 0
        return super().read(size)


class _Input(io.RawIOBase):
    """A socket's bytes until a deadline; the socket's own timeout applies as well."""

    def __init__(self, sock: Any, deadline: Deadline) -> None:
        self._sock, self._deadline = sock, deadline
        self._raw = sock.makefile("rb", buffering=0)  # keeps the socket open while this is

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left, silence = self._deadline.left(), self._sock.gettimeout()
        shorter = left < (math.inf if silence is None else silence)
        if shorter:
            self._sock.settimeout(left)
        try:
            count: int | None = self._raw.readinto(buffer)
        except OSError:
            self._deadline.left()
            raise
        finally:
            if shorter and self._sock.fileno() >= 0:
                self._sock.settimeout(silence)
        self._deadline.note(count or 0)
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()
