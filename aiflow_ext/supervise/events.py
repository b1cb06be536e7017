"""The changes of a folder's processes as a stream; if it is read without waiting, it also sends their starts."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, Protocol

from aiflow_ext.supervise import journal
from aiflow_ext.supervise.launch import Connection, Gone, OthersSupervisorError, SupervisorError, connect, launch
from aiflow_ext.supervise.records import ProcessRecord, ProcessSpec

BEAT = 1.0
PATIENCE = 30.0  # seconds for which the supervisor may leave a request unread


class Folder(Protocol):
    """The interface of the folder's client for streams, implemented by
    :class:`~aiflow_ext.supervise.client.Supervisor`."""

    folder: str

    def open_folder(self) -> int | None:
        """A descriptor of the folder; None: there is no such folder."""

    def judged(self, found: list[dict[str, Any]]) -> list[ProcessRecord]:
        """Records with the kernel's information about processes that are alive according to the journal."""

    def own_umask(self) -> int:
        """This process's umask."""

    def carry_starts(self, events: Events) -> None:
        """Let ``events`` send the starts of this thread from now on."""

    def carry_no_more(self, events: Events) -> None:
        """Let ``events`` send no starts any more."""

    def add_bell(self, bell: int) -> None:
        """Register an eventfd that is written to when this process has started a supervisor."""

    def remove_bell(self, bell: int) -> None:
        """Unregister ``bell``, which is about to be closed."""


