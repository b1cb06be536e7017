"""How a kubeconfig, or a pod's service account, becomes a connection: keys, certificates, names, passwords, tokens."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hostile_server import Answer, HostileServer

from aiflow_ext.model.errors import PlatformError
from aiflow_ext_kubernetes import objects, server, service_account
from aiflow_ext_kubernetes.login import moment
from aiflow_ext_kubernetes.target import Target

Serve = Callable[..., HostileServer]
EMPTY = Answer(200, b'{"metadata": {}, "items": []}')


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with ``ca``, a certificate for the name ``cluster`` and no address; ``key``, its key; and ``both``."""
    folder = tmp_path / "keys"
    folder.mkdir()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-subj", "/CN=cluster", "-addext", "subjectAltName=DNS:cluster", "-days", "2",
                    "-keyout", "key", "-out", "ca"], cwd=folder, check=True, capture_output=True)  # fmt: skip
    (folder / "both").write_text((folder / "key").read_text() + (folder / "ca").read_text())
    return folder


def config(target: Target, **cluster: Any) -> Target:
    """The target, with more in its cluster."""
    path = Path(str(target.kubeconfig))
    content = json.loads(path.read_text())
    content["clusters"][0]["cluster"].update(cluster)
    path.write_text(json.dumps(content))
    return target


def data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def test_a_name_and_a_password_are_sent(serve: Serve, target_of: Callable[..., Target]) -> None:
    fake = serve(EMPTY)
    objects.pods_of(target_of(fake.url, {"username": "jané", "password": "s:t"}), "j")
    assert fake.asked[0].headers["authorization"] == f"Basic {base64.b64encode('jané:s:t'.encode()).decode()}"


def test_a_certificate_in_the_kubeconfig_itself_counts_before_a_file_and_is_left_nowhere(
    serve: Serve, target_of: Callable[..., Target], keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = serve(EMPTY, keys / "both")
    pair = {"client-certificate-data": data(keys / "ca"), "client-key-data": data(keys / "key")}
    target = config(target_of(fake.url, pair), **{"certificate-authority-data": data(keys / "ca"),
                    "certificate-authority": str(tmp_path / "none"), "tls-server-name": "cluster"})  # fmt: skip
    made: list[Path] = []

    class Noted(tempfile.TemporaryDirectory):  # type: ignore[type-arg]
        def __enter__(self) -> str:
            made.append(Path(self.name))
            return self.name

    monkeypatch.setattr(tempfile, "TemporaryDirectory", Noted)
    assert objects.pods_of(target, "j") == []
    assert [folder.exists() for folder in made] == [False]


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ({}, "is not trusted"),
        ({"tls-server-name": "another"}, "is not trusted"),
        ({"tls-server-name": "cluster"}, None),
        ({"insecure-skip-tls-verify": True}, None),
    ],
)
def test_the_server_must_have_the_name_that_the_kubeconfig_says(
    serve: Serve, target_of: Callable[..., Target], keys: Path, cluster: dict[str, Any], words: str | None
) -> None:
    fake = serve(EMPTY, keys / "both")
    target = config(target_of(fake.url), **{"certificate-authority": str(keys / "ca")}, **cluster)
    if words is None:
        assert objects.pods_of(target, "j") == []
        return
    with pytest.raises(PlatformError, match=words):
        objects.pods_of(target, "j")
    assert fake.asked == []


def test_a_file_that_is_not_there_is_named(serve: Serve, target_of: Callable[..., Target], keys: Path) -> None:
    target = config(target_of(serve(EMPTY, keys / "both").url), **{"certificate-authority": "/nonexistent/ca"})
    with pytest.raises(PlatformError, match="certificate-authority: there is no file /nonexistent/ca"):
        objects.pods_of(target, "j")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("2026-01-31T12:00:00Z", 1769860800),
        ("2026-01-31t12:00:00.123456789z", 1769860800.123456),
        ("2026-01-31 13:30:00+01:30", 1769860800),
        (datetime(2026, 1, 31, 12), 1769860800),  # what YAML makes of it
        (datetime(2026, 1, 31, 12, tzinfo=timezone.utc), 1769860800),
    ],
)
def test_a_login_says_when_it_expires(given: Any, seconds: float) -> None:
    assert moment(given) == seconds


@pytest.mark.parametrize("given", ["", "tomorrow", "2026-13-01T00:00:00Z", 10**400, "2026-01-31T12:00:00"])
def test_a_time_that_is_none_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match=r"is no time|must be in"):
        moment(given)


# -- a pod's service account ------------------------------------------------------------------------------------------


@pytest.fixture
def account(tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of one, whose authority is that of a certificate for 127.0.0.1."""
    folder = tmp_path / "account"
    folder.mkdir()
    subprocess.run(["openssl", "req", "-x509", "-key", str(keys / "key"), "-subj", "/CN=pod", "-days", "2",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-out", "ca.crt"], cwd=folder, check=True,
                   capture_output=True)  # fmt: skip
    (folder / "both").write_text((keys / "key").read_text() + (folder / "ca.crt").read_text())
    (folder / "token").write_text("FIRST\n")
    (folder / "namespace").write_text("its-own\n")
    monkeypatch.setattr(service_account, "FOLDER", folder)
    monkeypatch.setattr(service_account, "TOKEN", folder / "token")
    monkeypatch.setattr(service_account, "AUTHORITY", str(folder / "ca.crt"))
    monkeypatch.setattr(server, "_servers", {})
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return folder


def test_a_pod_uses_its_service_account_and_the_token_that_is_newest(
    serve: Serve, account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = serve(EMPTY, account / "both")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", fake.url.rpartition(":")[2])
    objects.pods_of(Target(), "j")
    (account / "token").write_text("SECOND")
    objects.pods_of(Target(), "j")
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + service_account.KEPT)
    objects.pods_of(Target(), "j")
    assert {asked.path.split("?")[0] for asked in fake.asked} == {"/api/v1/namespaces/its-own/pods"}
    assert [asked.headers["authorization"] for asked in fake.asked] == ["Bearer FIRST"] * 2 + ["Bearer SECOND"]


@pytest.mark.parametrize("missing", ["token", "ca.crt", "the variables"])
def test_a_service_account_that_is_incomplete_is_named(
    account: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    for name, value in (("HOST", "127.0.0.1"), ("PORT", "9")):
        monkeypatch.setenv(f"KUBERNETES_SERVICE_{name}", "" if missing == "the variables" else value)
    if missing != "the variables":
        (account / missing).unlink()
    with pytest.raises(PlatformError, match="the pod's service account cannot be used"):
        objects.pods_of(Target(), "j")


@pytest.mark.parametrize("kind", ["fifo", "endless"])
@pytest.mark.parametrize("name", ["token", "ca.crt", "namespace"])
def test_a_part_of_a_service_account_that_is_no_file_is_named_and_not_waited_for(
    account: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    for variable, value in (("HOST", "127.0.0.1"), ("PORT", "9")):
        monkeypatch.setenv(f"KUBERNETES_SERVICE_{variable}", value)
    (account / name).unlink()
    if kind == "fifo":
        os.mkfifo(account / name)
    else:
        (account / name).symlink_to("/dev/zero")
    with pytest.raises(PlatformError, match=r"it is a (FIFO|device), not a regular file"):
        objects.pods_of(Target(), "j")
