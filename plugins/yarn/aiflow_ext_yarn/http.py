"""HTTP to a cluster's web services: deadlines, limits, retries, authentication, and readable failures.

urllib3 is imported on the first request: listing, generate and render go without it.
"""

from __future__ import annotations

import email.utils
import os
import re
from collections.abc import Callable, Mapping
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from aiflow_ext.plugin import PlatformError, UnreachableError
from aiflow_ext.plugin.engines import (
    LARGEST_ANSWER,
    Deadline,
    MalformedJson,
    TooSlow,
    parse_json,
    pool_classes,
    within,
)
from aiflow_ext_yarn import gateway, kerberos
from aiflow_ext_yarn.cluster import Cluster
from aiflow_ext_yarn.http_failures import AWAY, Busy, Refused, Unreachable, failure, origin
from aiflow_ext_yarn.trust import gets_tokens

if TYPE_CHECKING:
    import urllib3

CONNECT, READ = 5.0, 60.0  # seconds to connect, and for a whole answer
RATE = 16 << 10  # bytes a second that a file takes at most, besides
PIECE = 1 << 18  # bytes that are read at once
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
HOSTS, CONNECTIONS = 128, 32  # whose connections are kept open, and how many of each; more are made if needed
_pools: dict[tuple[int, str | None, bool], urllib3.PoolManager] = {}
_cookies: dict[tuple[int, str, str | None], str] = {}  # by process, service and principal


# Services whose WebHDFS is told the user by name under Kerberos, as from Hadoop 3.3 on where
# hadoop.http.authentication.type is simple; before, it asks for a ticket.
_named: set[str] = set()
_NOT_NAMED = "user not authenticated by filter"


