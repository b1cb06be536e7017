"""A fake that injects a fault: relays an API server's answers over plain HTTP, and withholds the events of Jobs."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from kubernetes_bed import Bed


class Relay(ThreadingHTTPServer):
    """The relay. ``late`` is set once it withholds an event of a Job; what is withheld is told after ``open``."""

    daemon_threads = True

    def __init__(self, bed: Bed) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = urlsplit(bed.layout.server)
        self.context = ssl.create_default_context(cafile=str(bed.layout.pki / "ca.crt"))
        self.late, self.open = threading.Event(), threading.Event()

    @property
    def url(self) -> str:
        """Its address, to be named in a kubeconfig."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def relaying(bed: Bed) -> Iterator[Relay]:
    """A relay before a bed's API server."""
    relay = Relay(bed)
    thread = threading.Thread(target=relay.serve_forever, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        relay.open.set()
        relay.shutdown()
        relay.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Relay

    def _relay(self) -> None:
        relay = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        there = http.client.HTTPSConnection(str(relay.address.hostname), relay.address.port, context=relay.context)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        try:
            there.request(self.command, self.path, body, headers)
            answer = there.getresponse()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            withheld = "/jobs?" in self.path and "watch=true" in self.path
            while piece := answer.read1(1 << 16):
                if withheld:
                    relay.late.set()
                    relay.open.wait()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        except OSError:  # the client has closed the connection
            self.close_connection = True
        finally:
            there.close()

    do_GET = do_POST = do_PATCH = do_DELETE = _relay

    def log_message(self, format: str, *args: object) -> None:
        pass
