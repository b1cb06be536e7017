"""Who gets an answer from the page's server, and what browsers are told to hold to."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path
from typing import Any

import pytest

PATHS = [
    "/api/runs",
    "/api/events",
    "/api/runs/latest",
    "/api/runs/x/events",
    "/api/runs/x/log",
    "/api/nothing",
    "/api/",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("given", [None, "Bearer ", "Bearer wrong", "Basic {token}", "Bearer {token}x", "{token}"])
def test_without_the_token_nothing_is_answered(page: Any, path: str, given: str | None) -> None:
    answer = page.answer(path, Authorization=None if given is None else given.format(token=page.token))
    assert answer.status == 401
    assert b"aiflow-ext ui has printed" in answer.read()


def test_the_token_does_not_count_in_the_query_or_as_a_cookie(page: Any) -> None:
    assert page.answer(f"/api/runs?token={page.token}", Authorization=None).status == 401
    assert page.answer("/api/runs", Authorization=None, Cookie=f"token={page.token}").status == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", "",
                                  "0.0.0.0:{port}", "localhost:{port}", "localhost", "[::1]:{port}",
                                  "127.0.0.1:{port}@evil.example", "localhost.evil.example", None])  # fmt: skip
def test_a_name_that_was_made_to_point_here_gets_no_answer(page: Any, host: str | None) -> None:
    for path in ("/", "/api/runs", "/static/app.js"):
        answer = page.answer(path, Host=None if host is None else host.format(port=page.port))
        assert answer.status in (400, 403)  # HTTP/1.1 without any Host is refused before it is looked at
        assert b"<script" not in answer.read()


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"},
     {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}],
)  # fmt: skip
def test_a_page_of_another_origin_changes_and_reads_nothing_even_with_the_token(page: Any, headers: Any) -> None:
    for path, data in (("/api/runs", None), ("/api/runs/x/stop", {}), ("/api/runs/x/resume", {})):
        answer = page.answer(path, data, **headers)
        assert answer.status == 403
        assert answer.getheader("Access-Control-Allow-Origin") is None


def test_a_link_from_another_page_opens_the_page_and_the_page_itself_is_answered(page: Any) -> None:
    assert page.answer("/", Authorization=None, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200
    own = {"Origin": f"http://127.0.0.1:{page.port}", "Sec_Fetch_Site": "same-origin"}
    assert page.answer("/api/runs", **own).status == 200
    assert page.answer("/api/runs", Host="127.0.0.1:8888").status == 200  # another port forwards to it


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/api/runs", "/api/nothing", "/nothing", "/static/nothing"])
def test_every_answer_forbids_scripts_of_others_frames_and_referers(page: Any, path: str) -> None:
    answer = page.answer(path)
    policy = answer.getheader("Content-Security-Policy") or ""
    for rule in ("default-src 'none'", "script-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"):
        assert rule in policy.split("; ")
    assert "unsafe" not in policy
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert answer.getheader("Referrer-Policy") == "no-referrer"
    assert answer.getheader("X-DNS-Prefetch-Control") == "off"
    assert answer.getheader("Set-Cookie") is None


@pytest.mark.parametrize("path", ["/static/../serve.py", "/static/%2e%2e/serve.py", "/static//etc/passwd",
                                  "/static/..%2f..%2fcli/ui.py",
                                  "/static/%2fetc%2fpasswd", "/../../etc/passwd"])  # fmt: skip
def test_files_beside_the_pages_own_are_not_served(page: Any, path: str) -> None:
    answer = page.answer(path)
    body = answer.read()
    assert answer.status == 404
    assert b"import" not in body
    assert b"root:" not in body


def test_the_token_is_in_no_place_where_another_user_can_read_it(page: Any) -> None:
    for name in ("cmdline", "environ"):
        assert page.token.encode() not in Path(f"/proc/{page.process.pid}/{name}").read_bytes()
    assert len(page.token) >= 43  # 256 bits
    for path in ("/", "/static/app.js", "/static/net.js"):
        assert page.token.encode() not in page.answer(path, Authorization=None).read()


def test_only_the_loopback_address_is_listened_on(page: Any) -> None:
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    port = f":{page.port:04X}"
    assert [each[1] for each in lines if each[1].endswith(port) and each[3] == "0A"] == ["0100007F" + port]


def test_what_is_no_request_harms_nobody(page: Any) -> None:
    for data in (b"\0\1\2\n\n", b"GET /api/runs HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET " + b"x" * 100_000):
        with socket.create_connection(("127.0.0.1", page.port)) as there:
            there.sendall(data)
            there.shutdown(socket.SHUT_WR)
            assert b" 200 " not in there.recv(100)
    connection = http.client.HTTPConnection("127.0.0.1", page.port)
    connection.request("TRACE", "/", headers={"Authorization": f"Bearer {page.token}"})
    assert connection.getresponse().status == 405
    assert page.answer("/api/runs").status == 200