class Response:
    """An HTTP response, read to EOF.

    Attributes:
        url, status, headers, body: as they are; header names in lower case.
    """

    def __init__(self, url: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.url, self.status, self.body = url, status, body
        self.headers = {name.lower(): value for name, value in headers.items()}

    def json(self) -> Any:
        """The body as JSON. Raises PlatformError if it is something else: a web page, a proxy's answer."""
        try:
            return parse_json(self.body) if self.body else {}
        except MalformedJson as error:
            if self.body.lstrip()[:1] in (b"{", b"["):
                raise PlatformError(f"{origin(self.url)} answers with JSON that cannot be read: {error}") from error
            kind = self.headers.get("content-type", "nothing it names").partition(";")[0]
            raise PlatformError(
                f"{origin(self.url)} answers with {kind} where Hadoop's web service answers with JSON "
                f"(status {self.status})",
                hint="is it the right address and port? The ResourceManager's web port is 8088, the NameNode's 9870, "
                "HttpFS's 14000, the history server's 19888",
            ) from error

    def date(self) -> float | None:
        """When it was sent, by the server's clock, in whole seconds since the epoch; None if it does not say."""
        try:
            return email.utils.parsedate_to_datetime(self.headers["date"]).timestamp()
        except (KeyError, ValueError, TypeError, OverflowError):
            return None

    def busy(self) -> Busy | None:
        """The error of an answer that says that there are too many requests; None if it says something else."""
        if self.status != 429 and not (self.status == 503 and "retry-after" in self.headers):
            return None
        said = self.headers.get("retry-after", "").strip()
        after = float(said) if said.isascii() and said.isdigit() and len(said) < 6 else 0.0
        return Busy(f"{origin(self.url)} has too many requests (status {self.status})", after)

    def remote(self) -> tuple[str, str]:
        """Exception and message of a Hadoop web service's RemoteException; ('', body's text) for anything else."""
        try:
            found = parse_json(self.body)["RemoteException"]
            name, words = found.get("exception") or "", found.get("message") or ""
            if isinstance(name, str) and isinstance(words, str):
                return name, words[:10_000].strip()
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        return "", _text(self.body)


class Http:
    """Requests with one cluster's authentication and certificate authorities. Safe to use from any thread."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def request(
        self,
        method: str,
        url: str,
        params: Mapping[str, Any] | None = None,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        read: float | None = None,
        limit: int | None = None,
        sink: Callable[[bytes], bool] | None = None,
        size: int = 0,
        plain: bool = False,
    ) -> Response:
        """Send one request; redirects are returned, not followed.

        Args:
            method: GET, PUT, POST or DELETE.
            url: absolute.
            params: of the query; ``user.name`` and ``doAs`` are added.
            body: bytes, or a binary file.
            headers: further headers.
            read: seconds for the whole answer, READ by default; a file that is read or sent may take longer, as RATE
                says. Where they are fewer than READ, the server is asked once only.
            limit: read at most so many bytes of the body, then close the connection. None: a body of more than
                LARGEST_ANSWER bytes is an error.
            sink: called with each piece of the body of a 200, which is then not in the answer, until it returns False.
            size: bytes of ``body``, if it is a file.
            plain: the URL is complete, and no parameter is added to it.

        Raises Unreachable without a whole answer, Refused for 401 and 403 (except with a RemoteException, which the
        caller reads), PlatformError for a certificate that is not trusted and for an answer that is too large.
        """
        read = READ if read is None else read
        target = url if plain else self._with(url, params or {})
        sent = {"Accept": "application/json", **(headers or {}), **gateway.authorization(self.cluster, target)}
        answer = self._once(method, target, body, sent, read, limit, sink, size)
        if self.cluster.simple_web and not plain and _NOT_NAMED in answer.remote()[1]:
            _named.add(origin(target))
            target = self._with(url, params or {})
            answer = self._once(method, target, body, sent, read, limit, sink, size)
        challenge = answer.headers.get("www-authenticate", "").lower()
        if answer.status == 401 and self.cluster.kerberos and "negotiate" in challenge:
            if not gets_tokens(self.cluster, target):
                host = urlsplit(target).hostname
                raise Refused(f"{origin(target)} asks for Kerberos, and config names no such host: it gets no token",
                              hint=f"if it is a host of the cluster: kerberos_hosts: [{host}]")  # fmt: skip
            sent["Authorization"] = f"Negotiate {self._token(target)}"
            if hasattr(body, "seek"):
                body.seek(0)
            answer = self._once(method, target, body, sent, read, limit, sink, size)
        if answer.status == 403 and self.cluster.real_user and "impersonate" in answer.remote()[1]:
            raise self._no_proxy(answer)
        if answer.status == 401 or (answer.status == 403 and not answer.remote()[0]):
            raise self._refusal(answer)
        return answer

    def _token(self, url: str) -> str:
        try:
            return kerberos.token(self.cluster, url)
        except kerberos.NoTicket as error:
            raise Refused(problems=error.problems) from error
        except UnreachableError as error:
            raise Unreachable(problems=error.problems) from error

    def _once(
        self,
        method: str,
        url: str,
        body: Any,
        headers: Mapping[str, str],
        read: float,
        limit: int | None,
        sink: Callable[[bytes], bool] | None,
        size: int,
    ) -> Response:
        import urllib3

        host = origin(url)
        tokens = self.cluster.kerberos and gets_tokens(self.cluster, url)
        place = (os.getpid(), host, self.cluster.principal)
        cookie = _cookies.get(place) if tokens else None
        sent = {**headers, **({"Cookie": cookie} if cookie else {})}
        if any(_CONTROL.search(each) for each in (method, url, *sent, *sent.values())):
            raise PlatformError(f"nothing is sent to {host}: what would be has a control character in its head",
                                hint="is there one in an address, a user or a token?")  # fmt: skip
        timeout = urllib3.Timeout(connect=CONNECT, read=read)
        # A request that did not arrive may be sent again; one that arrived and was not answered, only if it is a GET.
        reread = 1 if read >= READ else 0
        again = urllib3.Retry(total=2, connect=1, read=reread, redirect=0, status=0, other=0, backoff_factor=0.1,
                              allowed_methods=("GET",), raise_on_redirect=False,
                              respect_retry_after_header=False)  # fmt: skip
        deadline = Deadline(read + size / RATE, RATE if sink is not None else 0.0)
        if hasattr(body, "read"):
            body = _Upload(body, deadline)
        try:
            with within(deadline):
                answer = self._pool().request(
                    method, url, body=body, headers=sent, timeout=timeout, retries=again, redirect=False,
                    preload_content=False, decode_content=False,
                )  # fmt: skip
            try:
                data = self._body(host, answer, limit, sink)
            except BaseException:
                answer.close()
                raise
            answer.release_conn()
        except TooSlow as error:
            raise Unreachable(f"{host} does not answer in time: {error}", hint=AWAY) from error
        except urllib3.exceptions.HTTPError as error:
            raise failure(url, error) from error
        kept = answer.headers.get("set-cookie", "")
        if kept.startswith("hadoop.auth=") and tokens and len(kept.partition(";")[0]) > 14:
            _cookies[place] = kept.partition(";")[0]
        return Response(url, answer.status, answer.headers, data)

    def _body(self, host: str, answer: Any, limit: int | None, sink: Callable[[bytes], bool] | None) -> bytes:
        """The body of an answer, as far as it is wanted; the rest is not read."""
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise PlatformError(f"{host} answers in an encoding that was not asked for")
        if sink is not None and answer.status == 200:
            while piece := answer.read(PIECE):
                if not sink(piece):
                    answer.close()
                    break
            return b""
        most = LARGEST_ANSWER if limit is None else limit
        pieces, left = [], most + 1
        while left and (piece := answer.read(min(left, PIECE))):
            pieces.append(piece)
            left -= len(piece)
        data = b"".join(pieces)
        if len(data) <= most:
            return data
        answer.close()
        if limit is None:
            words = f"{host} answers with more than {LARGEST_ANSWER >> 20} MiB, the rest of which is not read"
            raise PlatformError(words, hint="is that address the service's?")
        return data[:most]

    def _with(self, url: str, params: Mapping[str, Any]) -> str:
        given = {name: value for name, value in params.items() if value is not None}
        if gateway.is_behind(self.cluster, url):
            pass  # it says itself who asks
        elif not self.cluster.kerberos or (
            self.cluster.simple_web and ("/webhdfs/" not in url or origin(url) in _named)
        ):
            given["user.name"] = self.cluster.real_user or self.cluster.user
        if self.cluster.real_user is not None:  # WebHDFS documents its name in lower case
            given["doas" if "/webhdfs/" in url else "doAs"] = self.cluster.user
        query = "&".join(f"{quote(name, safe='.')}={quote(str(value), safe='')}" for name, value in given.items())
        return f"{url}{'&' if '?' in url else '?'}{query}" if query else url

    def _pool(self) -> urllib3.PoolManager:
        import urllib3

        key = (os.getpid(), self.cluster.ca, self.cluster.verify)
        pool = _pools.get(key)
        if pool is None:
            options: dict[str, Any] = {"cert_reqs": "CERT_REQUIRED" if self.cluster.verify else "CERT_NONE"}
            if self.cluster.ca:
                options["ca_certs"] = self.cluster.ca
            if not self.cluster.verify:
                urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
            pool = urllib3.PoolManager(num_pools=HOSTS, maxsize=CONNECTIONS, **options)
            pool.pool_classes_by_scheme = pool_classes()
            pool = _pools.setdefault(key, pool)  # another thread may have made one
        return pool

    def _no_proxy(self, answer: Response) -> Refused:
        who, user = self.cluster.real_user, self.cluster.user
        return Refused(
            f"{origin(answer.url)} does not let {who!r} act for {user!r} (proxy_user): {answer.remote()[1][:300]}",
            hint=f"whoever runs the cluster allows it: hadoop.proxyuser.{who}.hosts and hadoop.proxyuser.{who}.groups "
            "in its core-site.xml",
        )

    def _refusal(self, answer: Response) -> Refused:
        words = _text(answer.body)
        if answer.status == 401:
            negotiate = "negotiate" in answer.headers.get("www-authenticate", "").lower()
            if gateway.is_behind(self.cluster, answer.url):
                gateway.forget(self.cluster)
                hint = "is what gateway: names still valid, and does it name the right secret?"
            elif self.cluster.kerberos:
                hint = kerberos.cure(self.cluster)
            elif negotiate:
                extra = "pip install 'aiflow-ext-yarn[kerberos]'"
                hint = f"the cluster asks for Kerberos: give authentication: kerberos, and {extra}"
            else:
                hint = f"is {self.cluster.user!r} the right user? user: says another one"
            return Refused(f"{origin(answer.url)} does not know who asks (401){_said(words)}", hint=hint)
        return Refused(
            f"{origin(answer.url)} forbids user {self.cluster.user!r} to do that (403){_said(words)}",
            hint="ask whoever runs the cluster, or act as another user: user: NAME",
        )


class _Upload:
    """A file whose receiver must take it by a deadline."""

    def __init__(self, file: IO[bytes], deadline: Deadline) -> None:
        self._file, self._deadline = file, deadline
        self.tell, self.seek = file.tell, file.seek

    def read(self, size: int = -1) -> bytes:
        self._deadline.left()
        return self._file.read(size)


def _said(words: str) -> str:
    return f": {words}" if words else ""


def _text(body: bytes) -> str:
    """A body in one line: the text of a web page without its markup."""
    text = body[:20000].decode("utf-8", "replace")
    if "<" in text:
        for tag in ("script", "style", "head"):
            text = _without(text, tag)
        text = re.sub(r"<[^<>]*>", " ", text)
    return " ".join(text.split())[:300]


def _without(text: str, tag: str) -> str:
    """A web page without an element, such as its head."""
    kept, lowered, at = [], text.lower(), 0
    while (begin := lowered.find(f"<{tag}", at)) >= 0 and (end := lowered.find(f"</{tag}>", begin)) >= 0:
        kept.append(text[at:begin])
        at = end + len(tag) + 3
    return " ".join([*kept, text[at:]])
