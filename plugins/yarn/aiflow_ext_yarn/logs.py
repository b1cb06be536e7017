"""A container's logs: from its NodeManager while it runs and shortly after, from the history server once aggregated.

Both answer in frames (Hadoop 3): ``LogLength:N``, ``LogContents:``, then the bytes; with ``size=-K`` only the last K
bytes, where N is still the whole length. An offset cannot be requested; so the last bytes are requested, and their
offset is computed from N.
"""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from aiflow_ext.plugin import PlatformError
from aiflow_ext.plugin.engines import LOG_TAIL, cut_note, log_limit
from aiflow_ext_yarn.answers import Fields
from aiflow_ext_yarn.cluster import Cluster
from aiflow_ext_yarn.http import Http, Response
from aiflow_ext_yarn.http_failures import Refused, Unreachable
from aiflow_ext_yarn.trust import check_node

SILENT = 10.0  # seconds: a history server whose ResourceManager is down does not answer for minutes
PIECE = 1 << 20  # bytes of a log that are read at once
_LENGTH = re.compile(rb"^LogLength:\s*(\d{1,18})\s*$", re.MULTILINE)
_CONTENTS = re.compile(rb"^(?:LogContents:|Log Contents:)\r?\n", re.MULTILINE)
_HEAD = 4096  # bytes: the head of a frame is never longer
_FOOT = 1 << 16  # bytes after a log that are read, so that the connection can be used again


class Frame:
    """Part of a log.

    Attributes:
        length: bytes of the whole log.
        data: from its byte ``start`` on; to the end, unless reading was limited.
    """

    def __init__(self, length: int, start: int, data: bytes) -> None:
        self.length, self.start, self.data = length, start, data


class Container:
    """Where a container's logs are, from its application's report.

    Attributes:
        id: the container's id.
        node: URL of its NodeManager's web service.
        host: that node's name; None where it cannot be told from the report.
    """

    def __init__(self, container_id: str, node: str, host: str | None = None) -> None:
        self.id, self.node, self.host = container_id, node, host


def container_of(app: dict[str, object]) -> Container | None:
    """The container of an application's last attempt; None where it never had one."""
    link = str(app.get("amContainerLogs") or "")
    found = re.search(r"/(container_\w+)(?:/|$)", link)
    if found is None:
        return None
    try:
        parts = urlsplit(link)
    except ValueError:  # its use raises an error
        return Container(found[1], link[:100])
    return Container(found[1], f"{parts.scheme or 'http'}://{parts.netloc}", parts.hostname)


