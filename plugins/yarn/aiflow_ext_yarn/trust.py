"""Which hosts get what: Kerberos tokens and secrets go only to hosts that config and Hadoop's files name.

The NameNode and the ResourceManager name DataNodes and NodeManagers; these get files and requests, with no less
protection than those, and no Kerberos token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from aiflow_ext.plugin import PlatformError
from aiflow_ext_yarn.cluster import Cluster

_PORTS = {"http": 80, "https": 443}
_CONTROL = re.compile(r"[\x00-\x20\x7f]")


def place_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a URL. Raises ValueError for text that is not a URL of a web service."""
    parts = urlsplit(url)
    host, port = parts.hostname, parts.port
    if parts.scheme not in _PORTS or not host or "@" in parts.netloc or _CONTROL.search(url):
        raise ValueError(f"{url[:100]!r} is no address of a web service")
    return parts.scheme, host.lower().rstrip("."), port or _PORTS[parts.scheme]


def same_place(url: str, bases: Iterable[str]) -> str | None:
    """The one of ``bases`` that is on the same server as ``url``; None if there is none."""
    wanted = _place(url)
    return next((base for base in bases if wanted is not None and _place(base) == wanted), None)


def gets_tokens(cluster: Cluster, url: str) -> bool:
    """Whether Kerberos tokens, and cookies in their place, may go to a URL's host; with TLS where config has TLS."""
    found = _place(url)
    if found is None:
        return False
    services = [*cluster.resource_managers, *cluster.namenodes, *([cluster.history] if cluster.history else [])]
    configured = {place[:2] for place in map(_place, services) if place is not None}
    return bool({("http", found[1]), found[:2]} & configured) or _matches(found[1], cluster.kerberos_hosts)


def check_node(cluster: Cluster, asked: str, url: object) -> str:
    """The URL of a node that the service at ``asked`` named, if it may be used.

    Raises PlatformError for text that is not a URL, and for a URL without TLS from a service with TLS, unless the
    config allows that.
    """
    who = "{}://{}".format(*urlsplit(asked)[:2])
    try:
        if not isinstance(url, str):
            raise ValueError(f"{str(url)[:60]!r} is no address")
        scheme, host, _ = place_of(url)
    except ValueError as error:
        raise PlatformError(f"{who} leads to a node by an address that is none: {error}",
                            hint="is that address the service's?") from error  # fmt: skip
    if scheme == "http" and asked.startswith("https:") and not _matches(host, cluster.insecure_nodes):
        raise PlatformError(
            f"{who} leads to {host} without TLS: nothing is sent there",
            hint="have its web service use HTTPS too (dfs.http.policy, yarn.http.policy: HTTPS_ONLY), or, knowing what "
            f"that means, give insecure_nodes: [{host}]",
        )
    return url


def _place(url: str) -> tuple[str, str, int] | None:
    try:
        return place_of(url)
    except ValueError:
        return None


def _matches(host: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(host, pattern.lower()) for pattern in patterns)
