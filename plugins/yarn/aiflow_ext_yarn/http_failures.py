"""Failures of HTTP requests as errors with their cause and what to do about it."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from aiflow_ext.plugin import PlatformError, UnreachableError

AWAY = "is the service up, and the address right? A firewall between here and there shows like that too"


class Unreachable(UnreachableError):
    """A service does not answer, or asks to retry later."""


class Busy(Unreachable):
    """A service has too many requests; ``after``: the seconds that it wants to be left alone, 0 if it does not say."""

    def __init__(self, words: str, after: float) -> None:
        super().__init__(words, hint="it answers again by itself; fewer clients, or fewer jobs at once (--jobs), help")
        self.after = after


class Refused(PlatformError):
    """A service does not authenticate this user, or does not permit the request."""


def origin(url: str) -> str:
    """``scheme://host:port`` of a URL, for messages."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def failure(url: str, error: Exception) -> PlatformError:
    """A failed request as an error with its cause and what to do about it."""
    import http.client
    import ssl

    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in chain and len(chain) < 10:
        chain.append(at)
        reason = getattr(at, "reason", None)
        at = reason if isinstance(reason, BaseException) else at.__cause__ or at.__context__
    if any(isinstance(each, ssl.SSLCertVerificationError) for each in chain):
        why = next(str(each.verify_message) for each in chain if isinstance(each, ssl.SSLCertVerificationError))
        return PlatformError(
            f"{origin(url)}: its certificate is not trusted: {why}",
            hint="give the authority's certificate: ca: /path/ca.pem (or, knowing what that means, tls_verify: false)",
        )
    if any(isinstance(each, ssl.SSLError) for each in chain):
        return PlatformError(f"{origin(url)} does not speak TLS as it should: {str(chain[-1])[:300]}",
                             hint="is it https:// there, and not http://?")  # fmt: skip
    if any(isinstance(each, http.client.BadStatusLine) for each in chain) and not any(
        isinstance(each, http.client.RemoteDisconnected) for each in chain
    ):
        return PlatformError(
            f"{origin(url)} does not answer in HTTP",
            hint="is it a port of Hadoop's RPC? The ResourceManager's web port is 8088, the NameNode's 9870, HttpFS's "
            "14000, the history server's 19888",
        )
    if any(isinstance(each, ConnectionRefusedError) for each in chain):
        words = "nothing listens there (connection refused)"
    elif any(isinstance(each, socket.gaierror) for each in chain):
        words = f"the host {urlsplit(url).hostname!r} is not known"
    elif any("timed out" in str(each) for each in chain):
        words = "it does not answer in time"
    else:
        words = f"{type(chain[-1]).__name__}: {str(chain[-1])[:300]}"
    return Unreachable(
        f"{origin(url)} cannot be reached: {words}",
        hint=AWAY,
    )
