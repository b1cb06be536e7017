"""The proxy that the environment names for an address, by the rules of kubectl: golang.org/x/net/http/httpproxy."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit


def proxy_of(url: str, environ: Mapping[str, str]) -> str | None:
    """The proxy for ``url``; None: it is reached directly. Raises ValueError for one that a stranger may have named."""
    parts = urlsplit(url)
    host, port = (parts.hostname or "").rstrip("."), parts.port or (443 if parts.scheme == "https" else 80)
    proxy = _variable(environ, f"{parts.scheme}_proxy")
    if not proxy or not _takes_proxy(host, port, _variable(environ, "no_proxy")):
        return None
    if parts.scheme == "http" and environ.get("REQUEST_METHOD"):  # a CGI program: HTTP_PROXY is its client's header
        raise ValueError("HTTP_PROXY is not used where REQUEST_METHOD is set: unset one of them")
    return proxy if "://" in proxy else f"http://{proxy}"


def _variable(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name.upper()) or environ.get(name) or ""


def _takes_proxy(host: str, port: int, exempt: str) -> bool:
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return False
    return not any(_matches(host, port, address, each.strip().lower()) for each in exempt.split(","))


def _matches(host: str, port: int, address: ipaddress._BaseAddress | None, pattern: str) -> bool:
    """Whether an entry of NO_PROXY is of this host: ``*``, a CIDR, an address or a name; the last two with a port."""
    if pattern in ("", "*"):
        return pattern == "*"
    if "/" in pattern:
        try:
            return address is not None and address in ipaddress.ip_network(pattern, strict=False)
        except ValueError:
            return False
    if _address(pattern) is None:
        name, colon, number = pattern.rpartition(":")
        if colon:
            if number != str(port):
                return False
            pattern = name
    if (wanted := _address(pattern.strip("[]"))) is not None:
        return address == wanted
    suffix = pattern.removeprefix("*")
    if suffix.startswith("."):  # of subdomains alone
        return host.endswith(suffix)
    return host == suffix or host.endswith(f".{suffix}")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
