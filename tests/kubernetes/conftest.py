"""Fakes of API servers, and kubeconfigs that name them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_cluster import Cluster, serving
from hostile_server import Answer, Asked, HostileServer

from aiflow_ext_kubernetes.target import Target

Serve = Callable[..., HostileServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    started: list[HostileServer] = []

    def start(answer: Answer | Callable[[Asked], Answer], certificate: Path | None = None) -> HostileServer:
        server = HostileServer(answer if callable(answer) else lambda _: answer, certificate)
        started.append(server.__enter__())
        return started[-1]

    yield start
    for each in started:
        each.__exit__()


@pytest.fixture
def target_of(tmp_path: Path) -> Callable[..., Target]:
    def make(url: str, user: dict[str, Any] | None = None, namespace: Any = "n") -> Target:
        content = {
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": user or {"token": "TOKEN"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
            "current-context": "x",
        }
        path = tmp_path / f"kubeconfig-{len(list(tmp_path.iterdir()))}"
        path.write_text(json.dumps(content))
        return Target(str(path))

    return make


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A fake cluster, which KUBECONFIG names."""
    with serving() as made:
        content = {
            "clusters": [{"name": "fake", "cluster": {"server": made.url}}],
            "users": [{"name": "me", "user": {}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "me"}}],
            "current-context": "fake",
        }
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(content))
        monkeypatch.setenv("KUBECONFIG", str(path))
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        yield made
