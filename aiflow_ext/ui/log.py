"""The log of one attempt, from any byte on, and as it grows."""

from __future__ import annotations

import os
from pathlib import Path

from aiflow_ext.model.errors import ConfigError
from aiflow_ext.model.names import container_log
from aiflow_ext.run.operations.logs import STREAMS, LogSource, kept_containers
from aiflow_ext.run.operations.observe import Observed
from aiflow_ext.run.store.changes import jobs_now, state_of
from aiflow_ext.run.store.find import attempt_of


class Log:
    """A stream of an attempt that is read on and on. Not for use by several threads at once.

    Args:
        observed: the run; its store stays open as long as this is used.
        job: the job's key.
        number: the attempt's.
        stream: ``stdout``, ``stderr``, or the name of a container whose log was kept.
        offset: the byte to begin with; a negative one counts from the end of what there is, where that is known.

    Attributes:
        begin: the byte that it begins with.
        size: how many bytes there are so far; None: only its platform knows.

    Raises ConfigError for a job, an attempt or a stream that the run lacks.
    """

    def __init__(self, observed: Observed, job: str, number: int, stream: str, offset: int = 0) -> None:
        self._observed = observed
        self._attempt = attempt_of(observed.record, job, number)
        if stream not in STREAMS:
            if stream not in kept_containers(self._attempt):
                raise ConfigError(f"attempt {number} of job {job!r} has no log of a container {stream!r}")
            stream = container_log(stream)
        self._source = LogSource(observed, self._attempt, stream, patient=True)
        self.size = _size(Path(self._attempt.folder, stream))
        self.begin = self._source.offset = max(0, (self.size or 0) + offset) if offset < 0 else offset

    def read(self) -> bytes:
        """What has come since the last read, at most a MiB; empty where there is nothing new."""
        return self._source.read()

    def is_over(self) -> bool:
        """Whether nothing more can come but what is there now: read until there is nothing new after this."""
        store, run_id, attempt = self._observed.store, self._observed.run_id, self._attempt
        state = state_of(store.database, run_id)
        if state is None or state.ended_at is not None:
            return True
        now = [each for job in jobs_now(store.database, run_id, [attempt.job]) for each in job.attempts]
        found = now[attempt.number - 1 : attempt.number]
        if not found:
            return True
        step, cleaned, ended = found[0].step, found[0].cleaned, found[0].state.ended
        self._attempt.step, self._attempt.cleaned = step, cleaned  # whether the platform may still have it
        return ended and (cleaned or self._observed.driver is None)


def streams_of(observed: Observed, job: str, number: int) -> list[str]:
    """The names of the logs that an attempt has. Raises ConfigError for a job or an attempt that the run lacks."""
    return [*STREAMS, *kept_containers(attempt_of(observed.record, job, number))]


def _size(path: Path) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None
