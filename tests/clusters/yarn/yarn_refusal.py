"""A server that lets nobody in, or whose clock is wrong: faults that the bed's daemons do not have on demand."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Handler(http.server.BaseHTTPRequestHandler):
    code = 200
    headers_of: dict[str, str] = {}  # noqa: RUF012
    body = b""

    def do_GET(self) -> None:
        self.send_response_only(self.code)
        for name, value in {"Date": self.date_time_string(), **self.headers_of}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def answering(code: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Iterator[str]:
    """The address of a server that answers everything alike."""
    handler = type("Handler", (_Handler,), {"code": code, "headers_of": headers or {}, "body": body})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def ahead_of_time(seconds: float) -> Iterator[str]:
    """A ResourceManager, as far as it says, whose clock is ahead."""
    info = {"clusterInfo": {"id": 1, "startedOn": 1, "haState": "ACTIVE", "hadoopVersion": "3.4.3"}}
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + seconds))
    headers = {"Date": date, "Content-Type": "application/json"}
    with answering(200, headers, json.dumps(info).encode()) as address:
        yield address
