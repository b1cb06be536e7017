"""One connection to the server: of which user it may be, and how long it may be without a request."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from aiflow_ext.ui.peer import user_of

IDLE = 10.0  # seconds that a connection may take to send the head of a request, the first one or another one

_log = logging.getLogger("aiflow_ext")


class Connection(H11Protocol):
    """A connection that cannot be held open to keep others out.

    One of another user of this machine is closed unread: the page answers its own user alone, and root, who relays
    connections into containers. One without a request is closed after a time: what is forwarded from another machine
    comes as its own user's, whoever sends it there.
    """

    _told: ClassVar[bool] = False
    _idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Answer it, or close it."""
        super().connection_made(transport)
        user = user_of(self.client, self.server) if self.client and self.server else None  # type: ignore[arg-type]
        if user in (None, 0, os.geteuid()):
            self._wait()
            return
        transport.abort()
        if not Connection._told:  # once: anybody can connect as often as they like
            Connection._told = True
            _log.warning("a connection of user %s was refused: the page answers user %s alone, who has started it",
                         user, os.geteuid())  # fmt: skip

    def on_response_complete(self) -> None:
        """Wait for another request."""
        super().on_response_complete()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        super().connection_lost(exc)
        if self._idle is not None:
            self._idle.cancel()

    def _wait(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = self.loop.call_later(IDLE, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()  # to close it waits until the other end has read what was sent
