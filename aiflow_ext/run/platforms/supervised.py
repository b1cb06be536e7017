"""Attempts as supervised processes: for the platform local and for attempt hosts.

The native id of such an attempt is the path of its folder, ``<run folder>/jobs/<job>/<attempt>``.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from aiflow_ext.model.attempt import AttemptEvent, Lookup
from aiflow_ext.model.current import OUT_OF_MEMORY, UNFINISHED
from aiflow_ext.model.job import AbstractJobHandler
from aiflow_ext.model.resources import Usage
from aiflow_ext.model.states import JobState
from aiflow_ext.regular_file import read_regular, write_regular
from aiflow_ext.run.store.attempt_folders import checkpoints as checkpoints
from aiflow_ext.run.store.attempt_folders import make_attempt_folder as make_attempt_folder
from aiflow_ext.run.store.attempt_folders import make_folder as make_folder
from aiflow_ext.run.store.attempt_folders import prepare_folder as prepare_folder
from aiflow_ext.run.store.records import LONGEST_REASON, shortened
from aiflow_ext.supervise.client import Supervisor
from aiflow_ext.supervise.events import Events
from aiflow_ext.supervise.launch import SupervisorError
from aiflow_ext.supervise.records import ProcessRecord

REASON_FILE = "reason"
STATUS_FILE = "status.json"
_STATUS_LIMIT = 64 << 10
_NO_ROOM = errno.ENOSPC, errno.EDQUOT, errno.EROFS
_supervisors: dict[str, Supervisor] = {}


def run_folder(native_id: str) -> Path:
    """The run's folder, which is also the folder of its supervisor."""
    return Path(native_id.rsplit(os.sep, 3)[0])


def process_id(native_id: str) -> str:
    """The attempt's id at its supervisor."""
    return "/".join(native_id.rsplit(os.sep, 2)[1:])


def supervisor_of(native_id: str) -> Supervisor:
    """The client of the supervisor of an attempt's run; one for each process and run."""
    folder = native_id.rsplit(os.sep, 3)[0]
    if folder not in _supervisors:
        _supervisors[folder] = Supervisor(folder)
    return _supervisors[folder]


def expect(run: str) -> None:
    """Start the supervisor of a run in advance, because its first attempt will be started soon."""
    supervisor = _supervisors[run] = Supervisor(run)
    supervisor.expect()


def hang_up(run: str) -> None:
    """Close the connections of this process to a run's supervisor; its processes go on."""
    supervisor = _supervisors.pop(run, None)
    if supervisor is not None:
        supervisor.close()


def event_of(native_id: str, record: ProcessRecord) -> AttemptEvent | None:
    """The event of an attempt from its process's record; None if there is none yet."""
    return _event_of(native_id, record, status_of(native_id) if record.state == "running" else None)


def _event_of(native_id: str, record: ProcessRecord, said: Status | None) -> AttemptEvent | None:
    """The same, for a process that runs with what it says of its job."""
    cursor = str(record.seq)
    if record.state == "running":
        if said is not None:
            return said.event(native_id, record.started_at, cursor)
        return AttemptEvent(native_id, JobState.RUNNING, time=record.started_at, cursor=cursor)
    if record.state == "ended":
        reason = _reason(native_id, record)
        failed = JobState.STOPPED if record.exit_code == 0 and reason != UNFINISHED else JobState.FAILED
        return AttemptEvent(
            native_id,
            JobState.FINISHED if reason is None else failed,
            time=record.ended_at,
            exit_code=record.exit_code,
            signal=record.signal,
            reason=reason,
            out_of_memory=reason is not None and reason.startswith(OUT_OF_MEMORY),
            usage=_usage(native_id, record),
            cursor=cursor,
        )
    if record.state == "not_started":
        return AttemptEvent(
            native_id, JobState.FAILED, time=record.ended_at, reason=f"could not be started: {record.error}",
            disruption=_of_no_room(record.error or ""), cursor=cursor,
        )  # fmt: skip
    if record.state == "cancelled":
        return AttemptEvent(native_id, JobState.STOPPED, time=record.ended_at, reason="stopped before it started",
                            cursor=cursor)  # fmt: skip
    if record.state == "lost":
        reason = record.error or "the process and its supervisor are gone without a recorded end"
        return AttemptEvent(native_id, JobState.LOST, time=record.ended_at, reason=reason, cursor=cursor)
    return None


