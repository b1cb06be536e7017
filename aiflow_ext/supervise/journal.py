"""The journal of a run's processes, readable without any daemon, and the lock of the one daemon that writes it.

A record is one line of JSON: the change of one process, written by one ``write()`` before anything relies on it
(write-ahead). It survives the death of processes, kill -9 included, because the kernel has the data. There is no fsync,
so a power loss may lose the last seconds; all processes are LOST then anyway ("the machine was rebooted"). A line
counts once its newline is written.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
import struct
import sys

from aiflow_ext.shared_folder import share_file
from aiflow_ext.supervise import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

# json.dumps makes a new encoder for every call with separators.
encode = json.JSONEncoder(separators=(",", ":")).encode

LOCK, SOCKET, JOURNAL, LOG = "supervisor.lock", "supervisor.sock", "processes.jsonl", "supervisor.log"
PROTOCOL = 1
SAFELY = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # follows no link, waits for no FIFO
LONGEST = 1 << 20  # bytes of a line; ours have some hundred
ENDLESS = 64 << 20  # bytes after which a longer line has no end: a file that is one hole

# Final states of a process; only `lost` may still be corrected.
ENDED = frozenset(("ended", "not_started", "cancelled", "lost"))

# Why something is lost.
UNSEEN = "its supervisor was killed, and it ended before another one could see how"
NEVER_SEEN = "its supervisor was killed while starting it; it is not there"
REBOOTED = "the machine was rebooted"


def lock(descriptor: int) -> bool:
    """Take the folder's lock until ``descriptor`` is closed (and its copy in a child that has not executed yet)."""
    try:
        fcntl.fcntl(descriptor, kernel.F_OFD_SETLK, _flock(fcntl.F_WRLCK))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise _no_locks(error) from error
    return True


def unlock(descriptor: int) -> None:
    """Release the lock, also if a child has a copy of ``descriptor``."""
    fcntl.fcntl(descriptor, kernel.F_OFD_SETLK, _flock(fcntl.F_UNLCK))


def locked(folder: int) -> bool:
    """Whether a daemon holds the lock in ``folder`` (a descriptor). Does not disturb one that is starting."""
    try:
        descriptor = os.open(LOCK, os.O_RDONLY | SAFELY, dir_fd=folder)
    except FileNotFoundError:
        return False
    try:
        return locked_file(descriptor)
    finally:
        os.close(descriptor)


def signed_boot(folder: int) -> str | None:
    """The boot of the machine in which the folder's last daemon ran; None: there was none."""
    try:
        descriptor = os.open(LOCK, os.O_RDONLY | SAFELY, dir_fd=folder)
    except FileNotFoundError:
        return None
    try:
        words = os.read(descriptor, 200).decode(errors="replace").split()
    except OSError:  # it is no file, or cannot be read
        return None
    finally:
        os.close(descriptor)
    return words[2] if len(words) == 3 else None


def locked_file(descriptor: int) -> bool:
    """Whether another process holds the lock of this open file."""
    try:
        answer = fcntl.fcntl(descriptor, kernel.F_OFD_GETLK, _flock(fcntl.F_WRLCK))
    except OSError as error:
        raise _no_locks(error) from error
    kind: int = struct.unpack_from("h", answer)[0]
    return kind != fcntl.F_UNLCK


def _no_locks(error: OSError) -> OSError:
    # A kernel that only emulates Linux (a sandbox's), or a file system without locks.
    words = f"this kernel or this file system has no locks of open files (F_OFD_SETLK): {error.strerror}"
    return OSError(error.errno, words)


def _flock(kind: int) -> bytes:
    # struct flock of the 64-bit file interface: type, whence, start, length, pid (0, as open file locks want).
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 0, 0)


