"""The attempt's folder on the cluster's file system, by WebHDFS or HttpFS: its start marker and its end.

The marker is created under a temporary name and renamed: HDFS's rename neither replaces a file nor succeeds twice, and
if its answer is lost, the absence of the old name shows that it succeeded. It is empty: a file without a block is
closed at once, while one with a byte may wait 400 ms for its DataNode's report
(``dfs.client.block.write.locateFollowingBlock``).
"""

from __future__ import annotations

import fnmatch
import http.client
import json
import os
import socket
import threading
import time
import urllib.parse

from aiflow_ext_yarn.master import ENDED, PERMANENT, STARTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

TIMEOUT = 10.0  # seconds to connect, and for a whole answer
LARGEST = 1 << 20


class Refused(Exception):
    """Another start of the attempt has made the start marker; says when."""


class StagingError(Exception):
    """The file system cannot be used; ``permanent``: retrying does not help."""

    def __init__(self, words: str, permanent: bool = False) -> None:
        super().__init__(words)
        self.permanent = permanent


class Staging:
    """One attempt's folder.

    Args:
        urls: the folder's URL at each NameNode (or HttpFS server), of which one at a time is active.
        user: for ``user.name=``; None with a delegation token.
        delegation: a delegation token for ``delegation=``.
        ca: file of certificates to trust, instead of the node's own.
        verify: whether to check a server's certificate.
        insecure_nodes: DataNodes that may be used without TLS although the NameNode has it: names or patterns.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        user: str | None = None,
        delegation: str | None = None,
        ca: str | None = None,
        verify: bool = True,
        insecure_nodes: Sequence[str] = (),
    ) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._credentials = {"delegation": delegation} if delegation else {"user.name": user} if user else {}
        self._ca, self._verify, self._insecure_nodes = ca, verify, insecure_nodes
        self._nonce, self._tries = os.urandom(8).hex(), 0
        self._own: str | None = None

    @property
    def active(self) -> str:
        """``host:port`` of the server that answered last."""
        return urllib.parse.urlsplit(self._urls[0]).netloc

    def claim(self) -> None:
        """Make the start marker; idempotent.

        Raises Refused if another start has made it, StagingError if it is not known to be made: call it again.
        """
        if self._own is None:
            # A new name each time: a request that timed out may still be carried out.
            self._tries += 1
            own = f"{STARTED}.{self._nonce}.{self._tries}"
            self._write(own, b"")
            self._own = own
        if self._rename(self._own, STARTED):
            return
        # In this order: a folder that is removed in between must not look like this start's marker.
        waits, since = self._modified(self._own) is not None, self._modified(STARTED)
        if waits:
            if since is None:
                raise StagingError("the start marker could not be made, and is not there")
            raise Refused(time.strftime("its start marker is of %Y-%m-%d %H:%M:%S UTC", time.gmtime(since)))
        if since is None:
            raise StagingError("the staging folder was removed", permanent=True)
        # It was ours: made by a rename whose answer was lost.

    def end(self, outcome: str) -> None:
        """Record the end, if the folder still exists. Raises StagingError."""
        self._write(ENDED, outcome.encode())

    def _modified(self, name: str) -> float | None:
        """When a file was made, in seconds since the epoch; None: there is none."""
        status, body, _ = self._ask("GET", name, "GETFILESTATUS")
        if status == 404 and _remote(body)[0] == "FileNotFoundException":
            return None
        try:
            since = float(_json(body)["FileStatus"]["modificationTime"]) / 1000
            time.gmtime(since)
            return since
        except (ValueError, LookupError, TypeError, OverflowError, OSError):
            raise _error(status, body)

    def _write(self, name: str, data: bytes) -> None:
        # Two steps, as in WebHDFS: the NameNode names the DataNode. A folder that was removed is not created again.
        status, body, location = self._ask("PUT", name, "CREATE", overwrite="true", createparent="false")
        if location is not None:
            self._check_node(location)
            status, body, _ = self._request("PUT", location, data)
        if status != 201:
            raise _error(status, body)

    def _check_node(self, url: str) -> None:
        """Check the address to which the NameNode leads. Raises StagingError where nothing may be sent there."""
        try:
            parts = urllib.parse.urlsplit(url)
            host = parts.hostname if parts.scheme in ("http", "https") and "@" not in parts.netloc else None
        except ValueError:
            host = None
        where = url.partition("?")[0][:200]  # what follows may hold a token
        if not host:
            raise StagingError(f"{self._urls[0]} leads to {where!r}, which is no address of a node", permanent=True)
        secure = self._urls[0].startswith("https:")
        if (
            secure
            and parts.scheme == "http"
            and not any(fnmatch.fnmatchcase(host, each.lower()) for each in self._insecure_nodes)
        ):
            raise StagingError(f"{self._urls[0]} leads to {host} without TLS: nothing is sent there", permanent=True)

    def _rename(self, name: str, target: str) -> bool:
        """Rename; returns whether this call did it."""
        path = urllib.parse.unquote(urllib.parse.urlsplit(self._urls[0]).path)
        destination = "/" + path.partition("/webhdfs/v1/")[2] + "/" + target
        status, body, _ = self._ask("PUT", name, "RENAME", destination=destination)
        try:
            done = _json(body)["boolean"]
        except (ValueError, LookupError, TypeError):
            raise _error(status, body)
        return status == 200 and done is True

    def _ask(self, method: str, name: str, operation: str, **options: str) -> tuple[int, bytes, str | None]:
        """Send a request to the active NameNode."""
        query = urllib.parse.urlencode({"op": operation, **options, **self._credentials})
        for _ in self._urls[1:]:
            try:
                answer = self._request(method, f"{self._urls[0]}/{name}?{query}")
                if answer[0] != 403 or _remote(answer[1])[0] != "StandbyException":
                    return answer
            except StagingError:
                pass
            self._urls.append(self._urls.pop(0))
        return self._request(method, f"{self._urls[0]}/{name}?{query}")

    def _request(self, method: str, url: str, data: bytes | None = None) -> tuple[int, bytes, str | None]:
        """Send a request; returns status, body and the redirect's location."""
        began = time.monotonic()
        try:
            parts = urllib.parse.urlsplit(url)
            connection = self._connect(parts)
            connection.response_class = _Response
            connection.connect()
            # The timeout of a socket is one for each byte.
            ends = threading.Timer(TIMEOUT, _hang_up, (connection.sock,))
            ends.daemon = True
            ends.start()
            try:
                target = f"{parts.path}?{parts.query}"
                headers = {"Content-Type": "application/octet-stream"} if data is not None else {}
                connection.request(method, target, data, headers)
                answer = connection.getresponse()
                body = answer.read(LARGEST)
                location = answer.getheader("Location") if answer.status in (301, 302, 307, 308) else None
                return answer.status, body, location
            finally:
                ends.cancel()
                ends.join()
                connection.close()
        except (OSError, ValueError, http.client.HTTPException) as error:
            where = url.partition("?")[0]  # what follows may hold a token
            words = str(error)[:300] or type(error).__name__
            if time.monotonic() - began >= TIMEOUT:
                words = f"no whole answer in {TIMEOUT:g} s"
            raise StagingError(f"{where}: {words}")

    def _connect(self, parts: urllib.parse.SplitResult) -> http.client.HTTPConnection:
        if parts.scheme != "https":
            return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)
        import ssl

        context = ssl.create_default_context(cafile=self._ca)
        if not self._verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=TIMEOUT, context=context)


