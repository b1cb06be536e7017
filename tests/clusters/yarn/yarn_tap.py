"""A proxy in front of a web service that keeps what goes through: what a client really sends, and how often."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class Tap:
    """The proxy, in threads of this process.

    Args:
        target: the service's address.
        before: called with method and path of each request; False: the service does not get it, and the answer is 202.
        after: called once the service has answered, before its answer is passed on.

    Attributes:
        url: its address.
        requests: (time, method, path) of each request.
        submissions: the bodies of submissions, by application id.
    """

    def __init__(
        self,
        target: str,
        before: Callable[[str, str], bool] = lambda method, path: True,
        after: Callable[[str, str], None] = lambda method, path: None,
    ) -> None:
        self.target = urlsplit(target)
        self.requests: list[tuple[float, str, str]] = []
        self.submissions: dict[str, Any] = {}
        tap = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                tap.note(self.command, self.path, body)
                if not before(self.command, self.path):
                    self.send_response_only(202)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                link = http.client.HTTPConnection(tap.target.hostname or "", tap.target.port or 80, timeout=60)
                try:
                    kept = {name: value for name, value in self.headers.items() if name.lower() not in _OURS}
                    link.request(self.command, self.path, body or None, kept)
                    answer = link.getresponse()
                    data = answer.read()
                    after(self.command, self.path)
                    self.send_response_only(answer.status)
                    for name, value in answer.getheaders():
                        if name.lower() not in _OURS:
                            self.send_header(name, value)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:  # the service is away, or the client was killed: as if nobody listened
                    self.close_connection = True
                    with contextlib.suppress(OSError):
                        self.connection.close()
                finally:
                    link.close()

            do_GET = do_POST = do_PUT = do_DELETE = _pass

            def handle(self) -> None:
                with contextlib.suppress(OSError, ValueError):
                    super().handle()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def note(self, method: str, path: str, body: bytes) -> None:
        """Keep what matters of a request."""
        self.requests.append((time.monotonic(), method, path))
        if is_submission(method, path):
            found = json.loads(body)
            self.submissions[found["application-id"]] = found

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def is_submission(method: str, path: str) -> bool:
    """Whether a request starts an application."""
    return method == "POST" and urlsplit(path).path.rstrip("/").endswith("/cluster/apps")


_OURS = ("host", "connection", "transfer-encoding", "content-length")  # of each link its own