class Events:
    """An endless stream of changes, made by :meth:`Supervisor.events`.

    If it must not wait (``setblocking(False)``), None means that there is no change at the moment; ``fileno`` becomes
    readable when there may be one, and the stream must also be read once a second. It then sends its thread's starts.
    """

    def __init__(self, supervisor: Folder, since: int, wanted: Callable[[str], bool] | None = None) -> None:
        self._supervisor, self._since = supervisor, since
        self._wanted = wanted or (lambda id: True)
        self._beat = BEAT
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll = select.epoll()
        self._epoll.register(self._bell, select.EPOLLIN)
        self._connection: Connection | None = None  # while it is subscribed
        self._base: object = None  # the common part of the processes' environments, as sent on this connection
        self._beside: int | None = None
        # Starts without a result yet, by id, and beside how many other processes they may run.
        self._asked: dict[str, tuple[ProcessSpec, int | None]] = {}
        self._why: str | None = None  # why there is no supervisor, where one was needed
        self._changes = self._read()

    def __iter__(self) -> Events:
        return self

    def __next__(self) -> ProcessRecord | None:
        return next(self._changes)

    def fileno(self) -> int:
        """A descriptor to poll."""
        return self._epoll.fileno()

    def setblocking(self, flag: bool) -> None:
        """Set whether to wait for the next change."""
        self._beat = BEAT if flag else 0.0
        if flag:
            self._supervisor.carry_no_more(self)
        else:
            self._supervisor.carry_starts(self)

    def start(self, spec: ProcessSpec) -> bool:
        """Request the start of ``spec``; False if there is no connection.

        The result is a change like any other; a start that the supervisor refuses is reported as ``not_started``.
        """
        if self._connection is None and self._beside is None:
            return False
        self._asked[spec.id] = spec, self._beside
        if self._connection is not None:
            self._send(spec, self._beside)
        return True

    def hold(self, beside: int | None) -> None:
        """Let later starts wait until at most so many processes of the folder run; None: do not wait.

        Waiting starts are forgotten with the stream.
        """
        self._beside = beside

    def recall(self) -> None:
        """Forget the waiting starts that have not been made yet."""
        self._asked = {id: asked for id, asked in self._asked.items() if asked[1] is None}
        if self._connection is not None:
            self._tell([{"op": "recall"}])

    def close(self) -> None:
        """Close the connection."""
        self._supervisor.carry_no_more(self)
        self._changes.close()
        if not self._epoll.closed:
            self._epoll.close()
            os.close(self._bell)

    __del__ = close

    # -- inside

    def _send(self, spec: ProcessSpec, beside: int | None) -> None:
        requests: list[dict[str, Any]] = []
        if spec.base is not self._base:
            self._base = spec.base
            requests.append({"op": "base", **portable({"env": dict(spec.base)})})
        umask = self._supervisor.own_umask()
        start = {"op": "start", "spec": portable(spec.own()), "umask": umask, "quiet": True, "beside": beside}
        requests.append(start)
        self._tell(requests)

    def _tell(self, requests: list[dict[str, Any]]) -> None:
        assert self._connection is not None
        try:
            self._connection.tell(requests, PATIENCE)
        except (Gone, TimeoutError):  # requested again on the next connection
            self._connection.close()

    def _read(self) -> Generator[ProcessRecord | None, None, None]:
        supervisor, reader = self._supervisor, None
        reported: set[str] = set()
        supervisor.add_bell(self._bell)
        try:
            while True:
                folder = supervisor.open_folder()
                if folder is None:
                    if not _rung(self._bell, self._beat):
                        yield None
                    continue
                if reader is None:
                    reader = journal.JournalReader(folder)
                yield from self._written(reader)
                connection = self._connect(folder, reader)
                if connection is None:
                    yield from self._written(reader)
                    if self._why is not None and not journal.locked(folder):
                        yield from self._refused(self._why)
                    for lost in supervisor.judged([dict(each) for each in reader.open()]):
                        if lost.state == "lost" and lost.id not in reported and self._wanted(lost.id):
                            reported.add(lost.id)
                            yield lost
                    if not _rung(self._bell, self._beat):
                        yield None
                    continue
                try:
                    self._epoll.register(connection.socket, select.EPOLLIN)
                    yield from self._live(connection, reader)
                except Gone:
                    pass
                finally:
                    self._connection = self._base = None
                    connection.close()
        finally:
            supervisor.remove_bell(self._bell)

    def _written(self, reader: journal.JournalReader) -> Iterator[ProcessRecord]:
        """New changes in the journal."""
        for data in reader.read(self._wanted):
            self._asked.pop(data["id"], None)
            if data["seq"] > self._since:
                self._since = data["seq"]
                yield ProcessRecord.of(data)

    def _connect(self, folder: int, reader: journal.JournalReader) -> Connection | None:
        self._why = None
        try:
            connection = connect(folder)
        except OthersSupervisorError:
            if not self._asked:
                raise
            connection = launch(folder, self._supervisor.folder)  # once it has exited
        # Their supervisor was killed. A new one gets their ends from the kernel, and records them.
        orphaned = bool(reader.open()) and not journal.locked(folder)
        if connection is None and (self._asked or orphaned):
            try:
                connection = launch(folder, self._supervisor.folder)
            except SupervisorError as error:
                self._why = str(error)
        return connection

    def _refused(self, why: str) -> Iterator[ProcessRecord]:
        """Requests to a supervisor that is gone which are not in its journal, and cannot be repeated."""
        while self._asked:
            yield self._not_started(self._asked.popitem()[0], why)

    def _live(self, connection: Connection, reader: journal.JournalReader) -> Iterator[ProcessRecord | None]:
        """Changes from the daemon, after those that the journal had by then. Raises Gone if it exits."""
        # ``starting`` of a process that runs by now is not reported to a reader that does not wait.
        connection.subscribe(brief=self._beat == 0.0)
        greeted = False
        while True:
            try:
                lines = connection.lines(self._beat)
            except TimeoutError:
                _rung(self._bell, 0.0)  # of no news to who is connected
                yield None
                continue
            if not greeted:
                greeted = True
                del lines[0]
                yield from self._written(reader)
                if connection.uid == os.geteuid():
                    self._connection = connection
                    for spec, beside in list(self._asked.values()):
                        self._send(spec, beside)
            for line in lines:
                change = journal.parse(line)
                if change is None:
                    yield from self._answered(line)
                    continue
                self._asked.pop(change["id"], None)
                if change["seq"] > self._since:
                    self._since = change["seq"]
                    record = reader.apply(change)
                    if self._wanted(record["id"]):
                        yield ProcessRecord.of(record)

    def _answered(self, line: bytes) -> Iterator[ProcessRecord]:
        """The answer to a start: refused, or known before."""
        answer = json.loads(line)
        self._asked.pop(answer.get("known"), None)
        if self._asked.pop(answer.get("refused"), None) is not None:
            yield self._not_started(answer["refused"], answer["error"])

    def _not_started(self, id: str, why: str) -> ProcessRecord:
        words = f"{why} ({self._supervisor.folder})"
        return ProcessRecord(id, "not_started", error=words, ended_at=time.time(), seq=self._since)


def _rung(bell: int, beat: float) -> bool:
    # A start in this process writes to the eventfd; a daemon that another one started is found at the next tick.
    if not readable(bell, beat):
        return False
    os.eventfd_read(bell)
    return True


def readable(descriptor: int, seconds: float) -> bool:
    """Wait until a descriptor is readable, for so many seconds at most; returns whether it is."""
    # Not select(), which takes no descriptor above 1,023.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def portable(spec: dict[str, Any]) -> dict[str, Any]:
    """``spec`` with every string decoded as UTF-8 from its bytes, whatever this process's locale is."""
    if sys.getfilesystemencoding().lower() in ("utf-8", "utf8"):
        return spec

    def plain(value: Any) -> Any:
        if isinstance(value, str):
            try:
                return os.fsencode(value).decode("utf-8", "surrogateescape")
            except UnicodeEncodeError:  # it came from no name of this locale, but from a UTF-8 file
                return value.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
        if isinstance(value, dict):
            return {plain(key): plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, list) else value

    return {**plain(spec), **{name: spec[name] for name in ("id", "mark") if name in spec}}