class Status(NamedTuple):
    """What the process of an attempt says of the job that it runs elsewhere, in the file ``STATUS_FILE``.

    Attributes:
        state: QUEUED or RUNNING.
        reason: in words, where there is more to say.
        instance: what the job runs in: the address of a web page.
        restarts: how often it was started again.
        at: when it began to run, in seconds since the epoch; None before.
    """

    state: JobState = JobState.QUEUED
    reason: str | None = None
    instance: str | None = None
    restarts: int = 0
    at: float | None = None

    def write(self, native_id: str) -> None:
        """Write it for the watch. An earlier one is replaced as a whole."""
        made = f"{native_id}/.{STATUS_FILE}"
        write_regular(made, json.dumps({**self._asdict(), "state": str(self.state)}).encode())
        os.replace(made, f"{native_id}/{STATUS_FILE}")

    def event(self, native_id: str, time: float | None, cursor: str) -> AttemptEvent:
        """It as an event."""
        return AttemptEvent(native_id, self.state, time=self.at or time, reason=self.reason, instance=self.instance,
                            restarts=self.restarts, cursor=cursor)  # fmt: skip


def status_of(native_id: str) -> Status | None:
    """What the process of an attempt says of its job; None where it says nothing: the process is the job."""
    path = f"{native_id}/{STATUS_FILE}"
    if not os.access(path, os.F_OK):
        return None
    try:
        found = json.loads(read_regular(path, _STATUS_LIMIT))
        reason, instance = (None if found[key] is None else str(found[key]) for key in ("reason", "instance"))
        state = JobState.RUNNING if found["state"] == "RUNNING" else JobState.QUEUED
        at = None if found["at"] is None else float(found["at"])
        return Status(state, reason, instance, int(found["restarts"]), at)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # the job has written it: the process runs, and that is all that is known


class AttemptEvents:
    """The events of a run's attempts, oldest first, then as they happen; None at least once a second in between.

    ``native_ids`` may grow while this is read; all are of one run. Ends at once where there are none. It can be polled,
    as :class:`~aiflow_ext.supervise.client.Events` can.
    """

    def __init__(self, native_ids: Collection[str], since: str | None = None) -> None:
        self._jobs = ""
        self._records: Events | None = None
        self._elsewhere: dict[str, tuple[ProcessRecord, Status]] = {}  # attempts whose jobs run elsewhere
        if (first := next(iter(native_ids), None)) is not None:
            jobs = self._jobs = first.rsplit(os.sep, 2)[0]
            self._records = supervisor_of(first).events(int(since or 0), lambda id: f"{jobs}/{id}" in native_ids)

    def __iter__(self) -> AttemptEvents:
        return self

    def __next__(self) -> AttemptEvent | None:
        if self._records is None:
            raise StopIteration
        for record in self._records:
            if record is None:
                return self._changed() if self._elsewhere else None
            native_id = f"{self._jobs}/{record.id}"
            self._elsewhere.pop(native_id, None)
            said = status_of(native_id) if record.state == "running" else None
            if said is not None:
                self._elsewhere[native_id] = record, said
            if (event := _event_of(native_id, record, said)) is not None:
                return event
        raise StopIteration

    def _changed(self) -> AttemptEvent | None:
        """An event of an attempt whose process says something else than before."""
        for native_id, (record, said) in self._elsewhere.items():
            now = status_of(native_id)
            if now is not None and now != said:
                self._elsewhere[native_id] = record, now
                return now.event(native_id, record.started_at, str(record.seq))
        return None

    def fileno(self) -> int:
        """A descriptor to poll; -1 if there are no attempts."""
        return self._records.fileno() if self._records is not None else -1

    def setblocking(self, flag: bool) -> None:
        """Set whether ``next`` waits for the next event."""
        if self._records is not None:
            self._records.setblocking(flag)

    def hold(self, beside: int | None) -> None:
        """Let attempts that are submitted from now on wait until at most so many others run; None: do not wait."""
        if self._records is not None:
            self._records.hold(beside)

    def recall(self) -> None:
        """Forget the attempts that wait and have not been started yet."""
        if self._records is not None:
            self._records.recall()

    def close(self) -> None:
        """Close the connection."""
        if self._records is not None:
            self._records.close()


