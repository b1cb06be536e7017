"""An attempt's log: read by byte offset while it grows, and kept in the run's folder at its end.

A node keeps only the newest part of a long log. So the driver follows the logs of jobs that run for more than a moment
(:class:`Follower`), and what the node throws away meanwhile is in a file of this machine already.

The kubelet gives a log by whole files and by ``sinceTime`` in whole seconds. So what is read on is asked for from some
seconds before the last line, and the lines that are known already are counted off: the file's order is fixed, the
times in it are not quite (each stream is stamped on its own). The last line may still grow.

What a kubelet has to say instead of a log, or in the middle of one, it writes into the answer as plain text with no
newline (measured; getContainerLogs of pkg/kubelet/server: status 200 has gone out before the runtime is asked). So a
line counts only with the stamp that each line of a log has; and the last one of an answer that follows, where it has no
newline, only once an answer that does not follow has it too.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from aiflow_ext.model.errors import PlatformError, UnreachableError
from aiflow_ext_kubernetes import shell
from aiflow_ext_kubernetes.places import Place
from aiflow_ext_kubernetes.server import READ, ApiError, Stream, namespace_of, server_of
from aiflow_ext_kubernetes.streams import ROTATED, Splitter
from aiflow_ext_kubernetes.template import CONTAINER

_log = logging.getLogger("aiflow_ext")
STREAMS = ("stdout", "stderr")
MARGIN = 2  # seconds before the last known line that are read again
IN_MEMORY = 1 << 16  # bytes of a stream; more is on disk
LATEST = 20_000  # lines that are remembered to be counted off: of how many seconds they are, the job decides
TOGETHER = 500  # lines that are written together, or as soon as somebody reads
QUIET = 0.5  # seconds without a line after which nothing more is expected of a container that has ended
GAP = 3  # seconds between two lines that are suspicious where we are as far behind
IDLE = 4 * 3600.0  # seconds without a byte after which a log that is followed is asked for anew
FOLLOWED = 100  # logs that one process follows at a time: each is a connection, a thread and two files
PAUSES = (1.0, 60.0)  # seconds between two tries to follow a log: the first, and the longest
PIECE = 1 << 20  # bytes that one call gives at most
PATIENCE = 20.0  # seconds in which a node that has no log to give is asked again: its runtime may be starting anew
GONE = b"[aiflow-ext: the pod was gone before its log could be kept]\n"
CUT = b"[aiflow-ext: the pod was gone before the end of its log could be kept; lines may be missing]\n"
_STAMPED = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(?:Z|[+-]\d\d:\d\d) ")  # RFC3339NanoFixed, kubelet
# The kubelet's words behind a line that had no end: asked only where no second answer tells them apart.
_WORDS = re.compile(
    rb"(?:unable to retrieve container logs for |rpc error: code = |failed to |context cancell?ed).*", re.S
)


class Reader:
    """Reads the log of one attempt. Safe to use from any thread.

    Args:
        folder: where what does not fit into memory is put; the system's place for such files by default.
    """

    def __init__(self, place: Place, native_id: str, pod: str | None = None, folder: str | None = None) -> None:
        self._place, self._native_id = place, native_id
        self.pod = pod
        self._splitter = Splitter(shell.tag_of(native_id))
        self._asking = threading.Lock()  # held while the log is fetched: by one at a time
        self._lock = threading.Lock()  # of the files
        home = folder if folder is not None and os.path.isdir(folder) else None
        self._bytes: dict[str, IO[bytes]] = {
            stream: tempfile.SpooledTemporaryFile(IN_MEMORY, dir=home)  # noqa: SIM115 (it lives as long as the reader)
            for stream in STREAMS
        }
        self._pending: dict[str, list[bytes]] = {stream: [] for stream in STREAMS}
        self._known: deque[tuple[str, int]] = deque()  # stamp and length of the lines of the last seconds
        self._newest = 0  # the latest second of a known line
        self._cut = False  # whether some of those lines were too many to be remembered
        self._open = 0  # bytes known of a last line that had no newline yet; it is the last of _known
        self._told = False  # whether it was said that the beginning is missing
        self._found = False  # whether there was ever a log to read
        self._refused: str | None = None  # the kubelet's words, where the last answer was none or ended in them
        self._refused_since = 0.0  # the first of such answers one after another
        self._whole = False  # whether an answer that followed the log has come to its end, and nothing broke off since
        self._tail: tuple[str, bytes] | None = None  # what stood last, without a newline, in an answer that followed
        self._followed: Stream | None = None
        self._moment = 0.0  # when a line came last
        self._clock = Clock()

    def read(self, stream: str, offset: int) -> bytes:
        """A piece of a stream from byte ``offset`` on, as far as it is there now."""
        found = self._piece(stream, offset)
        if not found and self._followed is None and not self.has_all:  # who follows it brings what is new
            with self._asking:
                self._update()
            found = self._piece(stream, offset)
        return found

    @property
    def has_all(self) -> bool:
        """Whether all has been read that the job has written, so that there is nothing more to ask for."""
        return self._splitter.is_ended

    def follow(self) -> None:
        """Read until the container has ended, or the answer has."""
        with self._asking:
            self._update(follow=IDLE)

    def catch_up(self, leaving: float | None = None, heard: Callable[[], None] = lambda: None) -> None:
        """Read what is there.

        Who follows it already is broken off, once nothing comes any more: it may be behind, and what it still gets may
        be in a file that the node has rotated away.

        Args:
            leaving: the container is about to end, within so many seconds: what it says until then is read too.
            heard: called once the node has begun to give its log, or gives none.

        Raises UnreachableError also where the node has no log to give now, and may have one later.
        """
        deadline = time.monotonic() + (leaving or 0.0)
        if self._followed is not None:
            heard()
        while self._followed is not None:
            left = max(deadline, self._moment + QUIET) - time.monotonic()
            if left <= 0:
                break
            if self._asking.acquire(timeout=left):
                self._asking.release()
        self.break_off()
        if leaving is not None:
            with self._asking:
                self._update(follow=max(QUIET, deadline - time.monotonic()), heard=heard)
        with self._asking:
            self._update()
            if self._refused is not None and not self._whole and not self.has_all and self._may_be_back():
                raise UnreachableError(f"the node cannot give the log of pod {self.pod}: {self._refused}",
                                       hint="it is asked again")  # fmt: skip
            self._take_tail()

    def break_off(self) -> None:
        """End what follows the log in another thread."""
        if (followed := self._followed) is not None:
            followed.close()

    def write(self, folder: Path) -> None:
        """Write both streams into ``folder``: whole or not at all."""
        with self._lock:
            for stream in STREAMS:
                self._put(stream)
                source = self._bytes[stream]
                source.seek(0)
                part = folder / f".{stream}.{os.getpid()}.part"
                try:
                    with open(part, "wb") as target:
                        while data := source.read(PIECE):
                            target.write(data)
                    part.replace(folder / stream)
                finally:
                    part.unlink(missing_ok=True)

    def note(self, words: bytes) -> None:
        """Put a line of ours at the end of stderr."""
        self._append("stderr", words)

    @property
    def lacks(self) -> bytes | None:
        """What is to be said of lines that there was no way to read; None where all is well."""
        if not self._found:
            return GONE
        return CUT if self._refused is not None and not self._whole and not self.has_all else None

    def _piece(self, stream: str, offset: int) -> bytes:
        with self._lock:
            self._put(stream)
            file = self._bytes[stream]
            file.seek(offset)
            return file.read(PIECE)

    def _append(self, stream: str, data: bytes) -> None:
        if data:
            with self._lock:
                pending = self._pending[stream]
                pending.append(data)
                if len(pending) >= TOGETHER:
                    self._put(stream)

    def _put(self, stream: str) -> None:
        """Write what waits to be written, for whoever holds the lock."""
        if pending := self._pending[stream]:
            file = self._bytes[stream]
            file.seek(0, os.SEEK_END)
            file.write(b"".join(pending))
            pending.clear()

    def _update(self, follow: float | None = None, heard: Callable[[], None] = lambda: None) -> None:
        """Ask, and take what is new.

        Args:
            follow: until the container has ended; seconds without a byte after which that is given up.
            heard: called once there is an answer.
        """
        server, namespace = server_of(self._place), namespace_of(self._place)
        if self.pod is None:
            self.pod = pod_of(self._place, self._native_id)
            if self.pod is None:
                return
        query: dict[str, Any] = {"container": CONTAINER, "timestamps": "true"}
        if follow is not None:
            query["follow"] = "true"
        since = self._since()
        if since is not None:
            query["sinceTime"] = datetime.fromtimestamp(since, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        path = f"/api/v1/namespaces/{namespace}/pods/{quote(self.pod)}/log"
        try:
            stream = server.stream(path, silence=READ if follow is None else follow, **query)
        except ApiError as error:
            if error.status not in (400, 404):
                raise
            if error.status == 400 and "waiting to start" in str(error):  # there is nothing to read yet
                self._found = True
                self._note_refused(None)
            else:
                self._note_refused(str(error))
            return
        except UnreachableError:
            self._whole = False
            raise
        self._followed = stream if follow is not None else None
        heard()
        self._moment = time.monotonic()
        self._clock = Clock()  # what comes first of an answer is old, and not because we are slow
        whole, self._whole = self._whole, False
        try:
            words = self._take(stream, since)
        finally:
            self._followed = None
            stream.close()
        self._found = self._found or words is None
        self._note_refused(None if words is None else words.decode("utf-8", "replace"))
        # Who follows is told of a container that is gone where the file was read to its end (waitLogs in cri-client).
        if follow is not None and (words is None or b"code = NotFound" in words):
            whole = True
        self._whole = whole

    def _note_refused(self, words: str | None) -> None:
        if words is not None and self._refused is None:
            self._refused_since = time.monotonic()
        self._refused = words

    def _may_be_back(self) -> bool:
        """Whether a node that has no log to give may yet have one: its pod is there, and it was not asked for long."""
        if time.monotonic() - self._refused_since > PATIENCE:
            return False
        return any(pod["metadata"]["name"] == self.pod for pod in pods_of(self._place, self._native_id))

    def _since(self) -> int | None:
        """The second (since the epoch) from which on to read again; None: from the beginning."""
        if not self._known:
            return None
        since = self._newest - MARGIN
        while len(self._known) > 1 and _seconds(self._known[0][0]) < since:
            self._known.popleft()
            self._cut = False
        return since

    def _remember(self, stamp: str, length: int) -> None:
        if not self._known or stamp[:19] != self._known[-1][0][:19]:
            self._newest = max(self._newest, _seconds(stamp))
        self._known.append((stamp, length))
        if len(self._known) > 2 * LATEST:
            self._since()  # drops what is too old to be asked for again
            while len(self._known) > LATEST:
                self._known.popleft()
                self._cut = True

    def _take(self, stream: Stream, since: int | None) -> bytes | None:
        """Append what is new; the kubelet's words where it gave no log, or broke it off."""
        awaited = deque(known for known in self._known if since is None or _seconds(known[0]) >= since)
        first, follows = True, self._followed is not None
        for line, ended in stream.pieces():
            if _STAMPED.match(line) is None:
                return line
            self._found = True
            moment, _, text = line.partition(b" ")
            stamp = moment.decode("ascii")
            if not ended and follows:
                self._tail = stamp, text
                break
            if first and self._cut and awaited and _seconds(stamp) <= _seconds(awaited[0][0]) and (
                stamp, len(text)) != awaited[0]:  # fmt: skip
                continue  # one of those that were too many
            if first and awaited and awaited[0][0] != stamp:  # the file begins later than it did
                while awaited and awaited[0] != (stamp, len(text)):
                    awaited.popleft()
                if not awaited:
                    self._rotated()
            first = False
            self._moment = time.monotonic()
            if self._clock.jumps(stamp) and not awaited and follows:
                self._append("stdout", ROTATED)
            if awaited:
                self._again(awaited.popleft(), bool(awaited), stamp, text, ended)
            else:
                self._new(text, ended, stamp)
        if not follows:
            self._tail = None  # it is here too, if it was a line
        return None

    def _take_tail(self) -> None:
        """Take the last line of an answer that followed, where no other can be had that has it too."""
        if self._tail is None:
            return
        (stamp, text), self._tail = self._tail, None
        text = _WORDS.sub(b"", text)
        if self._open and self._known and self._known[-1][0] == stamp:
            if len(text) > self._known[-1][1]:
                self._grow(text[self._known[-1][1] :], False, stamp, len(text))
        elif text:
            self._new(text, False, stamp)

    def _again(self, known: tuple[str, int], more: bool, stamp: str, text: bytes, ended: bool) -> None:
        """A line that is known already: only the last one may have grown, or got its end."""
        if not more and self._open and stamp == known[0] and (ended or len(text) > known[1]):
            self._grow(text[known[1] :], ended, stamp, len(text))

    def _new(self, text: bytes, ended: bool, stamp: str) -> None:
        if not ended and self._splitter.is_tagged(text):  # one of the shell's own lines, which it always ends
            return
        out, err = self._splitter.line(text + b"\n" if ended else text)
        if out and not self._splitter.begun and not self._told:
            self._told = True
            self._append("stdout", ROTATED)
        self._append("stdout", out)
        self._append("stderr", err)
        self._remember(stamp, len(text))
        self._open = 0 if ended else len(text)

    def _grow(self, more: bytes, ended: bool, stamp: str, length: int) -> None:
        out, err = self._splitter.line(more + b"\n" if ended else more)
        self._append("stdout", out)
        self._append("stderr", err)
        self._known[-1] = (stamp, length)
        self._open = 0 if ended else length

    def _rotated(self) -> None:
        self._append("stdout", ROTATED)
        self._known.clear()
        self._open, self._cut = 0, False