class Logs:
    """Reads logs of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.http = cluster, Http(cluster)

    def read(self, container: Container, stream: str, offset: int, *, ended: bool) -> bytes | None:
        """The bytes of a log from ``offset`` on, at most a MiB; None if no service has it (any more, or yet)."""
        for source in self._sources(container, stream, ended):
            try:
                found = self._from(source, offset)
            except Unreachable:
                continue
            if found is not None:
                return found
        return None

    def download(self, container: Container, stream: str, target: Path) -> bool:
        """Write the log of a container that has ended to ``target``; False where no service has it (yet).

        The file is complete or absent; a log beyond the limit is cut in its middle, with a line that says so.
        """
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")  # another process may do the same
        for source in self._sources(container, stream, True):
            try:
                with open(part, "wb") as file:
                    log = FrameReader(file, log_limit())
                    self.http.request("GET", source, headers={"Accept": "text/plain"}, read=SILENT, sink=log.feed)
                    complete = log.complete and (not log.left_out or self._add_tail(source, log, file))
                if complete:
                    part.replace(target)
                    return True
            except Unreachable:
                continue
            finally:
                part.unlink(missing_ok=True)
        return False

    def _add_tail(self, source: str, log: FrameReader, file: IO[bytes]) -> bool:
        """Append the end of a log that is cut; False where this source does not have it."""
        tail = self._frame(source, -LOG_TAIL, LOG_TAIL)
        if tail is not None:
            file.write(cut_note(log.left_out) + tail.data)
        return tail is not None

    def gone(self, container: Container) -> bool | None:
        """Whether a container's processes have ended; None if its NodeManager does not answer.

        Raises Refused if it refuses the credentials, PlatformError if no request may be sent to it.
        """
        check_node(self.cluster, self.cluster.resource_managers[0], container.node)
        try:
            answer = self.http.request("GET", f"{container.node}/ws/v1/node/containers/{container.id}", read=10.0)
            if answer.status == 404 or (answer.status >= 400 and answer.remote()[0]):
                return True
            found = Fields(answer.json(), container.node, "an answer of a NodeManager")
            state = found.object("container").text("state", "")
        except Refused:
            raise
        except PlatformError:
            return None
        return state in (
            "DONE",
            "COMPLETE",
            "EXITED_WITH_SUCCESS",
            "EXITED_WITH_FAILURE",
            "CONTAINER_CLEANEDUP_AFTER_KILL",
        )

    def _sources(self, container: Container, stream: str, ended: bool) -> list[str]:
        found = []
        if ended and self.cluster.history is not None:
            found.append(f"{self.cluster.history}/containerlogs/{container.id}/{stream}")
        try:
            check_node(self.cluster, self.cluster.resource_managers[0], container.node)
        except PlatformError:
            if not found:
                raise
            return found
        return [f"{container.node}/ws/v1/node/containers/{container.id}/logs/{stream}", *found]

    def _from(self, url: str, offset: int) -> bytes | None:
        """Bytes from ``offset`` on; None where this source does not have the log."""
        head = self._frame(url, -1, 0)
        if head is None:
            return None
        wanted = head.length - offset
        for _ in range(5):
            if wanted <= 0:
                return b""
            frame = self._frame(url, -wanted, min(wanted, PIECE))
            if frame is None:
                return None
            if frame.start <= offset:
                return frame.data[offset - frame.start :]
            wanted = frame.length - offset  # it has grown since
        return b""

    def _frame(self, url: str, size: int, most: int) -> Frame | None:
        # A log that grows between the two requests shifts what is asked for: a little more is read.
        limit = most + _HEAD + PIECE
        answer = self.http.request(
            "GET", url, {"size": size}, headers={"Accept": "text/plain"}, read=SILENT, limit=limit
        )
        return frame_of(answer, size)


class FrameReader:
    """Parses an answer piece by piece, and writes the log in its frame.

    Args:
        file: to which it is written.
        most: so many bytes of its beginning are, of a log that is longer than that and its tail.

    Attributes:
        left_out: how many bytes of the log are neither in its beginning nor in its tail.
    """

    def __init__(self, file: IO[bytes], most: int) -> None:
        self.file, self.most, self.left_out = file, most, 0
        self.head, self.left = b"", -1  # -1: the log has not begun
        self.foot = 0  # bytes after it

    @property
    def complete(self) -> bool:
        """Whether all of the log has been written, or all of its beginning."""
        return self.left == 0

    def feed(self, piece: bytes) -> bool:
        """Parse the next piece; returns False if no more are needed."""
        if self.left < 0:
            self.head += piece
            length, contents = _LENGTH.search(self.head[:_HEAD]), _CONTENTS.search(self.head[:_HEAD])
            if length is None or contents is None:
                return len(self.head) < _HEAD  # else it is no log
            self.left, piece = int(length[1]), self.head[contents.end() :]
            self.head = b""
            if self.left > self.most + LOG_TAIL:
                self.left_out = self.left - self.most - LOG_TAIL
                self.left = self.most
        self.file.write(piece[: self.left])
        self.foot += max(0, len(piece) - self.left)
        self.left -= min(self.left, len(piece))
        return self.foot < _FOOT and not (self.left_out and self.complete)


def frame_of(answer: Response, size: int) -> Frame | None:
    """The log in an answer that was asked for ``size`` bytes (negative: the last ones); None where there is none."""
    if answer.status != 200:
        return None
    length, contents = _LENGTH.search(answer.body[:_HEAD]), _CONTENTS.search(answer.body[:_HEAD])
    if length is None or contents is None:
        return None
    whole = int(length[1])
    there = min(whole, abs(size))
    data = answer.body[contents.end() : contents.end() + there]
    return Frame(whole, whole - there, data)