class JournalReader:
    """Reads new changes of a journal and keeps every process's merged record.

    Attributes:
        seq: number of the last change that was read.
        offset: in bytes, where to continue.
    """

    def __init__(self, folder: int) -> None:
        self.folder = folder
        self.seq = 0
        self.offset = 0
        self._skipped = 0  # bytes before the offset that are of one line, which is too long
        self._records: dict[str, dict[str, Any]] = {}
        self._put_by: dict[str, list[bytes]] = {}  # lines that are parsed when needed; a run may have thousands
        self._descriptor: int | None = None

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        """Every process's record, by id."""
        for id in list(self._put_by):
            self.record(id)
        return self._records

    def record(self, id: str) -> dict[str, Any] | None:
        """A process's record, or None."""
        for line in self._put_by.pop(id, ()):
            if (change := parse(line)) is not None:
                self._merge(change)
        return self._records.get(id)

    def open(self) -> list[dict[str, Any]]:
        """The records of processes that have not ended."""
        for id, lines in list(self._put_by.items()):
            if id in self._records or _END not in lines[-1]:
                self.record(id)
        return [record for record in self._records.values() if record["state"] not in ENDED]

    def read(self, wanted: Callable[[str], bool] | None = None) -> Iterator[dict[str, Any]]:
        """The process's merged record after each complete, undamaged change since the last call, oldest first.

        The record is the reader's own object: it changes while reading goes on. ``wanted`` is called with an id to
        decide whether its record is needed; changes of others are parsed later.

        Raises OSError where the file cannot be read, is no regular file, or has a line without an end.
        """
        if self._descriptor is None:
            try:
                self._descriptor = os.open(JOURNAL, os.O_RDONLY | SAFELY, dir_fd=self.folder)
            except FileNotFoundError:
                return
            if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                self.close()
                raise OSError(errno.EINVAL, "it is no regular file", JOURNAL)
        rest = b""
        while block := os.pread(self._descriptor, 1 << 18, self.offset + len(rest)):
            *lines, rest = (rest + block).split(b"\n")
            if lines:
                self._skipped = 0
            for line in lines:
                self.offset += len(line) + 1
                if wanted is not None and (head := _HEAD.match(line)) is not None:
                    id = head[1].decode()
                    if not wanted(id):
                        self._put_by.setdefault(id, []).append(line)
                        continue
                change = parse(line)
                if change is not None:
                    yield self.apply(change)
            if len(rest) > LONGEST:  # no line of ours: what follows of it is one that cannot be made out
                self.offset += len(rest)
                self._skipped += len(rest)
                rest = b""
                if self._skipped > ENDLESS:
                    raise OSError(errno.EFBIG, "it has a line without an end", JOURNAL)

    def catch_up(self, wanted: Callable[[str], bool] | None = None) -> None:
        """Read all new changes."""
        for _ in self.read(wanted):
            pass

    def apply(self, change: dict[str, Any]) -> dict[str, Any]:
        """Merge ``change`` into its process's record and return that."""
        self.record(change["id"])
        return self._merge(change)

    def _merge(self, change: dict[str, Any]) -> dict[str, Any]:
        self.seq = max(self.seq, change["seq"])
        record = self._records.get(change["id"])
        if record is None:
            record = self._records[change["id"]] = dict(_UNKNOWN)
        if change["seq"] >= record.get("seq", 0):  # else this change and later ones were read before
            record["unsaved"] = None
            record.update(change)
        return record

    def close(self) -> None:
        """Close the file; the records stay."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    __del__ = close


_HEAD = re.compile(rb'{"id":"([ !#-\[\]-~]+)"')  # an id without escapes; others are parsed
_END = b'"state":"ended"'
_read_json = json.JSONDecoder().raw_decode  # json.loads without a guess at the encoding


_UNKNOWN = {"state": "starting", "mark": ""}  # of a process whose first line is damaged
_STATES = frozenset(("starting", "running", *ENDED))
_SOME, _NUMBER = (str, type(None)), (int, float, type(None))
# The fields of a change: their types, and of numbers the least and the most. A later version may add others.
_FIELDS: dict[str, tuple[tuple[type, ...], float, float]] = {
    "id": ((str,), 0, 0), "seq": ((int,), 0, 1 << 62), "state": ((str,), 0, 0), "mark": ((str,), 0, 0),
    "pid": ((int, type(None)), 1, 1 << 22), "start_time": ((int, type(None)), 0, 1 << 62), "boot_id": (_SOME, 0, 0),
    "started_at": (_NUMBER, 0, 1e11), "ended_at": (_NUMBER, 0, 1e11), "grace": ((int, float), 0, 1e11),
    "exit_code": ((int, type(None)), 0, 255), "signal": ((int, type(None)), 1, 127),
    "stop_requested": ((bool,), 0, 0), "error": (_SOME, 0, 0), "unsaved": (_SOME, 0, 0),
    "rusage": ((dict, type(None)), 0, 0),
}  # fmt: skip
# By names and types of a change: its numbers, which have a range. Most lines have one of a few shapes.
_ranges: dict[tuple[object, ...], tuple[tuple[str, float, float], ...]] = {}
_PLAIN_NUMBERS = frozenset((int, float))


def _ranges_of(change: dict[str, Any], shape: tuple[object, ...]) -> tuple[tuple[str, float, float], ...] | None:
    """The numbers of a change and their ranges; None if a field has another type than it should."""
    known = {name: _FIELDS[name] for name in change if name in _FIELDS}
    if not all(type(change[name]) in types for name, (types, _, _) in known.items()):
        return None
    ranges = tuple((name, least, most) for name, (_, least, most) in known.items() if most and change[name] is not None)
    if len(_ranges) < 100:
        _ranges[shape] = ranges
    return ranges


def parse(line: bytes) -> dict[str, Any] | None:
    """The change in ``line``, or None if it is damaged."""
    try:
        text = line.decode()
        change, end = _read_json(text)
    except (ValueError, RecursionError):
        return None
    if end != len(text) or not isinstance(change, dict) or "seq" not in change or "id" not in change:
        return None
    shape = (*change, *map(type, change.values()))
    ranges = _ranges.get(shape) or _ranges_of(change, shape)
    if ranges is None:
        return None
    for name, least, most in ranges:
        if not least <= change[name] <= most:
            return None
    if change.get("state", "starting") not in _STATES:
        return None
    if (rusage := change.get("rusage")) and not _PLAIN_NUMBERS.issuperset(map(type, rusage.values())):
        return None
    return change


class JournalWriter:
    """Appends changes. If the disk is full, they are kept in memory and written, in order, as soon as possible."""

    def __init__(self, folder: int, seq: int) -> None:
        self.seq = seq
        self.unsaved: list[bytes] = []
        self.why, self._errno = "", 0
        self._descriptor = os.open(
            JOURNAL, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=folder
        )
        share_file(self._descriptor, folder)
        self._heal()

    def append(self, change: dict[str, Any], must: bool = False) -> bytes:
        """Write ``change`` and return its line.

        If it cannot be written, it is kept for :meth:`retry`, and the line says why in ``unsaved``; with ``must`` it is
        dropped instead and OSError is raised.
        """
        self.seq += 1
        change["seq"] = self.seq
        line = encode(change).encode() + b"\n"
        self.unsaved.append(line)
        if self.retry():
            return line
        if must:
            self.unsaved.pop()
            self.seq -= 1
            raise OSError(self._errno, self.why)
        return self._unsaved(change)

    def unsaved_lines(self) -> list[bytes]:
        """The changes that are kept, as lines with ``unsaved``."""
        return [self._unsaved(json.loads(line)) for line in self.unsaved]

    def _unsaved(self, change: dict[str, Any]) -> bytes:
        return encode({**change, "unsaved": self.why}).encode() + b"\n"

    def retry(self) -> bool:
        """Write the changes that are kept; returns whether all are written now."""
        while self.unsaved:
            line = self.unsaved[0]
            try:
                written = os.write(self._descriptor, line)
                if written < len(line):
                    self._heal()
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                self._errno, self.why = error.errno or errno.EIO, error.strerror or str(error)
                return False
            del self.unsaved[0]
        self.why = ""
        return True

    def _heal(self) -> None:
        # An incomplete last line would merge with the next one. Only the lock's holder appends.
        size = os.fstat(self._descriptor).st_size
        end = size
        while end:
            start = max(0, end - 65536)
            block = os.pread(self._descriptor, end - start, start)
            newline = block.rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            os.ftruncate(self._descriptor, end)


def print_error(error: BaseException) -> None:
    """Write an error to the supervisor's log; works also if no descriptor is left to import a module."""
    sys.excepthook(type(error), error, error.__traceback__)