class Clock:
    """Notices where a kubelet, from whose rotation we are far behind, goes on with the newest file."""

    def __init__(self) -> None:
        self._text, self._second = "", 0
        self._least = math.inf  # seconds between a line's time on its node and its coming here, where we keep up
        self._behind = 0.0

    def jumps(self, stamp: str) -> bool:
        """Whether lines may be missing before this one."""
        if stamp[:19] == self._text:
            return False
        second, took = _seconds(stamp), time.time() - _seconds(stamp)
        found = bool(self._text) and min(self._behind, second - self._second) >= GAP
        self._text, self._second = stamp[:19], second
        self._least = min(self._least, took)
        self._behind = took - self._least
        return found


def _seconds(stamp: str) -> int:
    """A line's time in whole seconds since the epoch; nodes write their own time zone."""
    zone = stamp[-6:] if stamp[-6:-5] in ("+", "-") else "+00:00"
    return math.floor(datetime.fromisoformat(stamp[:19] + zone).timestamp())


_readers: dict[tuple[Place, str], Reader] = {}
_readers_lock = threading.Lock()


def reader_of(place: Place, native_id: str, pod: str | None = None, folder: str | None = None) -> Reader:
    """The reader of an attempt; one a process, so that what was read once is not fetched again."""
    key = (place, native_id)
    with _readers_lock:
        if key not in _readers:
            _readers[key] = Reader(place, native_id, pod, folder)
        return _readers[key]


