"""examples/extension-notify, against a real mail server and a real webhook on loopback."""

from __future__ import annotations

import email
import json
import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from dist_info import install

EXAMPLE = Path(__file__).parents[2] / "examples" / "extension-notify"
KINDS = '"*": {platform: local}\n'
BODY = 'with af.job("good"): af.cmd("true")\nwith af.job("bad"): af.cmd("exit 3")'


class MailServer(socketserver.StreamRequestHandler):
    """As much of SMTP (RFC 5321) as a client needs to hand in a message."""

    def handle(self) -> None:
        self.wfile.write(b"220 ready\r\n")
        for line in self.rfile:
            word = line.split(b" ", 1)[0].strip().upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.got.append(email.message_from_bytes(b"".join(lines)))  # type: ignore[attr-defined]
            self.wfile.write(b"250 ok\r\n" if word != b"QUIT" else b"221 bye\r\n")
            if word == b"QUIT":
                return


class Webhook(BaseHTTPRequestHandler):
    refusals = 0

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.refusals:  # type: ignore[attr-defined]
            self.server.refusals -= 1  # type: ignore[attr-defined]
            self.send_error(503)
            return
        self.server.got.append(json.loads(body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def serving(server: Any) -> Iterator[Any]:
    server.got, server.refusals = [], 0
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def notified(tmp_path: Path, cli_env: dict[str, str]) -> dict[str, str]:
    """The environment of a command that has the example installed, by what its pyproject.toml advertises."""
    entry = re.search(r"^notify = \"(.*)\"$", (EXAMPLE / "pyproject.toml").read_text(), re.MULTILINE)
    assert entry is not None
    site = tmp_path / "site"
    files = {"aiflow_ext_notify.py": (EXAMPLE / "aiflow_ext_notify.py").read_text()}
    install(site, "aiflow-ext-notify", {"extensions": {"notify": entry[1]}}, files)
    return {**cli_env, "PYTHONPATH": str(site)}


def test_a_failed_job_is_told_by_mail_and_by_webhook_and_others_are_not(project, cli, notified) -> None:
    project.jobs(BODY, KINDS)
    with serving(socketserver.TCPServer(("127.0.0.1", 0), MailServer)) as mail, \
         serving(HTTPServer(("127.0.0.1", 0), Webhook)) as hook:  # fmt: skip
        hook.refusals = 1  # it is tried again
        more = {
            "AIFLOW_NOTIFY_SMTP": f"127.0.0.1:{mail.server_address[1]}",
            "AIFLOW_NOTIFY_TO": "team@example.org",
            "AIFLOW_NOTIFY_WEBHOOK": "env:THE_HOOK",
            "THE_HOOK": f"http://127.0.0.1:{hook.server_address[1]}/hook",
        }
        done = cli("run", project.root, "--json", env={**notified, **more})
    record = json.loads(done.stdout)
    (posted,), (message,) = hook.got, mail.got
    assert (posted["job"], posted["state"], posted["run"]) == ("bad", "FAILED", record["run"])
    assert "exit code 3" in posted["text"]
    assert message["Subject"] == f"bad FAILED in run {record['run']}"
    assert message["To"] == "team@example.org"
    assert f"aiflow-ext logs {record['run']} bad" in message.get_payload()
    assert record["extensions"][0]["problem"] is None


def test_a_server_that_is_not_there_fails_no_run_and_is_seen_in_status(project, cli, notified) -> None:
    project.jobs('with af.job("bad"): af.cmd("exit 3")\nwith af.job("good"): af.cmd("true")', KINDS)
    with socketserver.TCPServer(("127.0.0.1", 0), MailServer) as closed:
        address = f"127.0.0.1:{closed.server_address[1]}"
    env = {**notified, "AIFLOW_NOTIFY_SMTP": address, "AIFLOW_NOTIFY_TO": "team@example.org"}
    assert cli("run", project.root, env=env).returncode == 1
    shown = json.loads(cli("status", "latest", "--project", project.root, "--json", env=env).stdout)
    assert [job["state"] for job in shown["jobs"]] == ["FAILED", "FINISHED"]
    (extension,) = shown["extensions"]
    assert "smtp: ConnectionRefusedError" in extension["problem"]
    assert extension["delivered"] == extension["last"]
