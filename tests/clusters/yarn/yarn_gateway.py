"""A gateway in front of a bed's web services: paths, user and redirects are rewritten as Apache Knox does."""

from __future__ import annotations

import base64
import ssl
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from yarn_bed import Bed
from yarn_tls import Certificate

_HEADERS = ("Content-Type", "Accept")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


class Gateway:
    """Serves until ``with`` ends; for one user, with a password.

    Attributes:
        url: below which the services are, as of a topology.
        paths: of the requests that it has let through, in order.
    """

    def __init__(self, bed: Bed, certificate: Certificate, user: str, password: str) -> None:
        self.paths: list[str] = []
        basic = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
        opener = urllib.request.build_opener(_NoRedirect)
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers.get("Authorization") != basic:
                    self._answer(401, {"WWW-Authenticate": 'Basic realm="application"'}, b"")
                    return
                path, _, query = self.path.partition("?")
                gateway.paths.append(path)
                given = dict(parse_qsl(query))
                target = given.pop("_", None)
                if target is None:
                    given = {name: value for name, value in given.items() if name != "user.name"}
                    base = path.removeprefix("/gateway/bed")
                    if base.startswith("/resourcemanager/"):
                        target = f"{bed.rm}/ws{base.removeprefix('/resourcemanager')}"
                    elif base.startswith("/webhdfs/v1/"):
                        target = f"{bed.webhdfs}{base.removeprefix('/webhdfs/v1')}"
                    else:
                        self._answer(404, {}, b"")
                        return
                    target = f"{target}?{urlencode({**given, 'user.name': user})}"
                headers = {name: self.headers[name] for name in _HEADERS if name in self.headers}
                request = urllib.request.Request(target, data or None, headers, method=self.command)
                try:
                    with opener.open(request, timeout=60) as found:
                        self._answer(found.status, dict(found.headers), found.read())
                except urllib.error.HTTPError as error:
                    self._answer(error.code, dict(error.headers), error.read())

            do_PUT = do_POST = do_DELETE = do_GET

            def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name in ("Content-Type", "WWW-Authenticate"):
                    if name in headers:
                        self.send_header(name, headers[name])
                if location := headers.get("Location"):
                    data = f"{gateway.url}/webhdfs/data/v1{quote(unquote(urlsplit(location).path))}"
                    self.send_header("Location", f"{data}?_={quote(location, safe='')}")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.ca, certificate.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://localhost:{self._server.server_port}/gateway/bed"

    def __enter__(self) -> Gateway:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
