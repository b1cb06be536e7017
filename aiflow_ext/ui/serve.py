"""Serves the page until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import secrets
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from aiflow_ext.model.errors import PlatformError
from aiflow_ext.ui.app import make_app
from aiflow_ext.ui.connection import Connection
from aiflow_ext.ui.runs import Runs

HOST = "127.0.0.1"
_LEAVING = 2  # seconds that answers have to end after the server was told to end


class Page:
    """The page, which listens from now on.

    Args:
        port: of the loopback address; 0 for a free one.
        project: the only project whose runs it has; None for all of this user's.

    Attributes:
        url: its address, with the token that opens it: a secret of its user's.

    Raises PlatformError where the port cannot be had.
    """

    def __init__(self, port: int = 0, project: str | None = None) -> None:
        token = secrets.token_urlsafe(32)
        self._socket = _listening(port)
        # Behind "#", it is sent to no server and in no Referer; the page keeps it for its own origin, port included.
        self.url = f"http://{HOST}:{self._socket.getsockname()[1]}/#token={token}"
        app = make_app(token, Runs(project), lambda: self.is_ending)
        self._server = _Server(
            # Not its warnings: anybody on this machine can send what is no request, as often as they like.
            uvicorn.Config(app, http=Connection, lifespan="off", ws="none", log_config=None, log_level="error",
                           access_log=False, server_header=False, timeout_graceful_shutdown=_LEAVING)
        )  # fmt: skip

    @property
    def is_ending(self) -> bool:
        """Whether :meth:`end` was called."""
        return self._server.should_exit

    def serve(self, began: Callable[[], None] = lambda: None) -> None:
        """Answer requests until :meth:`end` is called. ``began`` is called first."""
        began()
        with self._socket:
            asyncio.run(self._answer())

    async def _answer(self) -> None:
        asyncio.get_running_loop().set_exception_handler(_told)
        await self._server.serve(sockets=[self._socket])

    def end(self) -> None:
        """Have :meth:`serve` return. Any thread may call it."""
        self._server.should_exit = True


class _Server(uvicorn.Server):
    """Leaves signals to its caller."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _told(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Have an error logged as ever, but not that a connection cannot be accepted for want of file descriptors: it is
    tried again, and who opens connections without end would fill the user's terminal."""
    error = context.get("exception")
    if not (isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)):
        loop.default_exception_handler(context)


def _listening(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a page that ended just now may have had this port
        made.bind((HOST, port))
        made.listen(128)
    except OSError as error:
        made.close()
        raise PlatformError(
            f"port {port} of {HOST} cannot be had: {error.strerror}",
            hint="name another one: --port N, or leave it out and take the one that is free",
        ) from error
    return made
