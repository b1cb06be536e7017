"""Files by WebHDFS or HttpFS: a few operations, on the active NameNode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from aiflow_ext.plugin import PlatformError
from aiflow_ext.plugin.engines import MalformedJson, parse_json
from aiflow_ext_yarn.answers import Fields
from aiflow_ext_yarn.cluster import Cluster
from aiflow_ext_yarn.http import Http, Response
from aiflow_ext_yarn.http_failures import Refused, Unreachable, origin
from aiflow_ext_yarn.trust import check_node

_preferred: dict[tuple[str, ...], str] = {}
_made: set[tuple[tuple[str, ...], str]] = set()  # folders that were made, by NameNodes and path
_WORDS = {"mkdirs": "make the folder", "create": "write", "getfilestatus": "see", "liststatus": "list", "open": "read",
          "getdelegationtoken": "get a token for"}  # fmt: skip
_AT_NODES = ("CREATE", "OPEN")  # operations for which a NameNode leads to a DataNode
# RemoteExceptions for which the request is retried later.
_LATER = ("StandbyException", "RetriableException", "SafeModeException", "NameNodeNotInitializedException")


class FileStatus:
    """A file's status in the file system, which YARN compares before it copies the file to a node.

    Attributes:
        size: bytes.
        timestamp: of its last change, in ms since the epoch.
        folder: whether it is one.
    """

    def __init__(self, size: int, timestamp: int, folder: bool) -> None:
        self.size, self.timestamp, self.folder = size, timestamp, folder


class WebHdfs:
    """Operations on absolute paths.

    Each raises Unreachable if no NameNode serves now (safe mode included), Refused without permission, and
    PlatformError for other errors.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.http = cluster, Http(cluster)
        self._key = tuple(cluster.namenodes)

    def status(self, path: str) -> FileStatus | None:
        """A file's status; None where there is none."""
        answer = self._call("GET", path, "GETFILESTATUS", missing=True)
        if answer is None:
            return None
        found = self._found(answer, "FileStatus")
        return FileStatus(found.number("length", most=1e18), found.number("modificationTime"),
                          found.text("type") == "DIRECTORY")  # fmt: skip

    def mkdirs(self, path: str) -> None:
        """Create a folder for its owner alone, and its parents as open as is usual; existing ones stay.

        HDFS gives one permission to all that a request creates, so that the parents have a request of their own: one in
        this process.
        """
        parent = path.rpartition("/")[0]
        if parent and (self._key, parent) not in _made:
            self._mkdirs(parent, "755")
            _made.add((self._key, parent))
        self._mkdirs(path, "700")

    def mkdirs_below(self, top: str, path: str) -> None:
        """Create a folder, and those above it from ``top`` on, all of them for their owner alone."""
        names = path.removeprefix(top).strip("/").split("/")
        folders = [top, *(f"{top}/{'/'.join(names[:number])}" for number in range(1, len(names) + 1))]
        for folder in folders:
            if folder == path:
                self.mkdirs(folder)
            elif (self._key, folder) not in _made:
                self.mkdirs(folder)
                _made.add((self._key, folder))

    def _mkdirs(self, path: str, permission: str) -> None:
        answer = self._call("PUT", path, "MKDIRS", {"permission": permission})
        if answer is not None and not self._done(answer):
            raise PlatformError(f"the folder {path} cannot be made on the cluster's file system",
                                hint="is there a file of that name? staging: names another folder")  # fmt: skip

    def put(self, path: str, body: Any, size: int, *, overwrite: bool = True, permission: str = "600") -> None:
        """Write a file. ``body``: bytes, or a binary file of ``size`` bytes."""
        params = {"overwrite": str(overwrite).lower(), "permission": permission}
        answer = self._call("PUT", path, "CREATE", params)
        assert answer is not None
        location = answer.headers.get("location")
        if location is None and answer.body:
            location = self._fields(answer).text("Location", "")
        if not location:
            raise PlatformError(f"{origin(answer.url)} does not say where to send {path} (status {answer.status})",
                                hint="is it WebHDFS or HttpFS there?")  # fmt: skip
        location = check_node(self.cluster, answer.url, location)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        try:
            sent = self.http.request("PUT", location, body=body, headers=headers, plain=True, read=300.0, size=size)
        except Unreachable as error:
            raise Unreachable(
                f"{path} cannot be sent: the DataNode {urlsplit(location).netloc}, to which the NameNode leads, cannot "
                f"be reached: {error.problems[0].message}",
                hint="where DataNodes cannot be reached from here, give an HttpFS server: webhdfs: http://httpfs:14000",
            ) from error
        if sent.status not in (200, 201):
            self._raise(sent, path, "write")

    def read(self, path: str) -> bytes | None:
        """A small file's content; None where there is none."""
        answer = self._call("GET", path, "OPEN", missing=True)
        if answer is None:
            return None
        if 300 <= answer.status < 400 and "location" in answer.headers:
            location = check_node(self.cluster, answer.url, answer.headers["location"])
            answer = self.http.request("GET", location, plain=True)
            if answer.status == 404:
                return None
        if answer.status != 200:
            self._raise(answer, path, "read")
        return answer.body

    def names(self, path: str) -> list[str] | None:
        """The names in a folder; None where there is none."""
        answer = self._call("GET", path, "LISTSTATUS", missing=True)
        if answer is None:
            return None
        found = self._found(answer, "FileStatuses")
        if "FileStatus" not in found:  # an empty folder has an empty list; what is not there proves nothing
            raise PlatformError(f"{origin(answer.url)} is no WebHDFS: its list of a folder has no FileStatus")
        return [each.text("pathSuffix") for each in found.objects("FileStatus")]

    def rename(self, source: str, target: str) -> bool:
        """Rename; False if the target exists already (or the source does not)."""
        answer = self._call("PUT", source, "RENAME", {"destination": target}, missing=True)
        return answer is not None and self._done(answer)

    def delete(self, path: str) -> None:
        """Remove a file, or a folder with everything in it; a missing one is no error."""
        _made.discard((self._key, path))
        self._call("DELETE", path, "DELETE", {"recursive": "true"}, missing=True)

    def delegation_token(self, renewer: str) -> str:
        """A delegation token as text, for the application master under Kerberos."""
        answer = self._call("GET", "/", "GETDELEGATIONTOKEN", {"renewer": renewer})
        assert answer is not None
        return self._found(answer, "Token").text("urlString")

    # -- one operation ----------------------------------------------------------------------------------------------

    def _call(
        self, method: str, path: str, operation: str, params: Mapping[str, Any] | None = None, *, missing: bool = False
    ) -> Response | None:
        """The NameNode's answer; None for a missing file, if ``missing`` is allowed."""
        failures: list[Unreachable] = []
        first = _preferred.get(self._key)
        bases = sorted(self.cluster.namenodes, key=lambda base: base != first)
        for base in bases:
            url = f"{base}{quote(path, safe='/')}"
            try:
                answer = self.http.request(method, url, {"op": operation, **(params or {})})
                if answer.status < 400:
                    if answer.status >= 300 and operation not in _AT_NODES:
                        to = answer.headers.get("location", "another address").partition("?")[0][:200]
                        raise PlatformError(f"{base} leads to {to!r} instead of an answer: nothing is sent there",
                                            hint="is it the NameNode's own? webhdfs: names another one")  # fmt: skip
                    if answer.status < 300:
                        self._is_json(answer)
                    _preferred[self._key] = base
                    return answer
                if missing and _is_missing(answer):
                    return None
                self._raise(answer, path, operation.lower())
            except Unreachable as error:
                failures.append(error)
        if len(failures) == 1:
            raise failures[0]
        words = "; ".join(each.problems[0].message for each in failures)
        raise Unreachable(f"no NameNode serves: {words}", hint=failures[0].problems[0].hint)

    def _fields(self, answer: Response) -> Fields:
        return Fields(answer.json(), origin(answer.url), "an answer of WebHDFS")

    def _done(self, answer: Response) -> bool:
        return self._fields(answer).flag("boolean")

    def _found(self, answer: Response, key: str) -> Fields:
        found = self._fields(answer)
        if key not in found:
            raise PlatformError(f"{origin(answer.url)} is no WebHDFS: its answer has no {key}",
                                hint="is it the right address and port? WebHDFS is at the NameNode's web port, 9870; "
                                "HttpFS at 14000")  # fmt: skip
        return found.object(key)

    def _is_json(self, answer: Response) -> None:
        if answer.body and answer.headers.get("content-type", "").startswith("text/html"):
            try:
                parse_json(answer.body)
            except MalformedJson:
                answer.json()

    def _raise(self, answer: Response, path: str, what: str) -> None:
        kind, words = answer.remote()
        sentence = words.splitlines()[0][:400] if words else f"status {answer.status}"
        where, what = origin(answer.url), _WORDS.get(what, what)
        if kind in _LATER or "safe mode" in words or "still not started" in words or "not yet started" in words:
            mode = "it is in safe mode" if "safe mode" in words else sentence
            raise Unreachable(
                f"the NameNode at {where} does not serve now: {mode}",
                hint="it takes writes again once it has left safe mode (hdfs dfsadmin -safemode get)",
            )
        if kind in ("AccessControlException", "SecurityException", "AuthorizationException") or answer.status == 401:
            raise Refused(
                f"user {self.cluster.user!r} may not {what} {path} on the cluster's file system: {sentence}",
                hint="name a folder that this user may write to (staging: /path), or act as another user (user: NAME)",
            )
        if kind in ("DSQuotaExceededException", "NSQuotaExceededException", "QuotaExceededException"):
            raise PlatformError(
                f"{path} cannot be written: its folder's quota is used up: {sentence}",
                hint="make room, have the quota raised, or name another folder: staging: /path",
            )
        if not kind and answer.status >= 500:
            raise Unreachable(f"{where} answers with status {answer.status}: {sentence}")
        if not kind:
            raise PlatformError(f"{where} is no WebHDFS: it answers {answer.status}: {sentence}",
                                hint="is it the right address and port? WebHDFS is at the NameNode's web port, 9870; "
                                "HttpFS at 14000")  # fmt: skip
        if "could only be written to 0 of the" in words or "There are 0 datanode" in words:
            raise Unreachable(f"{path} cannot be written: no DataNode takes it: {sentence}",
                              hint="the cluster's DataNodes are down or full")  # fmt: skip
        cure = "is it a DataNode's port? The NameNode's is 9870" if words.startswith("Invalid operation") else None
        raise PlatformError(f"the NameNode at {where} refuses to {what} {path}: {kind}: {sentence}", hint=cure)


def _is_missing(answer: Response) -> bool:
    """Whether there is no such file. Of a path below a file HDFS says that to its superuser alone: to others, that they
    may not look into what is not a directory."""
    kind, words = answer.remote()
    if kind == "AccessControlException":
        return words.partition("\n")[0].endswith("(is not a directory)")
    return answer.status == 404 and kind == "FileNotFoundException"
