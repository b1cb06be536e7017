"""The page as a process of its own, and requests to it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from patience import PATIENCE


class Page:
    """A page that is served.

    Attributes:
        port: of 127.0.0.1.
        token: what its requests need.
        process: what serves it.
    """

    def __init__(self, env: dict[str, str], *args: str) -> None:
        argv = [sys.executable, "-m", "aiflow_ext", "ui", *args]
        self.process = subprocess.Popen(argv, env=env, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)  # fmt: skip
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        if not self.url:
            raise AssertionError(self.process.communicate(timeout=PATIENCE)[1])
        parts = urlsplit(self.url)
        self.port, self.token = int(parts.port or 0), parts.fragment.removeprefix("token=")

    def answer(self, path: str, data: Any = None, **headers: str | None) -> http.client.HTTPResponse:
        """The answer to a request with the token. ``headers``: others, with _ for -; None leaves one out."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        sent = {"Authorization": f"Bearer {self.token}", "Host": f"127.0.0.1:{self.port}"}
        given = {**sent, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.putrequest("GET" if data is None else "POST", path, skip_host=True)
        for name, value in given.items():
            if value is not None:
                connection.putheader(name, value)
        body = None if data is None else json.dumps(data).encode()
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return connection.getresponse()

    def json(self, path: str, data: Any = None) -> Any:
        """The JSON that it answers; of a refusal ``error``."""
        return json.loads(self.answer(path, data).read())

    def events(self, path: str) -> Iterator[tuple[str, Any]]:
        """The events of a stream as they come."""
        answer = self.answer(path)
        assert answer.status == 200, answer.read()
        name = ""
        while line := answer.readline():
            kind, _, value = line.decode().rstrip("\n").partition(": ")
            if kind == "event":
                name = value
            elif kind == "data":
                yield name, json.loads(value)

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


def own_env(home: Path) -> dict[str, str]:
    """The environment of the commands of some tests: their runs are in no list of anybody else."""
    return {**os.environ, **{f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "STATE", "CONFIG")}}


@contextmanager
def served(env: dict[str, str], *args: str) -> Iterator[Page]:
    """A page, ended afterwards."""
    page = Page(env, *args)
    try:
        yield page
    finally:
        page.close()
