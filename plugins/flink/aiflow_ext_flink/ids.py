"""Names of a job at Flink, which are ours: known and durable before anything is submitted."""

from __future__ import annotations

import hashlib

from aiflow_ext.plugin import JobContext


def flink_id(context: JobContext) -> str:
    """The id of an attempt at Flink, 32 hex digits; the same whenever it is asked for.

    It is the application's, the cluster's, and the job's where the program submits one.
    """
    attempt = f"{context.run_id}\0{context.job_name}\0{context.attempt or 1}"
    return hashlib.sha256(attempt.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def earlier_ids(context: JobContext) -> list[str]:
    """The ids at Flink of the job's attempts in this run before this one, the first attempt's first."""
    numbers = range(1, context.attempt or 1)
    return [flink_id(JobContext(context.run_id, context.job_name, number)) for number in numbers]
