"""Renews the ID token of a kubeconfig's user (``auth-provider: oidc``) as kubectl does: OpenID Connect Core, 12."""

from __future__ import annotations

import base64
import json
import os
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from aiflow_ext.plugin.engines import Deadline, pool_classes, read_whole, within
from aiflow_ext_kubernetes.proxies import proxy_of

LIMIT = 30.0  # seconds for each of the provider's two answers
MOST = 1 << 20  # bytes of an answer
EARLY = 10.0  # seconds before its end when a token counts as expired, as in client-go
_renewed: dict[tuple[str, ...], tuple[str, str]] = {}  # ID and refresh token by what the kubeconfig has
_renewing: dict[tuple[str, ...], threading.Lock] = {}


def id_token(config: Mapping[str, Any]) -> tuple[str, float | None] | None:
    """A valid ID token, renewed if it has expired, and when it expires in seconds since the epoch; None: there is none.

    Args:
        config: of the ``auth-provider``; it stays as it is.

    A renewed token, and the refresh token that came with it, are kept in this process. Raises ValueError or OSError if
    the token cannot be renewed.
    """
    key = tuple(str(config.get(name) or "") for name in ("idp-issuer-url", "client-id", "id-token", "refresh-token"))
    with _renewing.setdefault(key, threading.Lock()):
        token, refresh = _renewed.get(key, (key[2], key[3]))
        expires = expiry(token)
        if expires is None and token.count(".") != 2:
            return None
        if expires is None or expires - EARLY > time.time():
            return token, expires
        if not refresh:
            raise ValueError("its ID token has expired, and it has no refresh-token")
        token, refresh = _refreshed(config, refresh)
        _renewed[key] = token, refresh
        return token, expiry(token)


def expiry(token: str) -> float | None:
    """When a JWT (RFC 7519: three parts, the second with ``exp``) expires; None: it does not say, or is none."""
    parts = token.split(".")
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))["exp"]
    except (ValueError, IndexError, KeyError, TypeError, RecursionError):
        return None
    return float(found) if isinstance(found, (int, float)) and 0 <= found < 1e11 else None


def _refreshed(config: Mapping[str, Any], refresh: str) -> tuple[str, str]:
    """A new ID token, and the refresh token that counts from now on."""
    issuer = str(config.get("idp-issuer-url") or "").rstrip("/")
    if not issuer.startswith(("https://", "http://")):
        raise ValueError(f"idp-issuer-url {issuer[:200]!r} is no https:// address")
    authority = config.get("idp-certificate-authority") or None
    if authority is not None:
        read_whole(authority)  # OpenSSL would wait for a FIFO
    context = ssl.create_default_context(cafile=authority)
    if data := config.get("idp-certificate-authority-data"):
        context = ssl.create_default_context(cadata=base64.b64decode(data).decode())
    told = _answer(context, "GET", f"{issuer}/.well-known/openid-configuration")
    endpoint = told.get("token_endpoint")
    if not isinstance(endpoint, str) or not endpoint.startswith(("https://", "http://")):
        raise ValueError(f"{issuer} names no token_endpoint")
    if issuer.startswith("https://") and not endpoint.startswith("https://"):
        raise ValueError(f"{issuer} leads to {endpoint[:200]} without TLS: nothing is sent there")
    client, secret = str(config.get("client-id") or ""), str(config.get("client-secret") or "")
    form = {"grant_type": "refresh_token", "refresh_token": refresh}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    if secret:
        pair = f"{quote(client, safe='')}:{quote(secret, safe='')}"  # RFC 6749, section 2.3.1
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    else:
        form["client_id"] = client
    told = _answer(context, "POST", endpoint, urlencode(form).encode(), headers)
    token, then = told.get("id_token"), told.get("refresh_token") or refresh
    if not isinstance(token, str) or not isinstance(then, str) or not token:
        raise ValueError(f"{endpoint} answers without an id_token")
    return token, then


def _answer(
    context: ssl.SSLContext, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Mapping[str, Any]:
    """The object that a provider answers with. Redirects are not followed."""
    import urllib3

    proxy = proxy_of(url, os.environ)
    pool: Any
    pool = urllib3.ProxyManager(proxy, ssl_context=context) if proxy else urllib3.PoolManager(ssl_context=context)
    pool.pool_classes_by_scheme = pool_classes()
    deadline = Deadline(LIMIT)
    try:
        with within(deadline):
            response = pool.request(method, url, body=body, headers={"Accept": "application/json", **(headers or {})},
                                    redirect=False, preload_content=False, decode_content=False, retries=False,
                                    timeout=urllib3.Timeout(connect=LIMIT, read=LIMIT))  # fmt: skip
            data = response.read(MOST)
    except urllib3.exceptions.HTTPError as error:
        raise OSError(f"{url} cannot be reached: {error}") from error
    except Exception as error:  # TooSlow, and what http.client and ssl raise
        raise OSError(f"{url} does not answer: {error}") from error
    finally:
        pool.clear()
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if response.status != 200:
        why = found.get("error_description") or found.get("error") if isinstance(found, Mapping) else ""
        raise ValueError(f"{url} answers with status {response.status}{f': {str(why)[:300]}' if why else ''}")
    if not isinstance(found, Mapping):
        raise ValueError(f"{url} answers with something that is no JSON object")
    return found
