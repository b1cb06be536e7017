"""The logs of a run's attempts: from the run's folder, or from the platform until they are copied there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from aiflow_ext.model.errors import ConfigError, PlatformError, UnreachableError
from aiflow_ext.model.names import container_log
from aiflow_ext.regular_file import read_regular
from aiflow_ext.run.operations.observe import Observed
from aiflow_ext.run.store.find import attempt_of, job_of
from aiflow_ext.run.store.records import AttemptRecord

CHUNK = 1 << 20
STREAMS = ("stdout", "stderr")


class LogSource:
    """One stream of one attempt, read from where the last read ended.

    Args:
        patient: a platform that does not answer counts as nothing new, instead of an error; for readers that retry.
    """

    def __init__(self, observed: Observed, attempt: AttemptRecord, stream: str, patient: bool = False) -> None:
        self.observed, self.attempt, self.stream, self.patient = observed, attempt, stream, patient
        self.offset = 0
        self._path = Path(attempt.folder) / stream

    def read(self) -> bytes:
        """The bytes that were added since the last read, at most a MiB; empty if there are none."""
        data = self._from_file()
        if data is None:
            data = self._from_platform()
        self.offset += len(data)
        return data

    def skip_to_tail(self, lines: int) -> None:
        """Skip to the last ``lines`` lines that exist now."""
        kept: list[bytes] = []
        while data := self.read():
            kept = [*kept, data][-8:]
        text = b"".join(kept)
        ends = [index for index, byte in enumerate(text[:-1]) if byte == 10]
        start = ends[-lines] + 1 if len(ends) >= lines > 0 else (len(text) if lines == 0 else 0)
        self.offset -= len(text) - start

    def _from_file(self) -> bytes | None:
        try:
            return read_regular(self._path, CHUNK, self.offset)
        except FileNotFoundError:
            return None
        except OSError as error:
            words = f"the {self.stream} of {self.attempt.job} cannot be read: {error.strerror}"
            raise PlatformError(words, where=str(self._path)) from error

    def _from_platform(self) -> bytes:
        if self.stream not in STREAMS:  # a container's, which is kept at the end or not at all
            return b""
        if self.attempt.step is None or self.attempt.cleaned:  # after the cleanup it can only be in the run's folder
            return b""
        from aiflow_ext.run.operations.refresh import attached

        try:
            _, _, handler = attached(self.observed.stored, self.observed.record, self.attempt)
            return (handler.logs(self.stream, self.offset) if handler is not None else None) or b""
        except UnreachableError:
            if self.patient:
                return b""
            raise


def sources(
    observed: Observed,
    jobs: Sequence[str] = (),
    *,
    stream: str = "stdout",
    attempt: int | None = None,
    patient: bool = False,
) -> list[LogSource]:
    """The log sources of some jobs' attempts (of all jobs where none is named): the latest, or number ``attempt``.

    Raises ConfigError for a job or an attempt that the run lacks.
    """
    record = observed.record
    found = []
    for name in jobs or record.jobs:
        attempts = job_of(record, name).attempts
        if attempt is not None and jobs:
            chosen = [attempt_of(record, name, attempt)]
        else:
            chosen = attempts[attempt - 1 : attempt] if attempt is not None else attempts[-1:]
        found += [LogSource(observed, each, stream, patient) for each in chosen]
    if attempt is not None and not jobs and not found:
        most = max(len(job.attempts) for job in record.jobs.values())
        raise ConfigError(f"no job of run {record.run_id} has had more than {most} attempt{'' if most == 1 else 's'}")
    return found


def kept_containers(attempt: AttemptRecord) -> list[str]:
    """The other containers than the job's whose logs are kept in an attempt's folder."""
    before, after = container_log("\n").split("\n")
    try:
        names = sorted(os.listdir(attempt.folder))
    except OSError:
        return []
    return [name[len(before) : -len(after)] for name in names if name.startswith(before) and name.endswith(after)]


def whole_lines(source: LogSource, rest: bytearray, *, ended: bool) -> Iterator[list[bytes]]:
    """New complete lines of a source, some at a time.

    Args:
        source: where to read.
        rest: the beginning of an unfinished line; kept up to date. From ``CHUNK`` bytes on it is a line of its own.
        ended: whether nothing follows: then what is unfinished is a line, too.
    """
    while data := source.read():
        *whole, last = data.split(b"\n")
        lines = [line + b"\n" for line in whole]
        if lines:
            lines[0] = bytes(rest) + lines[0]
            rest.clear()
        rest += last
        if len(rest) >= CHUNK:
            lines.append(bytes(rest))
            rest.clear()
        if lines:
            yield lines
    if ended and rest:
        yield [bytes(rest)]
        rest.clear()


def iterate(source: LogSource) -> Iterator[bytes]:
    """Everything that a source has now."""
    while data := source.read():
        yield data
