"""The client of a folder's supervisor: start, stop, wait, record, events."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

from aiflow_ext.supervise import journal, proc
from aiflow_ext.supervise.events import BEAT, Events, portable, readable
from aiflow_ext.supervise.launch import Connection, Gone, JournalError, SupervisorError, connect, launch, unreachable
from aiflow_ext.supervise.records import ProcessRecord, ProcessSpec

ANSWER = 30.0
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR)  # another try may succeed


class Supervisor:
    """Processes of one folder that outlive their client. Cheap to make; connects when needed; thread-safe.

    The first client that needs the daemon starts it; all share it, and it exits soon after the last process and client.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.path.abspath(folder)
        self._lock = threading.Lock()
        self._pool: list[Connection] = []
        self._bells: set[int] = set()
        self._carriers: dict[int, Events] = {}  # by thread, the stream of events that sends its starts
        self._coming: threading.Thread | None = None  # starts a daemon in advance
        self._descriptor: int | None = None
        self._reader: journal.JournalReader | None = None
        self._pid = os.getpid()
        self._umask: int | None = None

    # -- acting

    def expect(self) -> None:
        """Start the daemon in advance, because a process will be started soon. An error is reported by that start."""
        with self._lock:
            self._coming = threading.Thread(target=self._come_up, daemon=True, name="aiflow-supervisor")
            self._coming.start()

    def start(self, spec: ProcessSpec) -> ProcessRecord:
        """Start a process and return its record; if its id was ever started or cancelled here, only return that record.

        A process that cannot be started has a record too (``not_started``). Raises SupervisorError if the start cannot
        be recorded (a full disk, a read-only folder): nothing was started then.
        """
        return self.start_many([spec])[0]

    def hand_over(self, spec: ProcessSpec) -> None:
        """:meth:`start` for a reader of :meth:`events`, which report the result.

        If this thread reads them without waiting, this only sends the request, and again to the next supervisor if this
        one dies; a start that cannot be recorded is then reported as ``not_started``. Else it returns once the start is
        recorded.
        """
        carrier = self._carriers.get(threading.get_ident())
        if carrier is None or not carrier.start(spec):
            self._start([spec], early=True)

    def start_many(self, specs: Sequence[ProcessSpec]) -> list[ProcessRecord]:
        """:meth:`start` for several, without waiting in between."""
        return [ProcessRecord.of(answer["ok"]) for answer in self._start(specs)]

    def _start(self, specs: Sequence[ProcessSpec], early: bool = False) -> list[dict[str, Any]]:
        self._make_folder()
        umask = self.own_umask()
        answers = self._ask(
            [
                {"op": "start", "spec": portable({**spec.own(), "env": {**spec.base, **spec.env}}), "umask": umask,
                 "early": early}
                for spec in specs
            ]
        )  # fmt: skip
        for spec, answer in zip(specs, answers, strict=True):
            if "error" in answer:
                raise SupervisorError(
                    f"process {spec.id} was not started: {answer['error']} ({self.folder})",
                    hint="it cannot be put on record there; make room or mend the folder, and start it again",
                ) from (OSError(answer["errno"], answer["error"]) if answer.get("errno") else None)
        return answers

    def stop(self, id: str, grace: float = 10.0) -> ProcessRecord:
        """End a process and everything that it started; returns once all of it is gone.

        SIGTERM to all of it, ``grace`` seconds, then SIGKILL. Idempotent; of two calls the shorter grace counts. Before
        the start it prevents it; after the end it ends remaining processes.
        """
        return self._stop(id, grace, wait=True)

    def stop_nowait(self, id: str, grace: float = 10.0) -> ProcessRecord:
        """Request a :meth:`stop` and return at once: the supervisor completes it, also if the caller dies."""
        return self._stop(id, grace, wait=False)

    # -- looking

    def record(self, id: str) -> ProcessRecord | None:
        """The record of ``id``; None: there is none. Needs no supervisor and starts none."""
        with self._reading() as reader:
            if reader is None:
                return None
            reader.catch_up(id.__eq__)
            found = reader.record(id)
            if found is None:
                return None
            data = dict(found)
        return self.judged([data])[0]

    def known(self, id: str) -> bool:
        """Whether a start of ``id`` was ever requested. Raises SupervisorError if the supervisor does not answer."""
        if self.record(id) is not None:
            return True
        if not self._supervised():
            return False
        # It may have unread requests; it answers in order.
        return bool(self._ask([{"op": "record", "id": id}])[0].get("ok", {}).get("record"))

    def of_this_boot(self) -> bool:
        """Whether the folder exists and has no records of an earlier boot of the machine."""
        folder = self.open_folder()
        return folder is not None and journal.signed_boot(folder) in (None, proc.boot_id())

    def records(self) -> dict[str, ProcessRecord]:
        """The records of all ids."""
        with self._reading() as reader:
            if reader is None:
                return {}
            reader.catch_up()
            found = [dict(data) for data in reader.records.values()]
        return {record.id: record for record in self.judged(found)}

    def wait(self, id: str, timeout: float | None = None) -> ProcessRecord | None:
        """Wait until ``id`` has ended; returns None if it has not within ``timeout`` seconds. It may not be started
        yet."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            connection = self._borrow() if left is None or left > 0 else None
            if connection is None:
                record = self.record(id)
                if record is not None and record.ended:
                    return record
                if left == 0:
                    return None
                self._doze(record, BEAT if left is None else min(BEAT, left))
                continue
            try:
                answer = connection.ask([{"op": "wait", "id": id}], left)[0]
                self._give_back(connection)
                return ProcessRecord.of(answer["ok"])
            except Gone:
                connection.close()
            except TimeoutError:
                # Its answer may still arrive, and must not be read as that of another request.
                connection.close()

    def events(self, since: int = 0, wanted: Callable[[str], bool] | None = None) -> Events:
        """Every change after ``since`` (a record's ``seq``) in order, then each as it happens; ``wanted`` is called
        with an id to decide whether its changes are reported, each time.

        Yields None at least once a second while nothing happens, so that the caller can stop. A process found lost
        while there is no supervisor is reported with the ``seq`` of its last change, and again once that is recorded.
        """
        return Events(self, since, wanted)

    def close(self) -> None:
        """Close the connections. The processes and their supervisor go on; the object may be used again."""
        self._come_up_first()
        with self._lock:
            for connection in self._pool:
                connection.close()
            self._pool.clear()
            if self._descriptor is not None:
                os.close(self._descriptor)
            self._descriptor = self._reader = None

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # -- what a stream of events needs

    def carry_starts(self, events: Events) -> None:
        """Let ``events`` send the starts of this thread from now on."""
        self._carriers[threading.get_ident()] = events

    def carry_no_more(self, events: Events) -> None:
        """Let ``events`` send no starts any more."""
        for thread in [thread for thread, carrier in self._carriers.items() if carrier is events]:
            del self._carriers[thread]

    def add_bell(self, bell: int) -> None:
        """Register an eventfd that is written to when this process has started a supervisor."""
        with self._lock:
            self._bells.add(bell)

    def remove_bell(self, bell: int) -> None:
        """Unregister ``bell``, which is about to be closed."""
        with self._lock:
            self._bells.discard(bell)

    # -- inside

    def _stop(self, id: str, grace: float, wait: bool) -> ProcessRecord:
        try:
            self._make_folder()
            request = {"op": "stop", "id": id, "grace": grace, "wait": wait}
            answer = self._ask([request], patient=wait)[0]
            if "error" in answer:
                raise SupervisorError(f"process {id} could not be stopped: {answer['error']} ({self.folder})")
        except (SupervisorError, OSError):
            if self._supervised():
                raise
            return self._stop_alone(id, grace)
        return ProcessRecord.of(answer["ok"])

    def _stop_alone(self, id: str, grace: float) -> ProcessRecord:
        """Stop without a supervisor, if there is none and none can be started."""
        from aiflow_ext.supervise.sweep import Sweep, sweep

        record = self.record(id)
        if record is None:
            why = "nothing is on record, and no supervisor can be started to note the stop"
            return ProcessRecord(id, stop_requested=True, error=why)
        known = record.state == "running" and record.pid is not None and record.start_time is not None
        roots = [(record.pid or 0, record.start_time or 0)] if known else []
        session = record.pid if known else None
        task = Sweep(mark=record.mark, grace=grace, since=record.start_time or 0, roots=roots, session=session)
        sweep(task)
        return self.record(id) or record

    def _ask(self, requests: list[dict[str, Any]], patient: bool = False) -> list[dict[str, Any]]:
        """The answers of the daemon, which is started if needed; the requests are repeated if it exits meanwhile."""
        deadline = time.monotonic() + ANSWER
        while True:
            connection = self._borrow(start=True)
            assert connection is not None
            try:
                self._admit(connection)
                answers = connection.ask(requests, None if patient else ANSWER)
            except Gone:
                connection.close()
                if time.monotonic() > deadline:
                    raise self._unreachable() from None
                continue
            except TimeoutError:
                connection.close()
                raise self._unreachable() from None
            except BaseException:
                connection.close()
                raise
            self._give_back(connection)
            return answers

    def _admit(self, connection: Connection) -> None:
        if connection.uid != os.geteuid():
            raise SupervisorError(
                f"the supervisor of {self.folder} (process {connection.pid}) belongs to user {connection.uid}",
                hint="act as that user",
            )

    def _borrow(self, start: bool = False) -> Connection | None:
        folder = self.open_folder()  # forked meanwhile: the pool belongs to the parent
        if start:
            self._come_up_first()
        with self._lock:
            if self._pool:
                return self._pool.pop()
        if start:
            return self._launched()
        return connect(folder) if folder is not None else None

    def _launched(self) -> Connection:
        folder = self.open_folder()
        if folder is None:
            raise SupervisorError(f"there is no folder {self.folder}")
        connection = launch(folder, self.folder)
        with self._lock:
            for bell in self._bells:
                os.eventfd_write(bell, 1)
        return connection

    def _come_up(self) -> None:
        with suppress(SupervisorError, OSError):
            self._give_back(self._launched())

    def _come_up_first(self) -> None:
        """Wait for a daemon that is starting."""
        with self._lock:
            coming, self._coming = self._coming, None
        if coming is not None:
            coming.join(ANSWER)

    def _make_folder(self) -> None:
        if self.open_folder() is None:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)

    def _give_back(self, connection: Connection) -> None:
        with self._lock:
            self._pool.append(connection)

    def _unreachable(self) -> SupervisorError:
        folder = self.open_folder()
        return unreachable(folder if folder is not None else -1, self.folder)

    def open_folder(self) -> int | None:
        """A descriptor of the folder, so that it may be moved meanwhile; None: there is no such folder."""
        with self._lock:
            if self._pid != os.getpid():
                # A forked child must not use its parent's connections.
                self._pool, self._bells, self._carriers, self._coming = [], set(), {}, None
                self._pid = os.getpid()
            if self._descriptor is None:
                try:
                    self._descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                except (FileNotFoundError, NotADirectoryError):
                    return None
            return self._descriptor

    @contextmanager
    def _reading(self) -> Iterator[journal.JournalReader | None]:
        """Raises JournalError where the journal cannot be read."""
        folder = self.open_folder()
        if folder is None:
            yield None
            return
        with self._lock:
            if self._reader is None:
                self._reader = journal.JournalReader(folder)
            try:
                yield self._reader
            except OSError as error:
                if error.errno in _PASSING:
                    raise
                raise JournalError(
                    f"the record of the run's processes cannot be read: {error.strerror}",
                    where=os.path.join(self.folder, journal.JOURNAL),
                    hint="put that file back, readable for you: without it nobody knows what the run has started",
                ) from error

    def _supervised(self) -> bool:
        folder = self.open_folder()
        return folder is not None and journal.locked(folder)

    def judged(self, found: list[dict[str, Any]]) -> list[ProcessRecord]:
        """``found`` with the kernel's information about processes that are alive according to the journal."""
        supervised: bool | None = None
        for data in found:
            if data["state"] in journal.ENDED or self._lives(data):
                continue
            if supervised is None:
                supervised = self._supervised()
            if supervised:
                # It has just ended, or its end could not be written yet: its supervisor knows.
                data.update(self._fetch_record(data["id"]) or {})
                continue
            with self._reading() as reader:
                if reader is not None:
                    # The supervisor may have written its end just before it exited.
                    reader.catch_up(data["id"].__eq__)
                    data.update(reader.record(data["id"]) or {})
            if data["state"] not in journal.ENDED:
                here = data.get("boot_id") == proc.boot_id()
                why = journal.REBOOTED if not here else journal.UNSEEN if data.get("pid") else journal.NEVER_SEEN
                data.update(state="lost", error=why)
        return [ProcessRecord.of(data) for data in found]

    def _lives(self, data: dict[str, Any]) -> bool:
        pid, start = data.get("pid"), data.get("start_time")
        return pid is not None and start is not None and proc.process_alive(pid, start, data.get("boot_id") or "")

    def _fetch_record(self, id: str) -> dict[str, Any] | None:
        connection = self._borrow()
        if connection is None:
            return None
        try:
            answer = connection.ask([{"op": "record", "id": id}], BEAT)[0]
        except (Gone, TimeoutError):
            connection.close()
            return None
        self._give_back(connection)
        record = answer.get("ok", {}).get("record")
        return record if isinstance(record, dict) else None

    def _doze(self, record: ProcessRecord | None, seconds: float) -> None:
        """Sleep for some seconds, or until the process ends."""
        descriptor = None
        if record is not None and record.pid is not None and record.start_time is not None:
            descriptor = proc.open_pidfd(record.pid, record.start_time)
        if descriptor is None:
            time.sleep(seconds)
            return
        try:
            readable(descriptor, seconds)
        finally:
            os.close(descriptor)

    def own_umask(self) -> int:
        """This process's umask."""
        if self._umask is None:
            # Asking the kernel: os.umask() would change it for every thread meanwhile.
            with open("/proc/self/status") as file:
                self._umask = next((int(line.split()[1], 8) for line in file if line.startswith("Umask:")), 0o022)
        return self._umask
