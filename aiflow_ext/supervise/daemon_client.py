"""A client's connection in the supervisor's loop: reads requests, writes answers and lines of the journal."""

from __future__ import annotations

import collections
import selectors

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any, Protocol

    class Hub(Protocol):
        """The interface of the loop for clients, implemented by :class:`~aiflow_ext.supervise.daemon.Daemon`."""

        selector: selectors.BaseSelector
        clients: set[Client]
        unsent: set[Client]  # those that have something to flush

        def request(self, client: Client, line: bytes) -> None:
            """Execute the request ``line`` and answer it."""


LONGEST_REQUEST = 64 << 20
# bytes: a subscriber that does not read (a stopped driver) is disconnected; it reads the journal later.
LONGEST_BACKLOG = 4 << 20


class Client:
    """One connection."""

    def __init__(self, daemon: Hub, connection: socket.socket) -> None:
        self.daemon, self.connection = daemon, connection
        self.subscribed = False
        self.brief = False
        self.base: dict[str, str] = {}  # the environment that its processes have in common
        # What it has asked for that waits for others to end: spec, umask, beside how many it may run. Gone with it.
        self.queue: collections.deque[tuple[dict[str, Any], int, int]] = collections.deque()
        self.closed = False
        self._in = bytearray()
        self._out = bytearray()
        self._wanted: int = selectors.EVENT_READ
        connection.setblocking(False)
        daemon.selector.register(connection, selectors.EVENT_READ, self.ready)

    def ready(self, events: int) -> None:
        """Read or write the connection, which is ready for it."""
        if events & selectors.EVENT_WRITE:
            self.flush()
        if events & selectors.EVENT_READ and not self.closed:
            try:
                data = self.connection.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data or len(self._in) > LONGEST_REQUEST:
                self.close()
                return
            self._in += data
            while not self.closed and (end := self._in.find(b"\n")) >= 0:
                line = bytes(self._in[:end])
                del self._in[: end + 1]
                self.daemon.request(self, line)

    def send(self, data: bytes, now: bool = True) -> None:
        """Send ``data`` with the next flush; if not ``now``, together with later data."""
        if not self.closed:
            self._out += data
            if now:
                self.daemon.unsent.add(self)

    def flush(self) -> None:
        """Send buffered data, now or as soon as the client reads."""
        if self.closed or not self._out:
            return
        try:
            sent = self.connection.send(self._out)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        del self._out[:sent]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
        if wanted != self._wanted:
            self._wanted = wanted
            self.daemon.selector.modify(self.connection, wanted, self.ready)
        if len(self._out) > LONGEST_BACKLOG:
            self.close()

    def close(self) -> None:
        """Close the connection."""
        if not self.closed:
            self.closed = True
            self.daemon.selector.unregister(self.connection)
            self.connection.close()
            self.daemon.clients.discard(self)
