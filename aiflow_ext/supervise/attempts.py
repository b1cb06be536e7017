"""Attempts as supervised processes: what the platform local and the attempt host have in common.

The native id of such an attempt is the path of its folder, ``<run folder>/jobs/<job>/<attempt>``.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterator
from pathlib import Path

from aiflow_ext.model.attempt import AttemptEvent, Lookup
from aiflow_ext.model.job import AbstractJobHandler
from aiflow_ext.model.states import JobState
from aiflow_ext.supervise.client import Supervisor
from aiflow_ext.supervise.records import ProcessRecord

REASON_FILE = "reason"
_supervisors: dict[str, Supervisor] = {}


def run_folder(native_id: str) -> Path:
    """The run's folder, where the supervisor of all its processes lives."""
    return Path(native_id).parents[2]


def process_id(native_id: str) -> str:
    """The attempt's id at its supervisor."""
    return "/".join(Path(native_id).parts[-2:])


def supervisor_of(native_id: str) -> Supervisor:
    """The client of the supervisor of an attempt's run; one a process and run."""
    folder = str(run_folder(native_id))
    if folder not in _supervisors:
        _supervisors[folder] = Supervisor(folder)
    return _supervisors[folder]


def event_of(native_id: str, record: ProcessRecord) -> AttemptEvent | None:
    """What a process record says of its attempt; None where it says nothing yet."""
    cursor = str(record.seq)
    if record.state == "running":
        return AttemptEvent(native_id, JobState.RUNNING, time=record.started_at, cursor=cursor)
    if record.state == "ended":
        ok = record.exit_code == 0
        reason = None if ok else _reason(native_id, record)
        return AttemptEvent(
            native_id,
            JobState.FINISHED if ok else JobState.FAILED,
            time=record.ended_at,
            exit_code=record.exit_code,
            signal=record.signal,
            reason=reason,
            cursor=cursor,
        )
    if record.state == "not_started":
        return AttemptEvent(
            native_id, JobState.FAILED, time=record.ended_at, reason=f"could not be started: {record.error}",
            cursor=cursor,
        )  # fmt: skip
    if record.state == "cancelled":
        return AttemptEvent(native_id, JobState.STOPPED, time=record.ended_at, reason="stopped before it started",
                            cursor=cursor)  # fmt: skip
    if record.state == "lost":
        reason = record.error or "the process and its supervisor are gone without a recorded end"
        return AttemptEvent(native_id, JobState.LOST, time=record.ended_at, reason=reason, cursor=cursor)
    return None


def watch(native_ids: Collection[str], since: str | None = None) -> Iterator[AttemptEvent | None]:
    """The events of a run's attempts, oldest first, then as they happen; None at least once a second in between.

    ``native_ids`` may grow while this is read; all are of one run.
    """
    first = next(iter(native_ids), None)
    if first is None:
        return
    jobs = run_folder(first) / "jobs"
    for record in supervisor_of(first).events(int(since or 0)):
        if record is None:
            yield None
            continue
        native_id = str(jobs / record.id)
        if native_id in native_ids and (event := event_of(native_id, record)) is not None:
            yield event


def lookup(native_id: str) -> Lookup:
    """What the supervisor knows of an attempt. Raises SupervisorError where there is one that does not answer."""
    supervisor = supervisor_of(native_id)
    if supervisor.known(process_id(native_id)):
        return Lookup.FOUND
    # The journal is written before anything is spawned: what is not in it has never started. Only what a power loss
    # has left of it says nothing of the last seconds before.
    return Lookup.NEVER_STARTED if supervisor.of_this_boot() else Lookup.UNKNOWN


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
            with open(Path(self.native_id, stream), "rb") as file:
                file.seek(offset)
                return file.read(1 << 20)
        except FileNotFoundError:
            return b""

    def stop(self, grace: float = 10.0) -> bool | None:
        stop(self.native_id, grace)
        return True


def _reason(native_id: str, record: ProcessRecord) -> str:
    try:
        words = Path(native_id, REASON_FILE).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        words = ""
    if record.signal is not None:
        return words or f"ended by {signal_name(record.signal)}"
    return words or f"exit code {record.exit_code}"


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9, and so on."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def prepare_folder(native_id: str) -> Path:
    """Make the attempt's folder with its ``work`` folder in it; returns the latter."""
    work = Path(native_id, "work")
    work.mkdir(parents=True, exist_ok=True)
    os.chmod(native_id, 0o700)
    return work
