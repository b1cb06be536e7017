"""The key of a local cluster: its owner's alone, and told where it cannot be made."""

from __future__ import annotations

import os
import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest

from aiflow_ext_local import flink_tls

ADDRESS = "127.0.0.1"


def test_the_files_of_a_key_are_its_owner_s_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        flink_tls.make_key(tmp_path, ADDRESS)
    finally:
        os.umask(before)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("key.pem", "certificate.pem", "key.p12"), 0o600)


@pytest.mark.parametrize("name", [ADDRESS, "localhost"])
def test_two_with_the_key_believe_each_other_and_nobody_with_another_one(tmp_path: Path, name: str) -> None:
    for folder in ("ours", "theirs"):
        (tmp_path / folder).mkdir()
        flink_tls.make_key(tmp_path / folder, ADDRESS)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "ours/certificate.pem", tmp_path / "ours/key.pem")
    server.load_verify_locations(tmp_path / "ours/certificate.pem")
    server.verify_mode = ssl.CERT_REQUIRED
    assert greeting(server, flink_tls.client_context(tmp_path / "ours"), name) == b"hello"
    theirs = flink_tls.client_context(tmp_path / "theirs")
    assert greeting(server, theirs, name) == b""
    theirs.check_hostname, theirs.verify_mode = False, ssl.CERT_NONE
    assert greeting(server, theirs, name) == b""


def greeting(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> bytes:
    """What a server says to a client; nothing where one does not believe the other."""
    here, there = socket.socketpair()

    def serve() -> None:
        with there:
            try:
                with server.wrap_socket(there, server_side=True) as connection:
                    connection.sendall(b"hello")
            except OSError:
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with here, client.wrap_socket(here, server_hostname=name) as connection:
            return connection.recv(10)
    except OSError:
        return b""
    finally:
        here.close()
        thread.join()


@pytest.mark.parametrize(("says", "words"), [(None, "openssl is not on the PATH"), ("exit 3", "openssl req fails: ")])
def test_a_key_that_cannot_be_made_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str | None, words: str
) -> None:
    if says is not None:
        (tmp_path / "openssl").write_text(f"#!/bin/sh\n{says}\n")
        (tmp_path / "openssl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(flink_tls.NotMade, match=words):
        flink_tls.make_key(tmp_path, ADDRESS)
