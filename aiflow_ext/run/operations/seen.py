"""A run as the pictures of ``view`` need it."""

from __future__ import annotations

from aiflow_ext.run.operations.observe import Observed
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.planning.serving import awaited
from aiflow_ext.view.seen import Edge, Job, jobs_of


def seen_run(observed: Observed) -> tuple[list[Job], list[Edge]]:
    """The jobs of a run as they were last read, and the edges between them. Raises as :func:`seen_edges`."""
    return jobs_of(observed.record.summary()), seen_edges(observed)


def seen_edges(observed: Observed) -> list[Edge]:
    """The edges between a run's jobs. No plugin is needed. Raises DataError if its plan is damaged."""
    return [Edge(edge.source, edge.target, until, edge.data) for edge, until in observed.stored.edges()]


def seen_plan(plan: Plan) -> tuple[list[Job], list[Edge]]:
    """The jobs that a plan has, those that are left out too, and the edges between them."""
    jobs = [Job(name, where=f"{job.resolved.platform}.{job.resolved.engine}") for name, job in plan.jobs.items()]
    jobs += [Job(name) for name in plan.left_out]
    edges = [edge for planned in plan.jobs.values() for edge in planned.edges]
    edges += [edge for left_out in plan.left_out.values() for edge in left_out.edges]
    return jobs, [Edge(edge.source, edge.target, awaited(edge, plan), edge.data) for edge in edges]
