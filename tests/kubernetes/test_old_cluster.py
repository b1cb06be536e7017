"""A fake API server, for a version that the tests' own cluster is not: too old for a field that every Job has."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from aiflow_ext.model.errors import PlatformError
from aiflow_ext.run import prepare_run


class Old(BaseHTTPRequestHandler):
    """Kubernetes 1.24, which allows everything."""

    asked: list[str]

    def do_GET(self) -> None:
        self._answer({"major": "1", "minor": "24+", "gitVersion": "v1.24.17-old"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer({"status": {"allowed": True}})

    def _answer(self, content: dict[str, Any]) -> None:
        self.asked.append(f"{self.command} {self.path}")
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[Path]:
    Old.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Old)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    content = {
        "clusters": [{"name": "old", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "old", "context": {"cluster": "old", "user": "me"}}],
        "current-context": "old",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(content))
    yield path
    server.shutdown()
    server.server_close()


def test_a_cluster_that_is_too_old_is_reported_before_anything_is_sent(
    project: Any, kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    config = {"platform": "kubernetes", "engine": "cmd_line", "image": "x", "kubeconfig": str(kubeconfig)}
    project.jobs("with af.job('a'):\n    af.cmd('true')", json.dumps({"a": config}))
    with pytest.raises(PlatformError, match=r"is Kubernetes v1\.24\.17-old; Jobs that .* need 1\.29") as raised:
        prepare_run(project.root).driver.run()
    assert raised.value.exit_code == 6
    assert "context:" in str(raised.value)
    assert not [asked for asked in Old.asked if "/jobs" in asked or "/secrets" in asked]
