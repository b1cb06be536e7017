"""A run that was opened: its states, its results, its logs, and what can be done with it.

Every call reads the project's records anew, with a connection of its own, so that any thread may make it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from aiflow_ext.api.jobs import JobResults, JobsByName
from aiflow_ext.api.waiting import each, each_async, within
from aiflow_ext.model.errors import AiflowError, StateError
from aiflow_ext.model.states import JobState
from aiflow_ext.run.operations.failed import check_finished
from aiflow_ext.run.operations.notebook import shown_live
from aiflow_ext.run.operations.observe import Observed, list_runs, observe, until_over
from aiflow_ext.run.operations.outputs import Place, places_of
from aiflow_ext.run.store.records import RunRecord, Transition

_log = logging.getLogger("aiflow_ext")
_MOST = 1000  # transitions that are read at once


class LogLine(NamedTuple):
    """A line that a job has printed.

    Attributes:
        job: the job's key.
        attempt: number of the attempt, from 1.
        text: the line without its end; bytes that are not UTF-8 are replaced.
    """

    job: str
    attempt: int
    text: str


class OpenedRun:
    """A run as its records had it when they were last read: on opening, and by every method but ``logs``. While
    ``transitions`` and ``log_lines`` go on, they read them again and again.

    Attributes:
        run_id: its whole id.
        project: the project's folder.
    """

    def __init__(self, observed: Observed) -> None:
        self.run_id = observed.run_id
        self._take(observed)

    @property
    def state(self) -> JobState:
        """FINISHED, FAILED or STOPPED; RUNNING while it goes on, and while nothing drives it."""
        return self._record.state

    @cached_property
    def jobs(self) -> JobsByName:
        """Its jobs by their keys, in the workflow's order. Raises StateError where the run's plan cannot be read."""
        record, places = self._record, dict[str, list[Place]]()
        with self._observed() as observed:
            for place in places_of(observed.plan, record):
                places.setdefault(place.job, []).append(place)
        return JobsByName(
            self.run_id, {name: JobResults(job, places.get(name, [])) for name, job in record.jobs.items()}
        )

    def refresh(self) -> OpenedRun:
        """Read the records again, and return this run. Where it has no driver, its platforms are asked."""
        with self._observed() as observed:
            observed.refresh()
            self._take(observed)
        return self

    def status(self) -> dict[str, Any]:
        """What ``aiflow-ext status --json`` prints now (docs/json.md)."""
        with self._observed() as observed:
            observed.refresh()
            self._take(observed)
            return {**observed.record.summary(), "driver": observed.driver}

    def wait(self, timeout: float | None = None, *, check: bool = False) -> OpenedRun:
        """Wait until it has ended, and return this run.

        Args:
            timeout: seconds; None (default) for no limit.
            check: raise RunFailedError unless it has FINISHED; False by default.

        Raises TimeoutError, and StateError where nothing drives it: ``resume`` goes on with it.
        """
        with shown_live(lambda: self._record):
            for _ in each(self._waiting(timeout)):
                pass
        return self._checked(check)

    async def wait_async(self, timeout: float | None = None, *, check: bool = False) -> OpenedRun:
        """As :meth:`wait`, to be awaited. Cancelling it changes nothing of the run."""
        with shown_live(lambda: self._record):
            async for _ in each_async(self._waiting(timeout)):
                pass
        return self._checked(check)

    def stop(
        self, job: str | None = None, *, grace: float = 10.0, wait: bool = True, timeout: float | None = None
    ) -> OpenedRun:
        """Stop it, or one of its jobs, as ``aiflow-ext stop`` does, and return this run.

        Args:
            job: the job's key; by default all of them.
            grace: seconds between asking a job to end and ending it.
            wait: whether to wait until it is gone; True by default.
            timeout: seconds to wait; None (default) for no limit.

        Raises ConfigError for a job that the run lacks, PlatformError if it could not be stopped, TimeoutError.
        """
        for words in each(self._stopping(job, grace, wait, timeout)):
            _log.warning("%s", words)
        return self

    async def stop_async(
        self, job: str | None = None, *, grace: float = 10.0, wait: bool = True, timeout: float | None = None
    ) -> OpenedRun:
        """As :meth:`stop`, to be awaited."""
        async for words in each_async(self._stopping(job, grace, wait, timeout)):
            _log.warning("%s", words)
        return self

    def resume(
        self,
        *,
        failed: bool = False,
        from_job: str | None = None,
        jobs: int | None = None,
        update: bool = False,
        listener: Callable[[Transition], None] | None = None,
        check: bool = False,
    ) -> OpenedRun:
        """Go on with it, as ``aiflow-ext resume`` does: drive it in this thread to its end, and return this run.

        Args:
            failed: give FAILED, STOPPED, LOST and SKIPPED jobs a new attempt; False by default.
            from_job: give this job and every job after it a new attempt; None by default.
            jobs: how many jobs run at once; by default as the run was started with.
            update: what runs again gets the project's code, config and graph of today; False by default.
            listener: called with every Transition, in order, in this thread.
            check: raise RunFailedError unless it has FINISHED; False by default.

        Raises StateError if another process drives it, ConfigError for a job that it lacks.
        """
        from aiflow_ext.run import resume_run

        resume_run(self.run_id, project=self.project, failed=failed, from_job=from_job, jobs=jobs, update=update,
                   listener=listener)  # fmt: skip
        return self.refresh()._checked(check)

    async def resume_async(
        self,
        *,
        failed: bool = False,
        from_job: str | None = None,
        jobs: int | None = None,
        update: bool = False,
        listener: Callable[[Transition], None] | None = None,
        check: bool = False,
    ) -> OpenedRun:
        """As :meth:`resume`, to be awaited: it is driven, and ``listener`` is called, in another thread. Where this is
        cancelled, its jobs are left running: another resume follows them."""
        from aiflow_ext.api.drive import drive_async
        from aiflow_ext.run import prepare_resume

        options = {"failed": failed, "from_job": from_job, "jobs": jobs, "update": update, "listener": listener}
        await drive_async(lambda: prepare_resume(self.run_id, project=self.project, **options))
        return self.refresh()._checked(check)

    def transitions(self, *, after: int = 0, follow: bool = True) -> Iterator[Transition]:
        """Every change of state of its jobs, in order, from the first one on.

        Args:
            after: leave out those up to this number (``Transition.seq``); 0 by default.
            follow: go on until the run has ended, or has no driver; True by default.
        """
        return each(self._transitions(after, follow))

    def transitions_async(self, *, after: int = 0, follow: bool = True) -> AsyncIterator[Transition]:
        """As :meth:`transitions`, for ``async for``."""
        return each_async(self._transitions(after, follow))

    def logs(self, job: str, *, stderr: bool = False, attempt: int | None = None) -> str:
        """What a job has printed until now.

        Args:
            job: the job's key.
            stderr: what it has written to stderr; False by default.
            attempt: of this attempt; by default the latest.

        Bytes that are not UTF-8 are replaced. Raises ConfigError for a job or an attempt that the run lacks,
        PlatformError where a platform that still has the log does not answer.
        """
        from aiflow_ext.run.operations.logs import iterate, sources

        with self._observed() as observed:
            found = sources(observed, [job], stream=_stream(stderr), attempt=attempt)
            return b"".join(part for source in found for part in iterate(source)).decode("utf-8", "replace")

    def log_lines(
        self, *jobs: str, stderr: bool = False, attempt: int | None = None, follow: bool = True
    ) -> Iterator[LogLine]:
        """The lines that jobs print, as they come.

        Args:
            jobs: their keys; by default all jobs.
            stderr: what they write to stderr; False by default.
            attempt: of this attempt; by default the latest one and those that follow.
            follow: go on until the jobs have ended, or the run has no driver; True by default.

        Raises as :meth:`logs`; a platform that does not answer is asked again.
        """
        return each(self._log_lines(jobs, stderr, attempt, follow))

    def log_lines_async(
        self, *jobs: str, stderr: bool = False, attempt: int | None = None, follow: bool = True
    ) -> AsyncIterator[LogLine]:
        """As :meth:`log_lines`, for ``async for``."""
        return each_async(self._log_lines(jobs, stderr, attempt, follow))

    def report(self, file: str | os.PathLike[str] | None = None) -> Path:
        """Write it as one HTML file, as ``aiflow-ext report`` does, and return the file's path.

        Args:
            file: is replaced where it is there; by default ``report.html`` in the run's folder.

        Raises StateError where it cannot be written.
        """
        from aiflow_ext.run.operations.report import write_report

        with self._observed() as observed:
            observed.refresh()
            self._take(observed)
            return write_report(observed, file)

    def __await__(self) -> Generator[Any, None, OpenedRun]:
        """``await run`` waits for its end, as :meth:`wait_async` does."""
        return self.wait_async().__await__()

    def _repr_html_(self) -> str:
        """In a notebook: its graph, its timeline and its jobs, as they were last read."""
        from aiflow_ext.run.operations.seen import seen_edges
        from aiflow_ext.supervise.clock import Clock
        from aiflow_ext.view.notebook import run_html

        try:
            with self._observed() as observed:
                edges = seen_edges(observed)
        except AiflowError:  # the run was removed since, or its plan cannot be read
            edges = []
        return run_html(self._record.summary(), edges, now=Clock(self._record.folder).now())

    def __repr__(self) -> str:
        number = len(self._record.jobs)
        return f"<run {self.run_id}: {self.state}, {number} job{'s' * (number != 1)}>"

    def _take(self, observed: Observed) -> None:
        self._record: RunRecord = observed.record
        self.project = observed.record.project
        vars(self).pop("jobs", None)

    @contextmanager
    def _observed(self) -> Iterator[Observed]:
        observed = observe(self.run_id, self.project)
        try:
            yield observed
        finally:
            observed.store.close()

    def _checked(self, check: bool) -> OpenedRun:
        if check:
            check_finished(self._record)
        return self

    def _waiting(self, timeout: float | None) -> Iterator[Sequence[None]]:
        return within(self._until_over(), timeout, f"run {self.run_id} has not ended")

    def _until_over(self) -> Iterator[Sequence[None]]:
        with self._observed() as observed:
            for _ in until_over(observed):
                self._take(observed)
                yield ()
            self._take(observed)
        if self._record.ended_at is None:
            raise StateError(f"run {self.run_id} has not ended, and nothing drives it",
                             hint=f"go on with it: .resume(), or: aiflow-ext resume {self.run_id}")  # fmt: skip

    def _stopping(self, job: str | None, grace: float, wait: bool, timeout: float | None) -> Iterator[Sequence[str]]:
        what = f"run {self.run_id}" if job is None else f"job {job!r} of run {self.run_id}"
        return within(self._until_stopped(job, grace, wait), timeout, f"{what} is not gone")

    def _until_stopped(self, job: str | None, grace: float, wait: bool) -> Iterator[Sequence[str]]:
        from aiflow_ext.run.operations.stop import until_stopped

        with self._observed() as observed:
            yield from until_stopped(observed, job, grace, wait=wait)
            self._take(observed)

    def _transitions(self, after: int, follow: bool) -> Iterator[Sequence[Transition]]:
        with self._observed() as observed:
            looks = until_over(observed)
            over = False
            while not over:
                over = next(looks, _OVER) is _OVER or not follow  # before the read, which then has everything
                self._take(observed)
                while found := observed.store.transitions.of_run(self.run_id, after, _MOST):
                    after = found[-1].seq
                    yield found
                if not over:
                    yield ()

    def _log_lines(
        self, jobs: Sequence[str], stderr: bool, attempt: int | None, follow: bool
    ) -> Iterator[Sequence[LogLine]]:
        from aiflow_ext.run.operations.follow import follow_lines
        from aiflow_ext.run.operations.logs import sources

        with self._observed() as observed:
            stream = _stream(stderr)
            found = sources(observed, jobs, stream=stream, attempt=attempt, patient=follow)
            for parts in follow_lines(observed, jobs, stream, found, follow=follow, attempt=attempt):
                self._take(observed)
                yield [
                    LogLine(source.attempt.job, source.attempt.number, line.decode("utf-8", "replace").rstrip("\r\n"))
                    for source, lines in parts
                    for line in lines
                ]


_OVER = object()


def _stream(stderr: bool) -> str:
    return "stderr" if stderr else "stdout"


def open_run(run: str | RunRecord = "latest", project: str | os.PathLike[str] | None = None) -> OpenedRun:
    """A run, while it goes on or afterwards.

    Args:
        run: its id, the beginning of it, or ``latest``, which is the default; or what ``run_project`` returned.
        project: the project's folder; by default the one that the current folder is in, else any of this user.

    Raises ConfigError if there is no such run, or several, StateError where its records cannot be read.
    """
    observed = observed_run(run, project)
    try:
        observed.refresh()
        return OpenedRun(observed)
    finally:
        observed.store.close()


def observed_run(run: str | RunRecord | OpenedRun, project: str | os.PathLike[str] | None) -> Observed:
    """A run by its id, its record, or as it was opened. The caller closes its store; raises as :func:`open_run`."""
    if isinstance(run, str):
        return observe(run, None if project is None else os.fspath(project))
    return observe(run.run_id, run.project)


def runs(project: str | os.PathLike[str] | None = None) -> list[dict[str, Any]]:
    """All runs of this user, or of one project, newest first; the keys are those of ``aiflow-ext runs --json``
    (docs/json.md). Raises StateError where the project's records cannot be read."""
    return list_runs(None if project is None else os.fspath(project))
