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
