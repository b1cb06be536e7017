"""Requests the log of one attempt from its kubelet.

A kubelet writes error messages into the answer, instead of a log or in the middle of one, as plain text without a
newline (measured; getContainerLogs of pkg/kubelet/server: status 200 was sent before the runtime is asked). So a line
counts only if it has the timestamp that each line of a log has. The last line of an answer that follows the log, if it
has no newline, counts only once an answer that does not follow has it too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiflow_ext.plugin import UnreachableError
from aiflow_ext_kubernetes import manifest, shell
from aiflow_ext_kubernetes.logs import nodes
from aiflow_ext_kubernetes.logs.buffers import StreamBuffers
from aiflow_ext_kubernetes.logs.merge import LineMerger
from aiflow_ext_kubernetes.objects import pods_of
from aiflow_ext_kubernetes.refusals import ApiError
from aiflow_ext_kubernetes.response_stream import Stream
from aiflow_ext_kubernetes.server import RATE, READ, namespace_of, server_of
from aiflow_ext_kubernetes.target import Target
from aiflow_ext_kubernetes.template import CONTAINER

QUIET = 0.5  # seconds without a line after which nothing more is expected of a container that has ended
IDLE = 4 * 3600.0  # seconds without a byte after which a followed log is requested again
PATIENCE = 20.0  # seconds in which a node that has no log to give is asked again: its runtime may be restarting
GONE = b"[aiflow-ext: the pod was gone before its log could be kept]\n"
SILENT = b"[aiflow-ext: node %s did not answer when the log was to be kept; lines may be missing]\n"
CUT = b"[aiflow-ext: the pod was gone before the end of its log could be kept; lines may be missing]\n"


class Reader:
    """Reads the log of one attempt. Safe to use from any thread.

    Args:
        target: where the attempt is.
        native_id: the name of its Job.
        pod: the name of its pod; None: the server is asked for it.
        folder: for temporary files; by default the system's.

    Attributes:
        keeper: the thread that reads the log to EOF and keeps it, and the event that is set once the node sends it.
    """

    def __init__(self, target: Target, native_id: str, pod: str | None = None, folder: str | None = None) -> None:
        self._target, self._native_id = target, native_id
        self.pod = pod
        self._buffers = StreamBuffers(folder)
        self._lines = LineMerger(shell.tag_of(native_id), self._buffers, self._is_unmarked)
        self._fetching = threading.Lock()  # held while the log is fetched: by one at a time
        self._answered = False  # whether a kubelet ever answered with a log
        self._refused: str | None = None  # the kubelet's message, if the last answer was one or ended with one
        self._refused_since = 0.0  # the time of the first of such answers in a row
        self._at_eof = False  # whether an answer that followed the log has come to its end, and nothing broke off since
        self._followed: Stream | None = None
        self._node: str | None = None  # that the pod is on; None: not asked yet
        self._given_up: str | None = None  # the node that has given no answer for too long
        self.keeper: tuple[threading.Thread, threading.Event] | None = None

    def read(self, stream: str, offset: int) -> bytes:
        """A piece of a stream from byte ``offset`` on, as far as it exists now."""
        found = self._buffers.read(stream, offset)
        if not found and self._followed is None and not self.is_complete:  # the thread that follows it adds new lines
            with self._fetching:
                self._fetch()
            found = self._buffers.read(stream, offset)
        return found

    @property
    def is_complete(self) -> bool:
        """Whether everything that the job has written has been read, so that no request is needed."""
        return self._lines.is_complete

    def follow(self) -> None:
        """Read until the container or the answer has ended."""
        with self._fetching:
            self._fetch(follow=IDLE)

    def catch_up(self, ends_within: float | None = None, on_answer: Callable[[], None] = lambda: None) -> None:
        """Read everything that exists now.

        A thread that follows the log already is stopped once no more lines arrive: it may be behind, and read a file
        that the node has rotated away.

        Args:
            ends_within: seconds in which the container is about to end: its log is read to EOF. None: it has ended.
            on_answer: called once the node has begun to send the log, or has answered that there is none.

        Raises UnreachableError also if the node has no log now, or does not answer, but may have one later.
        """
        deadline = time.monotonic() + (ends_within or 0.0)
        if self._followed is not None:
            on_answer()
        while self._followed is not None:
            left = max(deadline, self._lines.last_arrival + QUIET) - time.monotonic()
            if left <= 0:
                break
            if self._fetching.acquire(timeout=left):
                self._fetching.release()
        self.break_off()
        if ends_within is not None:
            with self._fetching:
                self._fetch(follow=max(QUIET, deadline - time.monotonic()), on_answer=on_answer)
        with self._fetching:
            try:
                self._fetch()
                self._given_up = None
            except nodes.NodeSilentError as error:
                if error.seconds < nodes.PATIENCE:
                    raise
                self._given_up = error.node
            if self._given_up is None and self._is_refused and self._may_be_back():
                raise UnreachableError(f"the node cannot give the log of pod {self.pod}: {self._refused}",
                                       hint="it is asked again")  # fmt: skip
            self._lines.take_tail()

    def break_off(self) -> None:
        """End the request with which another thread follows the log."""
        if (followed := self._followed) is not None:
            followed.close()

    def write(self, folder: Path) -> None:
        """Write both streams into ``folder``: each whole or not at all."""
        self._buffers.write(folder)

    def add_note(self, words: bytes) -> None:
        """Append a message of aiflow-ext to stderr, as a line."""
        self._buffers.append("stderr", words)

    @property
    def lacks(self) -> bytes | None:
        """A message about lines that could not be read; None if there are none."""
        if self._given_up is not None:
            return SILENT % self._given_up.encode()
        if not (self._answered or self._lines.has_lines):
            return GONE
        return CUT if self._is_refused else None

    @property
    def _is_refused(self) -> bool:
        return self._refused is not None and not self._at_eof and not self.is_complete

    def _fetch(self, follow: float | None = None, on_answer: Callable[[], None] = lambda: None) -> None:
        """Request the log, and append new lines.

        Args:
            follow: seconds without a byte after which the request is given up; None: do not follow the log.
            on_answer: called once there is an answer.

        Raises NodeSilentError where the API server answers, and the node does not.
        """
        server, namespace = server_of(self._target), namespace_of(self._target)
        if self.pod is None or (self._node is None and nodes.any_silent(self._target)):
            self._find_pod()
            if self.pod is None:
                return
        query: dict[str, Any] = {"container": CONTAINER, "timestamps": "true"}
        if follow is not None:
            query["follow"] = "true"
        since = self._lines.since()
        if since is not None:
            query["sinceTime"] = datetime.fromtimestamp(since, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        path = f"/api/v1/namespaces/{namespace}/pods/{quote(self.pod)}/log"
        begins_within = nodes.AGAIN if nodes.is_given_up(self._target, self._node) else READ
        try:
            if follow is None:
                stream = server.stream(path, silence=begins_within, lasts=READ, rate=RATE, **query)
            else:
                stream = server.stream(path, silence=follow, **query)
        except ApiError as error:
            if error.status not in (400, 404):
                raise
            if error.status == 400 and "waiting to start" in str(error):  # there is nothing to read yet
                self._answered = True
                self._note_refused(None)
            else:
                self._note_refused(str(error))
            return
        except UnreachableError as error:
            self._at_eof = False
            self._find_pod()  # raises where the API server does not answer either
            if self._node is None:
                raise
            seconds = nodes.note_silence(self._target, self._node)
            raise nodes.NodeSilentError(
                self._node, seconds, f"node {self._node} does not give the log of pod {self.pod}: {error.message}"
            ) from error
        nodes.note_answer(self._target, self._node)
        self._followed = stream if follow is not None else None
        on_answer()
        self._lines.begin_answer()
        at_eof, self._at_eof = self._at_eof, False
        try:
            words = self._lines.take(stream.pieces(), since, follows=follow is not None)
        finally:
            self._followed = None
            stream.close()
        self._answered = self._answered or words is None
        self._note_refused(None if words is None else words.decode("utf-8", "replace"))
        # An answer that follows ends normally if the container is removed and the file was read to EOF (waitLogs in
        # cri-client).
        if follow is not None and (words is None or b"code = NotFound" in words):
            at_eof = True
        self._at_eof = at_eof

    def _find_pod(self) -> None:
        """Find the pod (the newest one, unless it is known) and its node, as far as there are any."""
        found = [pod for pod in pods_of(self._target, self._native_id)
                 if self.pod is None or pod["metadata"]["name"] == self.pod]  # fmt: skip
        if found:
            self.pod, self._node = str(found[-1]["metadata"]["name"]), found[-1]["spec"].get("nodeName")

    def _is_unmarked(self) -> bool:
        """Whether the pod runs the job's command without the shell that marks the log; False if it is gone."""
        mine = [pod for pod in pods_of(self._target, self._native_id) if pod["metadata"]["name"] == self.pod]
        return any(manifest.ONE_STREAM in (pod["metadata"].get("annotations") or {}) for pod in mine)

    def _note_refused(self, words: str | None) -> None:
        if words is not None and self._refused is None:
            self._refused_since = time.monotonic()
        self._refused = words

    def _may_be_back(self) -> bool:
        """Whether a node that has no log may have one later: its pod exists, and it has not been asked for long."""
        if time.monotonic() - self._refused_since > PATIENCE:
            return False
        return any(pod["metadata"]["name"] == self.pod for pod in pods_of(self._target, self._native_id))


_readers: dict[tuple[Target, str], Reader] = {}
_readers_lock = threading.Lock()


def reader_of(target: Target, native_id: str, pod: str | None = None, folder: str | None = None) -> Reader:
    """The reader of an attempt; one for each process, so that nothing is fetched twice."""
    key = (target, native_id)
    with _readers_lock:
        if key not in _readers:
            _readers[key] = Reader(target, native_id, pod, folder)
        return _readers[key]


def forget(target: Target, native_id: str) -> None:
    """Drop the reader of an attempt."""
    _readers.pop((target, native_id), None)
