"""The edges between a run's jobs as the pictures of ``view`` need them."""

from __future__ import annotations

from aiflow_ext.run.operations.observe import Observed
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.planning.serving import awaited
from aiflow_ext.view.seen import Edge


def seen_edges(observed: Observed) -> list[Edge]:
    """The edges between a run's jobs. No plugin is needed. Raises DataError if its plan is damaged."""
    return [Edge(edge.source, edge.target, until, edge.data) for edge, until in observed.stored.edges()]


def edges_of_plan(plan: Plan) -> list[Edge]:
    """The same of a run's plan, with its plugins."""
    edges = [edge for planned in plan.jobs.values() for edge in planned.edges]
    return [Edge(edge.source, edge.target, awaited(edge, plan), edge.data) for edge in edges]