class Follower:
    """Follows the logs of running attempts, each in a thread, until they end; at most ``FOLLOWED`` at a time."""

    def __init__(self) -> None:
        self._active: dict[str, Reader] = {}
        self._ended = threading.Event()

    def follow(self, place: Place, native_id: str, pod: str, folder: str) -> bool:
        """Begin, where there is room for one more."""
        if native_id in self._active:
            return True
        if len(self._active) >= FOLLOWED:
            return False
        reader = self._active[native_id] = reader_of(place, native_id, pod, folder)
        threading.Thread(target=self._run, args=(native_id, reader), daemon=True, name="aiflow-log").start()
        return True

    def let_go(self, native_id: str) -> None:
        """Follow it no more, once its answer ends: another does."""
        self._active.pop(native_id, None)

    def let_go_all_but(self, native_ids: Collection[str]) -> None:
        """Follow those no more that are not among these: they have ended."""
        for native_id in [each for each in self._active if each not in native_ids]:
            self._active.pop(native_id, None)

    def close(self) -> None:
        """Follow none any more."""
        self._ended.set()
        for reader in self._active.values():
            reader.break_off()

    def _run(self, native_id: str, reader: Reader) -> None:
        # Until it is let go: the API ends the answer in the same way where the container has ended and where the
        # node's kubelet has.
        pause, longest = PAUSES
        while native_id in self._active and not self._ended.is_set():
            began = time.monotonic()
            with contextlib.suppress(Exception):  # no answer, a connection that broke: the log is still there
                reader.follow()
            if reader.has_all:
                break
            pause = PAUSES[0] * 2 if time.monotonic() - began > longest else min(pause * 2, longest)
            self._ended.wait(pause)


