"""A fake: a web service that answers as no real one does: without end, a byte at a time, leading elsewhere."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple


class Asked(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    """What to answer.

    Args:
        repeated: sent again and again after ``body``, until the client closes the connection.
        slow: whether each byte waits a moment for the next.
        raw: whether ``body`` and ``repeated`` are all that is sent: no status line, no headers.
    """

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = {}  # noqa: RUF012 (never changed)
    repeated: bytes = b""
    slow: bool = False
    raw: bool = False


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
# Answers that are none, most of them without end although no line of them is long; and what is said of them.
NO_HTTP = [
    (Answer(body=b"", repeated=b"HTTP/1.1 100 Continue\r\n\r\n" * 100, raw=True), "lines of headers"),
    (Answer(body=b"", repeated=b"HTTP/1.1 102 Processing\r\n\r\n" * 100, raw=True), "lines of headers"),
    (Answer(body=b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n{}", raw=True), "switches to another protocol"),
    (Answer(body=CHUNKED + b"2\r\n{}\r\n0\r\n", repeated=b"X: y\r\n" * 100, raw=True), "lines of headers"),
    (Answer(body=CHUNKED + b"-1\r\n", repeated=b"x" * 65536, raw=True), "a chunk of -1 bytes"),
    (Answer(body=CHUNKED + b"-5\r\n", repeated=b"x" * 65536, raw=True), "a chunk of -5 bytes"),
    (Answer(body=b"z" * 60_000 + b"\r\n\r\n", raw=True), "zzz|in HTTP"),
]


class HostileServer:
    """Serves until ``with`` ends.

    Args:
        answer: what to answer to a request.
        certificate: a PEM file with key and certificate; None: no TLS.
        host: the loopback address to listen at.

    Attributes:
        asked: the requests that came, in order.
        raw: called with the headers of each request as they came, a repeated one more than once.
        url: its address.
    """

    def __init__(
        self, answer: Callable[[Asked], Answer], certificate: Path | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.asked: list[Asked] = []
        self.raw: Callable[[list[tuple[str, str]]], object] = lambda _: None
        self._ended = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, data)
                server.asked.append(asked)
                server.raw(self.headers.items())
                try:
                    server._send(self, answer(asked))
                except OSError:
                    self.close_connection = True  # the client has closed the connection

            do_PUT = do_POST = do_DELETE = do_PATCH = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer((host, 0), Handler)
        self._http.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.url = f"http{'s' if certificate is not None else ''}://{host}:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> HostileServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._http.shutdown()
        self._http.server_close()

    def _send(self, request: BaseHTTPRequestHandler, answer: Answer) -> None:
        lines = [f"HTTP/1.0 {answer.status} Said", *(f"{name}: {value}" for name, value in answer.headers.items())]
        data = "\r\n".join([*lines, "", ""]).encode() + answer.body
        data = answer.body if answer.raw else data
        if answer.slow:
            for index in range(len(data)):
                request.wfile.write(data[index : index + 1])
                if self._ended.wait(0.02):
                    return
        else:
            request.wfile.write(data)
        while answer.repeated and not self._ended.is_set():
            request.wfile.write(answer.repeated)
