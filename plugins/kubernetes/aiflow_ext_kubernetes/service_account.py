"""The service account of the pod that the client itself runs in."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import NamedTuple

from aiflow_ext.plugin.engines import read_whole

FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
AUTHORITY = str(FOLDER / "ca.crt")
TOKEN = FOLDER / "token"
LARGEST_TOKEN = 1 << 20  # bytes of a token's file that are read
KEPT = 60.0  # seconds after which the token is read again: the kubelet replaces it before it expires


class Account(NamedTuple):
    """How a pod reaches its own cluster.

    Args:
        url: of the API server.
        namespace: the pod's.
        authorization: see ``Credentials``.
    """

    url: str
    namespace: str
    authorization: Token


class Token:
    """The header ``Authorization``, from the token's file."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value, self._read_at = "", 0.0

    def __call__(self) -> str:
        """Raises OSError, and ValueError where the file is empty."""
        with self._lock:
            now = time.monotonic()
            if not self._value or now - self._read_at >= KEPT:
                token = read_whole(TOKEN, LARGEST_TOKEN).decode().strip()
                if not token:
                    raise ValueError(f"{TOKEN} is empty")
                self._value, self._read_at = f"Bearer {token}", now
            return self._value


def is_there() -> bool:
    """Whether this process runs in a pod that has one."""
    return FOLDER.is_dir()


def read() -> Account:
    """The account. Raises OSError and ValueError where a part of it is missing, or is no file."""
    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{name}") for name in ("HOST", "PORT"))
    if not host or not port:
        raise ValueError("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set")
    token = Token()
    token()
    read_whole(AUTHORITY)  # OpenSSL would wait for a FIFO
    namespace = read_whole(FOLDER / "namespace", LARGEST_TOKEN).decode().strip() or "default"
    return Account(f"https://{f'[{host}]' if ':' in host else host}:{port}", namespace, token)