watch = AttemptEvents


def lookup(native_id: str) -> Lookup:
    """What the supervisor knows of an attempt. Raises SupervisorError if it does not answer."""
    supervisor = supervisor_of(native_id)
    if supervisor.known(process_id(native_id)):
        return Lookup.FOUND
    # The journal is written before a spawn: an attempt that is not in it has never started. Only after a power loss it
    # may lack the last seconds before.
    return Lookup.NEVER_STARTED if supervisor.of_this_boot() else Lookup.UNKNOWN


def succeeded(native_id: str) -> bool:
    """Whether the attempt's process has ended with exit code 0."""
    record = supervisor_of(native_id).record(process_id(native_id))
    return record is not None and record.state == "ended" and _reason(native_id, record) is None


def stop(native_id: str, grace: float = 10.0) -> None:
    """End the attempt and everything it started; returns once it is gone. Before the start: it never starts."""
    supervisor_of(native_id).stop(process_id(native_id), grace)


class ProcessHandler(AbstractJobHandler):
    """The handler of an attempt that is a supervised process of this machine."""

    def __init__(self, native_id: str) -> None:
        self.native_id = native_id

    def state(self) -> JobState | None:
        record = supervisor_of(self.native_id).record(process_id(self.native_id))
        event = event_of(self.native_id, record) if record is not None else None
        return event.state if event is not None else JobState.SUBMITTING

    def wait(self, timeout: float | None = None) -> JobState | None:
        supervisor_of(self.native_id).wait(process_id(self.native_id), timeout)
        return self.state()

    def logs(self, stream: str = "stdout", offset: int = 0) -> bytes | None:
        if stream not in ("stdout", "stderr"):
            raise ValueError(f"stream is stdout or stderr, not {stream!r}")
        try:
            return read_regular(Path(self.native_id, stream), 1 << 20, offset)
        except FileNotFoundError:
            return b""

    def stop(self, grace: float = 10.0) -> bool | None:
        stop(self.native_id, grace)
        return True


def _reason(native_id: str, record: ProcessRecord) -> str | None:
    """Why an attempt has failed; None if it has not."""
    path, words = f"{native_id}/{REASON_FILE}", ""
    if os.access(path, os.F_OK):  # a plain command has none, and an open that fails costs ten times as much
        words = reason_words(native_id)
    if record.exit_code == 0:
        return words if words == UNFINISHED or words.startswith("stopped ") else None
    if words == UNFINISHED:
        words = ""
    if not words:
        words = f"ended by {signal_name(record.signal)}" if record.signal else f"exit code {record.exit_code}"
    killed = record.out_of_memory and not record.stop_requested and not words.startswith(OUT_OF_MEMORY)
    return f"{OUT_OF_MEMORY}{words}" if killed else words


def _usage(native_id: str, record: ProcessRecord) -> Usage | None:
    """What an attempt's process has used; None where that is not known, or the job has run elsewhere."""
    spent = record.rusage
    if spent is None or os.access(f"{native_id}/{STATUS_FILE}", os.F_OK):
        return None
    try:
        return Usage(int(spent["max_rss_kb"]) << 10, spent["user"] + spent["system"], "process")
    except (LookupError, TypeError, ValueError, OverflowError):  # the journal is damaged
        return None


def no_room(error: BaseException | None) -> bool:
    """Whether something failed because this machine's disk is full, has no inode left or is read-only: no job's
    fault."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return True
        if isinstance(error, SupervisorError) and _of_no_room(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _of_no_room(words: str) -> bool:
    """The same, of words of the supervisor."""
    return any(os.strerror(number) in words for number in _NO_ROOM)


def reason_words(native_id: str) -> str:
    """The text that the job or its runner wrote into the reason file, ``LONGEST_REASON`` characters at most."""
    with contextlib.suppress(OSError):
        words = read_regular(f"{native_id}/{REASON_FILE}", 4 * LONGEST_REASON + 1).decode("utf-8", "replace").strip()
        return shortened(words)
    return ""


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9, and so on."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
