"""Which jobs of a run get another attempt, where that is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from aiflow_ext.run.driving.order import ANY_FAILED
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.store.records import RunRecord


def jobs_again(record: RunRecord, plans: Sequence[Plan], *, failed: bool, from_job: str | None) -> set[str]:
    """The names of the jobs that get another attempt, whether they have ended or not.

    Args:
        record: the run's.
        plans: by whose edges jobs come after others: the run's, and today's where it is updated.
        failed: those that have ended and not as FINISHED; and those that tell of their failures, so that they tell it
            again.
        from_job: this job, and every job after it; None for no such job.
    """
    again: set[str] = set()
    if from_job is not None:
        again.update(*(plan.downstream(from_job) for plan in plans))
    if failed:
        again |= record.unfinished()
        again |= {name for plan in plans for name, job in plan.jobs.items() if any(
            edge.when == ANY_FAILED and edge.source in again for edge in job.edges)}  # fmt: skip
    return again
