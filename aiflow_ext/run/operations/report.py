"""The report of a run: reads what it is made from, and writes it as one HTML file."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import aiflow_ext
from aiflow_ext.bounded_call import CallTooLong, result_within
from aiflow_ext.model.errors import AiflowError, StateError
from aiflow_ext.model.names import container_log, local_path
from aiflow_ext.regular_file import read_regular, read_whole
from aiflow_ext.run.operations.logs import STREAMS, kept_containers
from aiflow_ext.run.operations.observe import Observed
from aiflow_ext.run.operations.outputs import PATIENCE, files_of, read_remote
from aiflow_ext.run.operations.seen import edges_of_plan, seen_edges
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.store.ran_with import ran_with_of
from aiflow_ext.run.store.records import AttemptRecord, RunRecord
from aiflow_ext.shared_folder import share_file
from aiflow_ext.supervise.clock import Clock
from aiflow_ext.view.report import MOST_FAILED, LogEnd, Picture, Report, report_html
from aiflow_ext.view.seen import Edge

_log = logging.getLogger("aiflow_ext")
FILE = "report.html"  # in a run's folder
LOG_END = 16 << 10  # bytes of a log
LARGEST_PICTURE, LARGEST_PICTURES, MOST_PICTURES = 4 << 20, 16 << 20, 50  # bytes of one and of all, and their number
_KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".svg": "image/svg+xml",
          ".gif": "image/gif", ".webp": "image/webp"}  # fmt: skip


def write_report(observed: Observed, file: str | os.PathLike[str] | None = None) -> Path:
    """Write the report of a run as it was last read, and return its absolute path.

    Args:
        observed: the run.
        file: the file, which is replaced where there is one; by default ``report.html`` in the run's folder.

    What cannot be read for it is named in it. Raises StateError where it cannot be written.
    """
    remarks: list[str] = []
    edges: Sequence[Edge] = ()
    plan: Plan | None = None
    try:
        edges = seen_edges(observed)
        plan = observed.plan
    except AiflowError as error:
        what = "the pictures among its artifacts" if edges else "what its jobs wait for, and pictures,"
        remarks.append(f"{what} cannot be told: {error.message}")
    return _written(observed.record, plan, edges, remarks, file, observed.driver)


def report_at_end(plan: Plan, record: RunRecord) -> None:
    """Write the report of a run that has ended, if its project says so. A failure is logged, and changes nothing."""
    if plan.report is None or record.ended_at is None:
        return
    try:
        file = Path(plan.report, f"{record.run_id}.html") if plan.report else None
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        _written(record, plan, edges_of_plan(plan), [], file)
    except (AiflowError, OSError) as error:
        words = error.message if isinstance(error, AiflowError) else error.strerror
        _log.warning("the report of run %s was not written: %s; to write it: aiflow-ext report %s --output FILE",
                     record.run_id, words, record.run_id)  # fmt: skip


def _written(
    record: RunRecord,
    plan: Plan | None,
    edges: Sequence[Edge],
    remarks: Sequence[str],
    file: str | os.PathLike[str] | None,
    driver: int | None = None,
) -> Path:
    path = Path(os.path.abspath(Path(record.folder, FILE) if file is None else file))
    report = Report(
        {**record.summary(), "driver": driver},
        edges,
        Clock(record.folder).now(),
        list(_logs(record)),
        {each.job: found.in_words() for each in _failed(record) if (found := ran_with_of(each.folder)) is not None},
        [] if plan is None else list(_pictures(plan, record)),
        remarks,
        aiflow_ext.__version__,
    )
    _replace(path, report_html(report).encode())
    return path


def _replace(path: Path, data: bytes) -> None:
    """Have a file hold this, at once and for its owner, and for whom its folder is shared with."""
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".report-", suffix=".html", dir=path.parent)
        with open(descriptor, "wb") as made:
            made.write(data)
            share_file(descriptor, path.parent)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise StateError(f"the report cannot be written: {error.strerror}", where=str(path),
                         hint="name a file in a folder that you can write to: --output FILE") from error  # fmt: skip


def _failed(record: RunRecord) -> list[AttemptRecord]:
    """The latest attempts of the failed jobs that are told of at length."""
    return [job.last for job in record.jobs.values() if job.state.failed and job.last is not None][:MOST_FAILED]


def _logs(record: RunRecord) -> Iterator[LogEnd]:
    """The ends of the logs of failed jobs, as far as they are on this machine."""
    for attempt in _failed(record):
        for stream in (*reversed(STREAMS), *map(container_log, kept_containers(attempt))):
            if (end := _end(attempt, stream)) is not None:
                yield end


def _end(attempt: AttemptRecord, stream: str) -> LogEnd | None:
    path = os.path.join(attempt.folder, stream)
    try:
        size = os.stat(path, follow_symlinks=False).st_size
        before = max(0, size - LOG_END)
        data = read_regular(path, LOG_END, before, follow=False)
    except OSError:  # it is still on its platform, or was removed
        return None
    if before:  # a line, or a character, may have been cut
        cut = data.find(b"\n", 0, -1) + 1
        data, before = data[cut:], before + cut
    return LogEnd(attempt.job, attempt.number, stream, data, before) if data else None


def _pictures(plan: Plan, record: RunRecord) -> Iterator[Picture]:
    """The pictures among the files that finished jobs have kept."""
    left, silent = LARGEST_PICTURES, False
    found = [each for each in files_of(plan, record) if each["form"] == "file" and _kind(each["path"]) is not None]
    for number, each in enumerate(found):
        path, kind = each["path"], _kind(each["path"]) or ""
        name = path.rpartition("/")[2]
        if number == MOST_PICTURES:
            more = f"and {len(found) - number} more files like it are not shown"
            yield Picture(each["job"], name, kind, None, f"it is not shown: {more}")
            return
        if each["size"] > min(LARGEST_PICTURE, left):
            yield Picture(
                each["job"], name, kind, None, f"it is not shown, because of its size: {each['size']:,} bytes"
            )
            continue
        try:
            if silent:
                raise CallTooLong("its file system does not answer")
            data = _read(path, each["size"])
        except Exception as error:  # of any file system
            silent = silent or isinstance(error, CallTooLong)  # one wait for all pictures
            yield Picture(each["job"], name, kind, None, f"it cannot be read: {error}"[:300])
            continue
        if hashlib.sha256(data).hexdigest() != each["sha256"]:
            yield Picture(each["job"], name, kind, None, "it is not what the job has recorded (sha256 or size differ)")
            continue
        left -= len(data)
        yield Picture(each["job"], name, kind, data)


def _kind(path: str) -> str | None:
    return _KINDS.get(os.path.splitext(path)[1].lower())


def _read(path: str, size: int) -> bytes:
    """A file of this size, at a path or a URL; a byte more shows that it is longer."""
    local = local_path(path)
    if local is not None:
        return read_whole(local, size + 1, follow=False)
    from fsspec.core import url_to_fs

    def read() -> bytes:
        system, there = url_to_fs(path)
        return read_remote(system, there, size + 1)

    return result_within(PATIENCE, read)
