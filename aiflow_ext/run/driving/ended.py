"""A run, its jobs and attempts that have ended, as the hooks of extensions are given them."""

from __future__ import annotations

from aiflow_ext.model.attempt import EndedAttempt, EndedJob, EndedRun
from aiflow_ext.model.resources import Resources, Usage
from aiflow_ext.run.store.records import AttemptRecord, RunRecord


def ended_attempt(run_id: str, record: AttemptRecord) -> EndedAttempt:
    """An attempt that has ended."""
    return EndedAttempt(
        run_id, record.job, record.number, record.state, record.native_id, record.exit_code, record.signal,
        record.reason, record.timed_out, record.submitted_at, record.started_at, record.ended_at, record.restarts,
        record.folder, record.out_of_memory, record.instance, record.node,
        Resources(record.cpu_asked, record.memory_asked),
        Usage(record.peak_memory, record.cpu_seconds, record.usage_source, record.reserved_memory_seconds,
              record.reserved_core_seconds),
    )  # fmt: skip


def ended_run(record: RunRecord, known_until: float | None, traceparent: str | None) -> EndedRun:
    """A run that has ended; the other arguments as :class:`EndedRun`'s."""
    assert record.ended_at is not None
    jobs = tuple(
        EndedJob(job.name, job.platform, job.engine, job.state, job.reason,
                 tuple(ended_attempt(record.run_id, attempt) for attempt in job.attempts))
        for job in record.jobs.values()
    )  # fmt: skip
    return EndedRun(record.run_id, record.workflow, record.state, record.started_at, record.ended_at, jobs,
                    known_until, traceparent)  # fmt: skip