def forget(place: Place, native_id: str) -> None:
    """Let go of what was read."""
    _readers.pop((place, native_id), None)


def pod_of(place: Place, native_id: str) -> str | None:
    """The name of an attempt's pod, where it has one."""
    pods = pods_of(place, native_id)
    return str(pods[-1]["metadata"]["name"]) if pods else None


def pods_of(place: Place, native_id: str) -> list[dict[str, Any]]:
    """The pods of an attempt, oldest first."""
    found = server_of(place).get(f"/api/v1/namespaces/{namespace_of(place)}/pods",
                                 labelSelector=f"batch.kubernetes.io/job-name={native_id}")  # fmt: skip
    return sorted(found["items"], key=lambda pod: str(pod["metadata"].get("creationTimestamp")))


def is_kept(folder: str | None) -> bool:
    """Whether an attempt's log is in its folder."""
    return folder is not None and all(Path(folder, stream).exists() for stream in STREAMS)


def keep(
    place: Place,
    native_id: str,
    folder: str | None,
    pod: str | None,
    *,
    leaving: float | None = None,
    heard: Callable[[], None] = lambda: None,
    may_lack: bool = True,
) -> None:
    """Put an attempt's log into its folder, once. Raises what the server raises.

    Args:
        leaving: the pod is being deleted: seconds in which its container ends.
        heard: called once the node has begun to give its log.
        may_lack: whether there is anything to be said of a log that is not there: the container has run.
    """
    if folder is None or is_kept(folder):
        return
    reader = reader_of(place, native_id, pod, folder)
    if not reader.has_all:
        reader.catch_up(leaving, heard)
    if is_kept(folder):
        return
    if reader.pod is None:
        return  # it never had one
    if may_lack and (words := reader.lacks) is not None:
        reader.note(words)
    with contextlib.suppress(FileNotFoundError):  # the run's folder is gone, and nobody is left to read it
        reader.write(Path(folder))


def hear(
    place: Place, native_id: str, folder: str | None, pod: str, leaving: float
) -> tuple[threading.Thread, threading.Event]:
    """Begin to keep the log of a pod that is being deleted, as :func:`keep` does.

    Returns the thread that does so, and what is set once the node gives the log: a container that ends at once is gone
    before anybody could ask for it, so whoever deletes a pod waits for that.
    """
    heard = threading.Event()

    def run() -> None:
        try:
            keep(place, native_id, folder, pod, leaving=leaving, heard=heard.set)
        except (PlatformError, OSError) as error:  # stopping matters more; cleaning up tries again
            _log.debug("the log of %s cannot be kept yet: %s", native_id, error)
        finally:
            heard.set()

    thread = threading.Thread(target=run, daemon=True, name="aiflow-log")
    thread.start()
    return thread, heard
