"""The attempt's folder on the cluster's file system, by WebHDFS or HttpFS: its start marker and its end.

The marker is written under a name of its own and renamed: HDFS's rename neither replaces a file nor succeeds twice, and
its answer, unlike a create's, can be lost without anybody knowing less, for the marker holds who made it.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.parse

from aiflow_ext_yarn.master import ENDED, STARTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

TIMEOUT = 10.0
LARGEST = 1 << 20
# What does not go away by waiting.
HOPELESS = (
    "AccessControlException", "SecurityException", "InvalidToken", "NSQuotaExceededException",
    "DSQuotaExceededException", "ParentNotDirectoryException",
)  # fmt: skip


class Refused(Exception):
    """There is a start marker of somebody else."""


class StagingError(Exception):
    """The file system cannot be used; ``hopeless`` says whether waiting cannot help."""

    def __init__(self, words: str, hopeless: bool = False) -> None:
        super().__init__(words)
        self.hopeless = hopeless


class Staging:
    """One attempt's folder.

    Args:
        urls: the folder's URL at each NameNode (or HttpFS server), of which one at a time is active.
        user: for ``user.name=``; None with a delegation token.
        delegation: a delegation token for ``delegation=``.
        ca: file of certificates to trust, instead of the node's own.
        verify: whether to check a server's certificate.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        user: str | None = None,
        delegation: str | None = None,
        ca: str | None = None,
        verify: bool = True,
    ) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._who = {"delegation": delegation} if delegation else {"user.name": user} if user else {}
        self._ca, self._verify = ca, verify
        self._nonce = os.urandom(8).hex()
        self._made: bytes | None = None

    def claim(self, facts: dict[str, Any]) -> None:
        """Make the start marker, which holds ``facts``; repeating it does no harm.

        Raises Refused where somebody else's is there, StagingError where none could be made.
        """
        if self._made is None:
            self._made = json.dumps({**facts, "nonce": self._nonce}).encode()
        own = f"{STARTED}.{self._nonce}"
        self._write(own, self._made)
        if self._rename(own, STARTED):
            return
        found = self._read(STARTED)  # somebody's, or ours: made by a rename whose answer was lost
        if found is None:
            raise StagingError("the start marker could not be made, and is not there")
        if found != self._made:
            raise Refused(_maker(found))

    def end(self, outcome: str) -> None:
        """Leave word of the end. Raises StagingError."""
        self._write(ENDED, outcome.encode())

    def _read(self, name: str) -> bytes | None:
        status, body, location = self._ask("GET", name, "OPEN")
        if status == 404:
            return None
        if location is not None:
            status, body, _ = self._request("GET", location)
        if status != 200:
            raise _error(status, body)
        return body

    def _write(self, name: str, data: bytes) -> None:
        # Two steps, as WebHDFS has it: the NameNode says where the bytes go.
        status, body, location = self._ask("PUT", name, "CREATE", overwrite="true")
        if location is not None:
            status, body, _ = self._request("PUT", location, data)
        if status != 201:
            raise _error(status, body)

    def _rename(self, name: str, target: str) -> bool:
        """Whether it was this very call that renamed."""
        path = urllib.parse.unquote(urllib.parse.urlsplit(self._urls[0]).path)
        destination = "/" + path.partition("/webhdfs/v1/")[2] + "/" + target
        status, body, _ = self._ask("PUT", name, "RENAME", destination=destination)
        try:
            done = json.loads(body.decode("utf-8", "replace"))["boolean"]
        except (ValueError, LookupError, TypeError):
            raise _error(status, body)
        return status == 200 and done is True

    def _ask(self, method: str, name: str, operation: str, **options: str) -> tuple[int, bytes, str | None]:
        """Ask whichever NameNode is active."""
        query = urllib.parse.urlencode({"op": operation, **options, **self._who})
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
        """Status, body and where else to go."""
        try:
            parts = urllib.parse.urlsplit(url)
            connection = self._connect(parts)
            try:
                target = f"{parts.path}?{parts.query}"
                headers = {"Content-Type": "application/octet-stream"} if data is not None else {}
                connection.request(method, target, data, headers)
                answer = connection.getresponse()
                body = answer.read(LARGEST)
                location = answer.getheader("Location") if answer.status in (301, 302, 307, 308) else None
                return answer.status, body, location
            finally:
                connection.close()
        except (OSError, ValueError, http.client.HTTPException) as error:
            where = url.partition("?")[0]  # what follows may hold a token
            raise StagingError(f"{where}: {error or type(error).__name__}")

    def _connect(self, parts: urllib.parse.SplitResult) -> http.client.HTTPConnection:
        if parts.scheme != "https":
            return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)
        import ssl

        context = ssl.create_default_context(cafile=self._ca)
        if not self._verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=TIMEOUT, context=context)


def _remote(body: bytes) -> tuple[str, str]:
    """The name and words of the exception in an answer."""
    try:
        found = json.loads(body.decode("utf-8", "replace"))["RemoteException"]
        return str(found["exception"]), str(found["message"]).partition("\n")[0]
    except (ValueError, LookupError, TypeError):
        return "", ""


def _error(status: int, body: bytes) -> StagingError:
    name, words = _remote(body)
    said = f"{name}: {words}" if name else f"HTTP status {status}"
    return StagingError(said, hopeless=name in HOPELESS or status == 401)


def _maker(marker: bytes) -> str:
    try:
        found = json.loads(marker.decode("utf-8", "replace"))
        return "by {} on {}".format(found["container"], found["node"])
    except (ValueError, LookupError, TypeError):
        return "by somebody who is not known"
