"""Keeps other users of the machine out of the ports of a cluster: Flink's processes, and its client, prove by TLS that
they have one key, which is made for each cluster and is in its private folder.

Flink asks nobody otherwise, and whoever reaches its RPC ports can have it run any code.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiflow_ext.plugin.engines import find_program

SECONDS = 60.0  # that openssl may take
_DAYS = "3650"  # longer than a cluster lives


class NotMade(Exception):
    """There is no key; the message says why."""


def make_key(folder: Path, address: str) -> dict[str, Any]:
    """Make a key and its certificate in a folder. Returns Flink's configuration for both. Raises NotMade.

    Args:
        folder: private to the user.
        address: the IP address that the cluster listens at.
    """
    program = _openssl()
    key, certificate, store = (str(folder / name) for name in ("key.pem", "certificate.pem", "key.p12"))
    password = secrets.token_hex(32)
    _run([program, "req", "-x509", "-newkey", "rsa:2048", "-sha256", "-nodes", "-days", _DAYS, "-subj", "/CN=flink",
          "-addext", f"subjectAltName={_names(address)}", "-keyout", key, "-out", certificate], {})  # fmt: skip
    _run([program, "pkcs12", "-export", "-inkey", key, "-in", certificate, "-name", "flink", "-out", store,
          "-passout", "env:AIFLOW_STORE"], {"AIFLOW_STORE": password})  # fmt: skip
    found: dict[str, Any] = {}
    for kind in ("internal", "rest"):
        found |= {
            f"security.ssl.{kind}.enabled": True,
            f"security.ssl.{kind}.keystore": store,
            f"security.ssl.{kind}.keystore-password": password,
            f"security.ssl.{kind}.keystore-type": "PKCS12",
            f"security.ssl.{kind}.key-password": password,
            f"security.ssl.{kind}.truststore": store,
            f"security.ssl.{kind}.truststore-password": password,
            f"security.ssl.{kind}.truststore-type": "PKCS12",
        }
    return {**found, "security.ssl.rest.authentication-enabled": True}


def _names(address: str) -> str:
    """What the certificate is for: the address, and the names that Flink finds for it on this machine."""
    names = ["localhost"]
    with contextlib.suppress(OSError):
        name, aliases, _ = socket.gethostbyaddr(address)
        names += [name, *aliases]
    known = dict.fromkeys(each for each in names if re.fullmatch(r"[A-Za-z0-9._-]{1,253}", each))
    return ",".join([f"IP:{address}", *(f"DNS:{each}" for each in known)])


def client_context(folder: Path) -> ssl.SSLContext:
    """The TLS context of a client of the REST API, with the key that :func:`make_key` has made in a folder."""
    context = ssl.create_default_context(cafile=str(folder / "certificate.pem"))
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


def _openssl() -> str:
    found = find_program("openssl")
    if found is None:
        raise NotMade("openssl is not on the PATH")
    return found


def _run(argv: list[str], more: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(argv, env={**os.environ, **more}, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=SECONDS, umask=0o077, check=False)  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise NotMade(f"{argv[0]} cannot be run: {error}") from error
    if done.returncode:
        raise NotMade(f"{argv[0]} {argv[1]} fails: {done.stderr.decode(errors='replace').strip()[-500:]}")