class _Response(http.client.HTTPResponse):
    def _safe_read(self, amt: int) -> bytes:
        if amt < 0:  # of a chunk: it would be read until EOF
            raise http.client.HTTPException(f"a chunk of {amt} bytes")
        part: bytes = super()._safe_read(amt)  # type: ignore[misc]
        return part


def _hang_up(connected: socket.socket) -> None:
    """Have whoever reads from a connection get EOF."""
    try:
        socket.socket.shutdown(connected, socket.SHUT_RDWR)  # without TLS's own end, for which the peer is waited
    except OSError:
        pass


def _json(body: bytes) -> Any:
    """Raises ValueError."""
    try:
        return json.loads(body.decode("utf-8", "replace"))
    except RecursionError:
        raise ValueError("it is nested too deeply")


def _remote(body: bytes) -> tuple[str, str]:
    """The name and message of the exception in an answer."""
    try:
        found = _json(body)["RemoteException"]
        return str(found["exception"]), str(found["message"]).partition("\n")[0]
    except (ValueError, LookupError, TypeError):
        return "", ""


def _error(status: int, body: bytes) -> StagingError:
    name, words = _remote(body)
    said = f"{name}: {words}" if name else f"HTTP status {status}"
    return StagingError(said, permanent=name in PERMANENT or status == 401)
