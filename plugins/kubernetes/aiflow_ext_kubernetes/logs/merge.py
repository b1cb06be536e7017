"""Merges the lines of several answers: each line once, in the order of the node's file.

The kubelet can only be asked for a whole log, or for lines since a time in whole seconds (``sinceTime``). So each
request begins some seconds before the last line, and lines that are known already are skipped. The order of lines in
the file is fixed; their times may be slightly out of order, because the two streams are stamped separately. The last
line may grow.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable

from aiflow_ext.plugin.engines import RAN_WITH
from aiflow_ext_kubernetes.logs.buffers import StreamBuffers
from aiflow_ext_kubernetes.logs.lag import LagMonitor, is_time, seconds_of
from aiflow_ext_kubernetes.streams import ROTATED, Splitter

MARGIN = 2  # seconds before the last known line that are read again
LATEST = 20_000  # lines that are remembered to be skipped, however many of them a job prints in a second
STAMPED = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(?:Z|[+-]\d\d:\d\d) ")  # RFC3339NanoFixed, kubelet
# The kubelet's message after a line without newline: searched for only if there is no second answer to compare with.
_WORDS = re.compile(
    rb"(?:unable to retrieve container logs for |rpc error: code = |failed to |context cancell?ed).*", re.S
)
_NOT_EXECUTED = b"exec /bin/sh: "  # runc's message in the log of a container whose first program could not be executed


class LineMerger:
    """Takes the answers of a kubelet, and appends to the streams what is new in them. For one thread at a time.

    Args:
        tag: what marks our shell's own lines in the log.
        buffers: where the streams go.
        is_unmarked: whether no line of the log is ours; asked where the first one is not.

    Attributes:
        has_lines: whether there was ever a line to read.
        last_arrival: when a line came last, or an answer began (``time.monotonic``).
    """

    def __init__(self, tag: str, buffers: StreamBuffers, is_unmarked: Callable[[], bool]) -> None:
        self._is_unmarked = is_unmarked
        self._splitter, self._buffers = Splitter(tag), buffers
        self._known: deque[tuple[str, int]] = deque()  # timestamp and length of the lines of the last seconds
        self._newest = 0  # the latest second of a known line
        self._cut = False  # whether some of those lines were too many to be remembered
        self._open = 0  # bytes known of a last line that had no newline yet; it is the last of _known
        self._begin_is_missing = False  # and that has been said
        self._tail: tuple[str, bytes] | None = None  # the last line, without newline, of an answer that followed
        self._lag = LagMonitor()
        self.has_lines = False
        self.last_arrival = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether everything that the job has written has been read."""
        return self._splitter.is_complete

    def since(self) -> int | None:
        """The time (whole seconds since the epoch) from which to request lines; None: from the beginning."""
        if not self._known:
            return None
        since = self._newest - MARGIN
        while len(self._known) > 1 and seconds_of(self._known[0][0]) < since:
            self._known.popleft()
            self._cut = False
        return since

    def begin_answer(self) -> None:
        """Note that an answer begins: its first lines may be old although reading keeps up."""
        self.last_arrival = time.monotonic()
        self._lag = LagMonitor()

    def take(self, pieces: Iterable[tuple[bytes, bool]], since: int | None, *, follows: bool) -> bytes | None:
        """Append what is new in an answer.

        Args:
            pieces: its lines without their newline, each with whether it had one.
            since: the second from which on it was asked for.
            follows: whether the answer lasts until the container has ended.

        Returns the kubelet's message if it sent no log, or broke it off; else None.
        """
        awaited = deque(known for known in self._known if since is None or seconds_of(known[0]) >= since)
        first = True
        for line, ended in pieces:
            moment, _, text = line.partition(b" ")
            timestamp = moment.decode("ascii", "replace")
            if STAMPED.match(line) is None or not is_time(timestamp):
                return line
            self.has_lines = True
            if not ended and follows:
                self._tail = timestamp, text
                break
            if first and self._cut and awaited and seconds_of(timestamp) <= seconds_of(awaited[0][0]) and (
                timestamp, len(text)) != awaited[0]:  # fmt: skip
                continue  # one of those that were too many
            if first and awaited and awaited[0][0] != timestamp:  # the file begins later than it did
                while awaited and awaited[0] != (timestamp, len(text)):
                    awaited.popleft()
                if not awaited:
                    self._note_rotation()
            first = False
            self.last_arrival = time.monotonic()
            if self._lag.jumps(timestamp) and not awaited and follows:
                self._buffers.append("stdout", ROTATED)
            if awaited:
                self._add_known(awaited.popleft(), bool(awaited), timestamp, text, ended)
            else:
                self._add_new(text, ended, timestamp)
        if not follows:
            self._tail = None  # it is here too, if it was a line
        return None

    def take_tail(self) -> None:
        """Append the last line of an answer that followed the log, if no other answer can confirm it."""
        if self._tail is None:
            return
        (timestamp, text), self._tail = self._tail, None
        text = _WORDS.sub(b"", text)
        if self._open and self._known and self._known[-1][0] == timestamp:
            if len(text) > self._known[-1][1]:
                self._extend_last(text[self._known[-1][1] :], False, timestamp, len(text))
        elif text:
            self._add_new(text, False, timestamp)

    def _remember(self, timestamp: str, length: int) -> None:
        if not self._known or timestamp[:19] != self._known[-1][0][:19]:
            self._newest = max(self._newest, seconds_of(timestamp))
        self._known.append((timestamp, length))
        if len(self._known) > 2 * LATEST:
            self.since()  # drops what is too old to be asked for again
            while len(self._known) > LATEST:
                self._known.popleft()
                self._cut = True

    def _add_known(self, known: tuple[str, int], more: bool, timestamp: str, text: bytes, ended: bool) -> None:
        """A line that is known already: only the last one may have grown, or got its end."""
        if not more and self._open and timestamp == known[0] and (ended or len(text) > known[1]):
            self._extend_last(text[known[1] :], ended, timestamp, len(text))

    def _add_new(self, text: bytes, ended: bool, timestamp: str) -> None:
        if not ended and self._splitter.is_tagged(text):  # one of the shell's own lines, which end with a newline
            return
        out, err = self._split(text, ended)
        if out and not self._splitter.begun and not self._begin_is_missing:
            unmarked = self._is_unmarked()
            self._begin_is_missing = True
            if unmarked:
                pass
            elif text.startswith(_NOT_EXECUTED) and not self._known:
                out, err = b"", out
            else:
                self._buffers.append("stdout", ROTATED)
        self._buffers.append("stdout", out)
        self._buffers.append("stderr", err)
        self._remember(timestamp, len(text))
        self._open = 0 if ended else len(text)

    def _extend_last(self, more: bytes, ended: bool, timestamp: str, length: int) -> None:
        out, err = self._split(more, ended)
        self._buffers.append("stdout", out)
        self._buffers.append("stderr", err)
        self._known[-1] = (timestamp, length)
        self._open = 0 if ended else length

    def _split(self, text: bytes, ended: bool) -> tuple[bytes, bytes]:
        """The parts of a line that are stdout and stderr."""
        parts = self._splitter.line(text + b"\n" if ended else text)
        if self._splitter.ran_with:
            self._buffers.append(RAN_WITH, self._splitter.ran_with)
            self._splitter.ran_with = b""
        return parts

    def _note_rotation(self) -> None:
        self._buffers.append("stdout", ROTATED)
        self._known.clear()
        self._open, self._cut = 0, False
