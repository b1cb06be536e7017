"""A fake: a WebHDFS that stands by, refuses, and loses its answers when told to, which a real one does not on demand.

It keeps files in memory; redirects go to itself, as to a DataNode. What it does follows Hadoop's *WebHDFS REST API*.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, unquote, urlsplit

# Gets the operation and its number; gives status and body instead of the real answer, "lost" to hang up after doing
# what was asked, or None.
Fault = Callable[[str, int], "tuple[int, bytes] | str | None"]


def remote(name: str, words: str = "said so") -> bytes:
    """A RemoteException as JSON."""
    return json.dumps({"RemoteException": {"exception": name, "javaClassName": f"x.{name}", "message": words}}).encode()


class Server:
    """Serves until ``with`` ends. ``files``: path -> content; ``removed``: the folder is not there."""

    def __init__(self, fault: Fault = lambda *_: None, files: dict[str, bytes] | None = None) -> None:
        self.files: dict[str, bytes] = {} if files is None else files
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.fault, self.removed = fault, False
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server._handle(self)

            do_PUT = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.root = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        data = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        parts = urlsplit(request.path)
        query = dict(parse_qsl(parts.query))
        path = unquote(parts.path.partition("/webhdfs/v1")[2])
        operation = query.get("op", "") + (":data" if parts.path.startswith("/node") else "")
        number = sum(operation == asked for asked, _ in self.asked)
        self.asked.append((operation, query))
        fault = self.fault(operation, number)
        answer: tuple[int, bytes, dict[str, str]] = (0, b"", {})
        if not isinstance(fault, tuple):
            answer = self._do(operation, path, query, data, parts.query)
        status, body, headers = answer
        if fault == "lost":
            return
        if isinstance(fault, tuple):
            status, body = fault
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    def _do(
        self, operation: str, path: str, query: dict[str, str], data: bytes, text: str
    ) -> tuple[int, bytes, dict[str, str]]:
        there = {"Location": f"{self.root}/node/webhdfs/v1{quote(path)}?{text}"}
        if operation == "CREATE":
            return 307, b"", there
        if operation == "CREATE:data":
            if self.removed and query.get("createparent") == "false":
                return 404, remote("FileNotFoundException", "Parent directory doesn't exist"), {}
            self.files[path] = data
            return 201, b"", {}
        if operation == "GETFILESTATUS":
            if path not in self.files:
                return 404, remote("FileNotFoundException"), {}
            return 200, json.dumps({"FileStatus": {"modificationTime": 86_400_000, "length": 0}}).encode(), {}
        done = path in self.files and query["destination"] not in self.files
        if done:
            self.files[query["destination"]] = self.files.pop(path)
        return 200, json.dumps({"boolean": done}).encode(), {}
