"""Stops a run or a job from any process, with a driver or without."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from aiflow_ext.model.errors import PlatformError, Problem, StateError, named, said_by
from aiflow_ext.model.states import JobState
from aiflow_ext.run.operations.cleaning import clean_up, cleanup_attempts
from aiflow_ext.run.operations.observe import Observed
from aiflow_ext.run.operations.refresh import PolledAttempt, attached, note_stopped
from aiflow_ext.run.store.doorbell import ring
from aiflow_ext.run.store.find import job_of
from aiflow_ext.run.store.in_process import process_of
from aiflow_ext.run.store.ledger import BEING_STOPPED, JOB_STOPPED_BEFORE, STOPPED_BEFORE, Ledger
from aiflow_ext.run.store.lock import DriverLock, is_stopped
from aiflow_ext.run.store.reconcile import end_of
from aiflow_ext.run.store.records import AttemptRecord, RunRecord
from aiflow_ext.supervise.clock import Clock

_log = logging.getLogger("aiflow_ext")
CLEANED_BY = 10.0  # seconds after the end of a stop: a cleanup that fails is not waited for


def stop(observed: Observed, job: str | None = None, grace: float = 10.0) -> None:
    """Stop a run or one of its jobs. A driver gets a request, and this returns at once; without one, this function
    stops them itself. A run that has ended is not changed.

    Args:
        observed: the run.
        job: the job's key; None for every job.
        grace: seconds between SIGTERM, or the platform's equivalent, and the kill.

    Raises ConfigError for a job that the run lacks, PlatformError if an attempt could not be stopped, StateError for
    a run that is driven in process.
    """
    record = observed.record
    if job is not None:
        job_of(record, job)
    if observed.driver is not None:
        _refuse_in_process(record)
        observed.store.requests.add(record.run_id, "stop", job, grace)
        if ring(observed.folder) or observed.driver is not None:  # a driver that begins reads requests first
            return
    observed.refresh()
    if observed.record.ended_at is not None:
        return  # it has ended, and keeps its state
    lock = DriverLock(observed.folder)
    try:
        observed.record = observed.store.run(record.run_id)  # read again under the lock: a driver may have changed it
        if observed.record.ended_at is None:
            _stop_here(observed, job, grace)
    finally:
        lock.release()


def _refuse_in_process(record: RunRecord) -> None:
    """Raise StateError where a job runs in the process of its client, which takes no requests."""
    for attempt in record.live():
        if (pid := process_of(attempt)) is not None:
            raise StateError(f"job {attempt.job!r} runs in process {pid}, which takes no requests",
                             hint=f"press Ctrl-C there, or: kill -INT {pid}")  # fmt: skip


def until_stopped(
    observed: Observed, job: str | None = None, grace: float = 10.0, *, wait: bool = True
) -> Iterator[list[str]]:
    """Stop a run or one of its jobs, and go on until nothing is left of it. The run's record is up to date at the end.

    Args:
        observed: the run.
        job: the job's key; None (default) for every job.
        grace: seconds between SIGTERM, or the platform's equivalent, and the kill; 10 by default.
        wait: go on until it is gone; else only until it was requested. True by default.

    Yields what there is to tell, and an empty list where the caller is to wait before it goes on. Raises as
    :func:`stop`.
    """
    stop(observed, job, grace)
    names = [job] if job is not None else list(observed.record.jobs)
    told, reported = set[str](), False
    while True:
        observed.refresh()
        if fresh := _why_not_stopped(observed.record, names) - told:
            told |= fresh
            yield sorted(fresh)
        ended = all(observed.record.jobs[name].state.ended for name in names)
        if not wait or (ended and _is_gone(observed, job, grace)):
            return
        driver = observed.driver
        if driver is None:  # it died before it had done what it was asked for
            stop(observed, job, grace)
        elif is_stopped(driver) and not reported:
            reported = True
            words = f"pid {driver} drives the run and is stopped (SIGSTOP); it stops the run once it goes on"
            yield [f"{words}: kill -CONT {driver}"]
        yield []


def _is_gone(observed: Observed, job: str | None, grace: float) -> bool:
    """Whether nothing is left of what was stopped. A run's end is recorded after all cleanups, a job's before its."""
    if job is None or observed.record.ended_at is not None:
        return observed.record.ended_at is not None
    last = observed.record.jobs[job].last
    if observed.driver is None or last is None or last.native_id is None or last.cleaned:
        return True
    return Clock(observed.record.folder).now() > (last.ended_at or 0.0) + grace + CLEANED_BY


def _why_not_stopped(record: RunRecord, names: Iterable[str]) -> set[str]:
    """Why jobs that are to be stopped still run, in words: a call that stops them has failed, and is retried."""
    found = set()
    for name in names:
        last = record.jobs[name].last
        reason = last.reason if last is not None and last.stop_requested and last.may_run else None
        if last is not None and reason and not reason.endswith(BEING_STOPPED):
            found.add(f"{name} {last.state}: {reason}")
    return found


def _stop_here(observed: Observed, job: str | None, grace: float) -> None:
    record, ledger, plan = observed.record, Ledger(observed.record, observed.store), observed.plan
    live = [attempt for attempt in record.live() if job in (None, attempt.job)]
    for attempt in live:
        ledger.note(attempt, stop_requested=True)
    ledger.flush()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda attempt: _stop_one(observed, attempt, grace), live))
    note_stopped(ledger, observed.stored, [answer for answer in answers if isinstance(answer, PolledAttempt)])
    for attempt, words in zip(live, answers, strict=True):
        if isinstance(words, str) and not attempt.state.ended:
            ledger.note(attempt, reason=f"stopping it failed: {words}")
    for name, each in record.jobs.items():
        if job not in (None, name) or each.last in live:
            continue
        if each.last is not None and each.state.failed:
            ledger.note(each.last, stop_requested=True)  # a later driver must not retry it
        elif each.last is not None and not each.last.state.ended:
            ledger.end(each.last, end_of(each.last, JobState.STOPPED, reason="stopped before it started"))
        elif not each.state.ended:
            ledger.skip(each, STOPPED_BEFORE if job is None else JOB_STOPPED_BEFORE)
    ledger.flush()
    problems = [Problem(f"job {attempt.job!r} (attempt {attempt.number}) could not be stopped: {words}")
                for attempt, words in zip(live, answers, strict=True) if isinstance(words, str)]  # fmt: skip
    try:
        if job is not None or problems:
            cleanup_attempts(plan, record, observed.store)
        else:
            ledger.close(closed=True)
            clean_up(plan, record, observed.store)
    except Exception as error:  # the next driver does it again, and gc
        _log.warning("cleaning up: %s", named(error))
    if problems:
        raise PlatformError(problems=problems)


def _stop_one(observed: Observed, attempt: AttemptRecord, grace: float) -> PolledAttempt | str:
    """Stop an attempt; returns what is needed to poll it, or what went wrong, in words."""
    try:
        adapter, job, handler = attached(observed.stored, observed.record, attempt)
        adapter.stop(job, handler, grace)
    except Exception as error:
        return said_by(error)
    return PolledAttempt(attempt, adapter, job)
