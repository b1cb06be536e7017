"""One connection to each cluster: requests as plain JSON, errors as sentences.

A connection is made on first use.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from aiflow_ext.plugin import PlatformError, UnreachableError
from aiflow_ext.plugin.engines import LARGEST_ANSWER, Deadline, TooSlow, pool_classes, within
from aiflow_ext_kubernetes.answers import METADATA, TooLargeError, parsed, read, value_of
from aiflow_ext_kubernetes.kubeconfig import LOGIN, Credentials, read_credentials
from aiflow_ext_kubernetes.kubefiles import NoContextError
from aiflow_ext_kubernetes.oidc import expiry
from aiflow_ext_kubernetes.refusals import AnotherClusterError, ApiError, another_cluster, refused, unreachable
from aiflow_ext_kubernetes.response_stream import Stream
from aiflow_ext_kubernetes.single_flight import SingleFlight
from aiflow_ext_kubernetes.target import Cluster, Target

JSON, MERGE_PATCH = "application/json", "application/merge-patch+json"
CONNECT, READ = 5.0, 30.0  # seconds to connect, and for a whole answer
RATE = 16 << 10  # bytes a second that a log takes at most, besides
PIECE = 1 << 18  # bytes that are read at once
CONNECTIONS = 128  # connections that are kept open; more are made if needed, which is logged
# Keep-alive probes of a silent connection: seconds before the first, seconds between two, number.
ALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
_NAMESPACE = {"metadata": {**METADATA, "uid": str}}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
TRIES = 4  # of a request that is retried (429, 503 with Retry-After; 409 Conflict, not AlreadyExists)


class Server:
    """A cluster's API server, as one context of a kubeconfig reaches it; safe to use from any thread.

    Attributes:
        url: its address.
        context: the kubeconfig's context, which stays the same also where another one becomes the current one.
        namespace: the context's.
        permitted: what is permitted in which namespace, a Rule of a Role, and when that was checked
            (``time.monotonic``).
    """

    def __init__(self, kubeconfig: str | None, context: str | None) -> None:
        """Raises PlatformError where the kubeconfig cannot be used."""
        self._kubeconfig, self.context = kubeconfig, context
        self._lock = threading.Lock()
        # Threads that wait for a login program, or for who the cluster is, all wait for the same.
        self._renewing, self._identifying = SingleFlight[None](), SingleFlight[None]()
        self._is_renewal = False  # credentials that are new and refused are not renewed
        self._required: set[Target] = set()  # targets whose cluster this is known to be
        self.permitted: dict[tuple[str, Any], float] = {}
        self._connect()

    def _connect(self) -> None:
        import urllib3

        found = read_credentials(self._kubeconfig, self.context)
        options: dict[str, Any] = {"maxsize": CONNECTIONS, "timeout": urllib3.Timeout(connect=CONNECT, read=READ),
                                   "socket_options": _socket_options()}  # fmt: skip
        if found.tls is not None:
            options["ssl_context"] = found.tls
            if found.server_name:
                options["server_hostname"] = options["assert_hostname"] = found.server_name
            if found.tls.verify_mode == ssl.CERT_NONE:
                urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        try:
            pool: Any
            pool = urllib3.ProxyManager(found.proxy, **options) if found.proxy else urllib3.PoolManager(**options)
        except (ValueError, urllib3.exceptions.HTTPError) as error:
            raise PlatformError(f"the proxy for {found.url} cannot be used: {error}",
                                hint="the kubeconfig's proxy-url names it, or HTTPS_PROXY") from error  # fmt: skip
        pool.pool_classes_by_scheme = pool_classes()
        self._credentials, self._pool, self.url, self.namespace = found, pool, found.url, found.namespace
        self.context = found.context

    def _renew(self, used: Credentials) -> None:
        """Read the kubeconfig again, and run its login program, unless another thread has done so since these
        credentials were used. Raises UnreachableError, and AnotherClusterError where it leads to another cluster now:
        what runs goes on."""
        if self._credentials is used:
            self._renewing.call(None, lambda: self._take_new(used))

    def _take_new(self, used: Credentials) -> None:
        if self._credentials is not used:
            return
        try:
            fresh = Server(self._kubeconfig, self.context)
            fresh._is_renewal = True
            for target in tuple(self._required):
                fresh.require(target)
        except UnreachableError:
            raise
        except PlatformError as error:
            raise UnreachableError(f"the credentials for {self.url} cannot be renewed: {error.message}",
                                   hint=LOGIN) from error  # fmt: skip
        with self._lock:
            self._credentials, self._pool, self.url = fresh._credentials, fresh._pool, fresh.url
            self.namespace = fresh.namespace

    def identify(self, namespace: str) -> Cluster:
        """Which cluster it is, as far as ``namespace`` and kube-system may be read."""
        return Cluster(self.url, self._uid("kube-system"), self._uid(namespace))

    def _uid(self, namespace: str) -> str | None:
        try:
            found = self.get(f"/api/v1/namespaces/{namespace}")
        except ApiError as error:
            if error.status not in (403, 404):
                raise
            return None
        uid: str | None = read(found, _NAMESPACE, "a namespace").get("metadata", {}).get("uid")
        return uid

    def require(self, target: Target) -> None:
        """Check once that this is a target's cluster. Raises AnotherClusterError."""
        wanted = target.cluster
        if target in self._required or wanted is None:
            return

        def check() -> None:
            found = self.identify(str(target.namespace))
            if not wanted.is_same(found):
                raise another_cluster(self.context, wanted, found)
            self._required.add(target)

        self._identifying.call(target, check)

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """The object at ``path``; raises what :meth:`send` raises."""
        return self.send("GET", path, query=query)

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        content_type: str = JSON,
    ) -> dict[str, Any]:
        """The object in the answer. Raises ApiError, UnreachableError, TooLargeError, and PlatformError for an answer
        that is no object."""
        _, data, _ = self._raw(method, path, body, query=query, content_type=content_type)
        return parsed(data, f"the API server at {self.url}") if data else {}

    def relay(self, method: str, path: str, body: Any = None) -> Any:
        """What another server answers, to which the API server relays a request: any JSON. Raises as :meth:`send`."""
        _, data, _ = self._raw(method, path, body)
        return value_of(data, f"the API server at {self.url}") if data else {}

    def _raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        content_type: str = JSON,
        stream: bool = False,
        silence: float | None = None,
    ) -> tuple[Any, bytes, Deadline]:
        """The HTTP response to a request that the server has accepted, its body unless it is a stream, and by when it
        must be complete."""
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        renewed = False
        for again in range(TRIES):
            deadline = Deadline(READ if silence is None else silence)
            url = f"{self.url}{path}" + (f"?{urlencode(query)}" if query else "")
            used = self._credentials
            response, content = self._once(method, url, data, content_type, stream, deadline)
            if response.status < 300:
                return response, content, deadline
            if (
                response.status == 401 and not renewed and not self._is_renewal
            ):  # an expired token; a changed kubeconfig
                renewed = True
                self._renew(used)
                continue
            if response.status == 409 and again < TRIES - 1 and b'"reason":"Conflict"' in content:
                time.sleep(random.uniform(0.05, 0.3))  # a concurrent change
                continue
            pause = response.headers.get("Retry-After")
            if response.status in (429, 503) and pause is not None and again < TRIES - 1:
                time.sleep(min(float(pause), 10.0) if pause.isdecimal() and len(pause) < 9 else 1.0)
                continue
            break
        if response.status < 400:
            where = str(response.headers.get("Location") or "another address")[:200]
            raise ApiError(response.status, "", f"the API server at {self.url} leads to {where}: nothing is sent there",
                           "if it is the cluster's, name it in the kubeconfig: server:")  # fmt: skip
        error = refused(response.status, content, method, path, self._expired() if response.status == 401 else "")
        if isinstance(error, ApiError):
            error.again = again > 0 or bool(response.retries and response.retries.history)
        raise error

    def _expired(self) -> str:
        """Which credential has expired, and when; empty where that is not known."""
        given = [("the client certificate", self._credentials.certificate_expires)]
        with contextlib.suppress(OSError, ValueError):
            token = self._credentials.authorization() or ""
            given.append(("the token", expiry(token.removeprefix("Bearer "))))
        ran_out = [(what, moment) for what, moment in given if moment is not None and moment < time.time()]
        return "".join(f"; {what} expired at {time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime(moment))}"
                       for what, moment in ran_out)  # fmt: skip

    def stream(self, path: str, *, silence: float, lasts: float | None = None, rate: float = 0, **query: Any) -> Stream:
        """Send a GET request whose answer is read as it arrives.

        Args:
            path: of the URL.
            silence: seconds without a byte after which the connection counts as dead.
            lasts: seconds in which the answer must be complete; None: no limit.
            rate: bytes for which it may take a second more; 0: none.
            query: the URL's parameters.
        """
        response, _, deadline = self._raw("GET", path, query=query, stream=True, silence=min(silence, READ))
        found = Stream(response, deadline)
        found.wait_at_most(silence, lasts, rate)
        return found

    def _once(
        self, method: str, url: str, data: bytes | None, content_type: str, stream: bool, deadline: Deadline
    ) -> tuple[Any, bytes]:
        import urllib3
        from urllib3._collections import HTTPHeaderDict  # urllib3 2 alone has it in its public module

        pool, credentials = self._authorized()
        headers = HTTPHeaderDict({"Accept": JSON, "User-Agent": "aiflow-ext"})
        if data is not None:
            headers["Content-Type"] = content_type
        for name, value in credentials:
            headers.add(name, value)
        if any(_CONTROL.search(each) for each in (url, *(part for pair in headers.iteritems() for part in pair))):
            raise PlatformError(f"the credentials for {self.url} have a line break or control character in them and "
                                "are not sent", hint="log in again, as for kubectl")  # fmt: skip
        try:
            # The client chooses names, so that a request sent twice is answered AlreadyExists: it can be sent again if
            # a connection that was kept open turns out to be dead.
            with within(deadline):
                response = pool.request(
                    method, url, body=data, headers=headers, redirect=False,
                    preload_content=False, decode_content=False,
                    timeout=urllib3.Timeout(connect=CONNECT, read=deadline.seconds),
                    retries=urllib3.Retry(total=2, connect=1, read=0 if stream else 1, other=0, redirect=0, status=0,
                                          backoff_factor=0.1, allowed_methods=None, raise_on_status=False),
                )  # fmt: skip
            if response.headers.get("Content-Encoding", "identity") != "identity":
                response.close()
                raise PlatformError(f"the API server at {self.url} answers in an encoding that was not asked for")
            return response, b"" if stream and response.status < 300 else self._body(response)
        except TooSlow as error:
            raise UnreachableError(f"the API server at {self.url} does not answer in time: {error}",
                                   hint="it is asked again") from error  # fmt: skip
        except urllib3.exceptions.HTTPError as error:
            raise unreachable(self.url, error) from error
        except OSError as error:
            raise unreachable(self.url, error) from error

    def _authorized(self) -> tuple[Any, list[tuple[str, str]]]:
        """The connections to the server, and the headers with the credentials."""
        used = self._credentials
        if used.renew_at is not None and used.renew_at <= time.time() and not self._is_renewal:
            self._renew(used)
        with self._lock:
            credentials, pool = self._credentials, self._pool
        try:
            value = credentials.authorization()
        except (OSError, ValueError) as error:
            raise UnreachableError(f"the credentials for {self.url} cannot be had: {error}", hint=LOGIN) from error
        return pool, [*([] if value is None else [("Authorization", value)]), *credentials.headers]

    def _body(self, response: Any) -> bytes:
        """The whole body. Raises TooLargeError."""
        pieces, left = [], LARGEST_ANSWER + 1
        try:
            while left and (piece := response.read(min(left, PIECE))):
                pieces.append(piece)
                left -= len(piece)
            if not left:
                raise TooLargeError(
                    f"the API server at {self.url} answers with more than {LARGEST_ANSWER >> 20} MiB; the rest is not "
                    "read", hint="see that the kubeconfig's address is the API server's: kubectl version",
                )  # fmt: skip
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return b"".join(pieces)


