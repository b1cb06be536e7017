"""Where a run's records are kept while it runs: in memory, and every transition on disk as it happens."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

from aiflow_ext.model.errors import StateError
from aiflow_ext.model.jsonable import dumps
from aiflow_ext.model.states import JobState
from aiflow_ext.run.records import AttemptRecord, JobRecord, RunRecord, Transition


class Ledger:
    """The only place that changes a record. Each change is appended to ``transitions.jsonl`` in the run's folder,
    and ``run.json`` there holds the whole record once the run has ended.

    Raises StateError where the folder cannot be written (a full disk, no permission).
    """

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self._seq = 0
        self._folder = Path(record.folder)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(self._folder / "transitions.jsonl", flags, 0o600)
        except OSError as error:
            raise self._unwritable(error) from error

    def attempt(self, job: JobRecord, folder: str) -> AttemptRecord:
        """A new attempt of ``job``, in state INIT."""
        made = AttemptRecord(job.name, len(job.attempts) + 1, folder)
        job.attempts.append(made)
        job.state, job.reason = JobState.INIT, None
        return made

    def move(self, attempt: AttemptRecord, state: JobState, at: float | None = None, **facts: Any) -> Transition | None:
        """Bring an attempt to ``state``; None where it cannot go there any more (a late or repeated event)."""
        attempt.learn(**facts)
        if not attempt.state.may_become(state):
            return None
        previous, attempt.state = attempt.state, state
        now = at if at is not None else time.time()
        if state is JobState.RUNNING:
            attempt.started_at = now
        elif state.ended:
            attempt.ended_at = now
        job = self.record.jobs[attempt.job]
        if job.last is attempt:
            job.state, job.reason = state, attempt.reason
        return self._note(
            Transition(0, self.record.run_id, attempt.job, attempt.number, state, previous, now,
                       native_id=attempt.native_id, exit_code=attempt.exit_code, signal=attempt.signal,
                       reason=attempt.reason)
        )  # fmt: skip

    def skip(self, job: JobRecord, reason: str, state: JobState = JobState.SKIPPED) -> Transition:
        """End a job that never gets an attempt."""
        previous, job.state, job.reason = job.state, state, reason
        return self._note(
            Transition(0, self.record.run_id, job.name, None, state, previous, time.time(), reason=reason)
        )

    def close(self, state: JobState) -> None:
        """The run has ended: write the whole record."""
        self.record.state, self.record.ended_at = state, time.time()
        self.save()
        os.close(self._file)

    def save(self) -> None:
        """Write ``run.json``: all of it or none."""
        path = self._folder / "run.json"
        temporary = path.with_suffix(".part")
        try:
            temporary.write_text(json.dumps(self.record.summary(), indent=1), encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            raise self._unwritable(error) from error

    def _note(self, transition: Transition) -> Transition:
        self._seq += 1
        transition.seq = self._seq
        line = dumps(transition).encode() + b"\n"
        try:
            written = os.write(self._file, line)
            if written < len(line):  # the disk is full: leave no half of a line
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise self._unwritable(error) from error
        return transition

    def _unwritable(self, error: OSError) -> StateError:
        return StateError(
            f"the run's records cannot be written: {error.strerror}",
            where=str(self._folder),
            hint="make room or give permission there; AIFLOW_STATE names another folder for state",
        )
