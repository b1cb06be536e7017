"""What others get who can connect to the page's port: other users of the machine, and who has no request to make."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from interrupted import until
from patience import PATIENCE
from ui_page import served

# What another user runs: it has the port, and says when it has done its part.
OTHER = """
import encodings.idna, os, socket, sys
port = int(sys.argv[1])
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)

def connect():
    made = socket.socket()
    made.connect(("127.0.0.1", port))
    return made

def ask(request):
    got = b""
    with connect() as there:
        try:
            there.sendall(request.encode())
            while data := there.recv(4096):
                got += data
        except ConnectionError:
            pass
    return got
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="being another user needs root; CI runs this as root")


@contextmanager
def another_user(page: Any, script: str) -> Iterator[str]:
    """A process of another user that runs ``script`` and then waits; what it has printed by then."""
    argv = [sys.executable, "-c", f"{OTHER}\n{script}\nprint(flush=True)\nsys.stdin.read()", str(page.port)]
    with subprocess.Popen(argv, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def head(page: Any, what: str, token: str) -> str:
    """The head of a request as the page itself sends it."""
    return f"{what} HTTP/1.1\\r\\nHost: 127.0.0.1:{page.port}\\r\\nAuthorization: Bearer {token}\\r\\n\\r\\n"


@as_root
@pytest.mark.parametrize("what", ["GET /", "GET /static/app.js", "GET /api/runs", "POST /api/runs/x/stop"])
def test_another_user_gets_no_answer_without_with_a_guessed_and_with_the_right_token(page: Any, what: str) -> None:
    for token in ("", "guess", page.token):
        with another_user(page, f"print(ask('{head(page, what, token)}'))") as said:
            assert said == "b''"


@as_root
def test_another_user_who_opens_500_connections_keeps_nobody_out_and_is_named_once(env: dict[str, str]) -> None:
    with served(env) as page:
        assert page.answer("/api/runs").status == 200
        before = len(os.listdir(f"/proc/{page.process.pid}/fd"))
        with another_user(page, "held = [connect() for _ in range(500)]"):
            assert page.answer("/api/runs").status == 200
            until(lambda: len(os.listdir(f"/proc/{page.process.pid}/fd")) <= before + 1)
        page.process.terminate()
        told = page.process.communicate(timeout=PATIENCE)[1].splitlines()
    assert [line for line in told if "user 65534 was refused" in line] == told[1:]
    assert len(told) == 2


@pytest.mark.slow
def test_a_connection_without_a_request_is_closed_and_one_with_an_answer_that_goes_on_is_not(page: Any) -> None:
    asked = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    held = []
    for sent in (b"", asked[:-1], asked + asked[:-1], b"POST /api/x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"):
        there = socket.create_connection(("127.0.0.1", page.port), timeout=PATIENCE)
        there.sendall(sent)
        held.append(there)
    events = page.answer("/api/events")
    for there in held:
        with there:
            while there.recv(4096):
                pass
    while events.readline() != b": alive\n":  # which comes later than those were closed
        pass
