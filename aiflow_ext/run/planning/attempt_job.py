"""Generates the job of an attempt from a run's plan and records: for its start, and again in any later process."""

from __future__ import annotations

import json
from collections.abc import Mapping

from aiflow_ext.model.job import BaseJob, JobContext
from aiflow_ext.run.planning.added_variables import added_variables
from aiflow_ext.run.planning.demands import memory_of
from aiflow_ext.run.planning.plan import Plan, PlannedJob, generate
from aiflow_ext.run.store.records import AttemptRecord, RunRecord

MOST_FAILED, LONGEST_REASON = 100, 300  # jobs, and characters of a reason
MOST_BYTES = 96 * 1024  # of all of them as JSON, where a character may take 12: Linux lets a variable hold 128 KiB


def attempt_job(plan: Plan, record: RunRecord, name: str, number: int, native_id: str | None = None) -> BaseJob:
    """The job of one attempt, with its context.

    Args:
        plan: holds the job and those whose artifacts it reads.
        record: the run's; it has the attempt of each upstream job that made those artifacts.
        name: the job's key.
        number: the attempt's number, from 1.
        native_id: the attempt's name on its platform; None before it has one.

    Raises what the plugin raises, as an AiflowError.
    """
    upstream = [record.jobs[edge.source] for edge in plan.jobs[name].edges]
    finished = {each.name: each.last.number for each in upstream if each.last is not None}
    planned, context = given(plan, record, name, number, finished)
    context.environment = added_variables(plan.host, context, plan.traceparent)
    context.native_id = native_id
    return generate(plan, planned, context)


def given(
    plan: Plan, record: RunRecord, name: str, number: int, finished: Mapping[str, int]
) -> tuple[PlannedJob, JobContext]:
    """What an attempt gets: its job, with its own memory, and its context, without a native id.

    Args:
        plan: as in :func:`attempt_job`, like ``record``, ``name`` and ``number``.
        record: likewise.
        name: likewise.
        number: likewise.
        finished: by upstream job, the attempt whose artifacts it reads.
    """
    planned = plan.jobs[name]
    context = plan.context(name, record.run_id, record.folder, number, finished)
    context.failed_jobs = failed_jobs(planned, record)
    attempts = record.jobs[name].attempts
    context.gpus = attempts[number - 1].gpus if number <= len(attempts) else None
    memory = memory_of(planned.config, attempts[: number - 1])
    return (planned if memory == planned.config.memory else planned.with_memory(memory or 0)), context


def failed_jobs(planned: PlannedJob, record: RunRecord) -> list[dict[str, str]]:
    """The jobs that have failed of those whose failure, or end, a job waits for; as many as a variable holds."""
    names = dict.fromkeys(edge.source for edge in planned.edges if edge.when in ("failed", "any_failed", "ended"))
    failed = [record.jobs[name] for name in names if record.jobs[name].state.failed][:MOST_FAILED]
    told: list[dict[str, str]] = []
    room = MOST_BYTES
    for job in failed:
        each = {"job": job.name, "state": str(job.state), "reason": (job.reason or "")[:LONGEST_REASON]}
        room -= len(json.dumps(each))
        if room < 0:
            break
        told.append(each)
    return told


def job_again(plan: Plan, record: RunRecord, attempt: AttemptRecord) -> BaseJob:
    """The job of a recorded attempt. Args and errors as in :func:`attempt_job`."""
    return attempt_job(plan, record, attempt.job, attempt.number, attempt.native_id)