def _socket_options() -> list[tuple[int, int, int]]:
    """Keep-alive, so that client and middleboxes know whether a connection that is silent for hours still works."""
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    return options + [(socket.IPPROTO_TCP, getattr(socket, name), value) for name, value in ALIVE.items()
                      if hasattr(socket, name)]  # fmt: skip


_servers: dict[tuple[str | None, str | None, str | None], Server] = {}
_servers_lock = threading.Lock()
_connecting = SingleFlight[Server]()


def server_of(target: Target) -> Server:
    """The connection to a target's cluster; one a process. Raises PlatformError where the kubeconfig cannot be used."""
    named = os.environ.get("KUBECONFIG")
    key = (target.kubeconfig, target.context, named)
    server = _servers.get(key)
    if server is None:
        made = _connecting.call((*key, target.or_current), lambda: _connected(target))
        with _servers_lock:
            # One connection where the same context is named and where it is the current one.
            server = _servers[key] = _servers.setdefault((target.kubeconfig, made.context, named), made)
    try:
        server.require(target)
    except AnotherClusterError:
        with _servers_lock:  # the kubeconfig is read again
            for each in [each for each, its in _servers.items() if its is server]:
                del _servers[each]
        raise
    return server


def _connected(target: Target) -> Server:
    try:
        return Server(target.kubeconfig, target.context)
    except NoContextError:
        if not target.or_current:
            raise
        return Server(target.kubeconfig, None)


def namespace_of(target: Target) -> str:
    """The namespace of a target."""
    return target.namespace or server_of(target).namespace
