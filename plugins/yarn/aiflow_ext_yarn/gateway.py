"""A gateway in front of the cluster's web services (Apache Knox): basic authentication there, or a token.

The secrets are read from their sources for the first request, and again after the gateway has refused them. They go to
the addresses that config names, and nowhere else.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from aiflow_ext.plugin import PlatformError, Problem, SecretError, secrets
from aiflow_ext_yarn.cluster import Cluster
from aiflow_ext_yarn.trust import same_place

_headers: dict[str, str] = {}  # by what config says of the gateway
_lock = threading.Lock()


def is_behind(cluster: Cluster, url: str) -> bool:
    """Whether a URL is at the gateway."""
    if cluster.gateway is None:
        return False
    services = [*cluster.resource_managers, *cluster.namenodes, *([cluster.history] if cluster.history else [])]
    return url.startswith("https:") and same_place(url, services) is not None


def authorization(cluster: Cluster, url: str) -> dict[str, str]:
    """The header with which a request to a URL authenticates at the gateway; none for any other URL.

    Raises PlatformError if a secret cannot be read.
    """
    if cluster.gateway is None or not is_behind(cluster, url):
        return {}
    key = repr(cluster.gateway)
    with _lock:
        if key not in _headers:
            _headers[key] = _header(cluster.gateway)
        return {"Authorization": _headers[key]}


def forget(cluster: Cluster) -> None:
    """The gateway has refused the secrets: they are read again for the next request."""
    with _lock:
        _headers.pop(repr(cluster.gateway), None)


def _header(given: Mapping[str, Any]) -> str:
    try:
        values = secrets.resolve(given)
    except SecretError as error:
        problems = [Problem(f"gateway: {each.message}", each.where, each.hint) for each in error.problems]
        raise PlatformError(problems=problems) from error
    if "token" in values:
        return f"Bearer {values['token']}"
    return f"Basic {base64.b64encode('{user}:{password}'.format(**values).encode()).decode()}"


def api_of(base: str) -> str:
    """Where a ResourceManager has ``/ws/v1/cluster``; Knox leaves ``/ws`` out, below its path ``resourcemanager``."""
    return f"{base}/v1/cluster" if urlsplit(base).path.endswith("/resourcemanager") else f"{base}/ws/v1/cluster"
