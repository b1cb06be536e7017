"""Who gets an answer: requests with the page's token, from the page itself.

The token is a header, not a cookie: browsers send a cookie of 127.0.0.1 to every port of it, also to a server that
another user of this machine runs there, and with requests that other pages make.
"""

from __future__ import annotations

import re
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# No name that a name server could point here (DNS rebinding). Not localhost either: browsers try ::1 first, where
# another user may listen on this port, and get the token. Another port may be forwarded to this one.
_HOST = re.compile(r"127\.0\.0\.1(:\d{1,5})?")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "X-DNS-Prefetch-Control": "off",  # no policy keeps a job's page from having names looked up
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
DATA = "/api/"  # below it every request needs the token; elsewhere are the page's own files, and tickets


class Guard:
    """Passes requests on to an app, or refuses them, and adds what browsers are to hold to."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (https://asgi.readthedocs.io)."""
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refused = self._refusal(scope["path"], Headers(scope=scope))
        answer: ASGIApp = self._app
        if refused is not None:
            status, words, hint = refused
            problem = {"message": words, "where": None, "hint": hint}
            error = {"type": "Refused", "exit_code": None, "problems": [problem]}
            answer = JSONResponse({"error": error}, status)
        await answer(scope, receive, guarded)

    def _refusal(self, path: str, headers: Headers) -> tuple[int, str, str] | None:
        """Status, sentence and cure of a request that gets no answer; None: it gets one."""
        open_it = "open the address that aiflow-ext ui has printed"
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
            return 403, "this server answers to 127.0.0.1 alone, and to no name, not even localhost", open_it
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        linked = path == "/" and headers.get("sec-fetch-mode") == "navigate"  # the page itself says nothing yet
        if (origin is not None and origin != f"http://{hosts[0]}") or (
            site not in (None, "same-origin", "none") and not linked
        ):
            return 403, "a page of another origin has sent this request", open_it
        if path.startswith(DATA):
            kind, _, given = headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not secrets.compare_digest(given.encode(), self._token):
                return 401, "the token of this page is missing, or of another one", open_it
        return None
