"""An AI graph split into one subgraph a job, and the edges between jobs. Linear in nodes and edges."""

from __future__ import annotations

from aiflow_ext.model.collector import paused
from aiflow_ext.model.config import BaseJobConfig
from aiflow_ext.model.graph import AIGraph, AINode, AISubGraph, DataEdge, Nodes, outputs_of
from aiflow_ext.model.jsonable import Jsonable


class JobEdge(Jsonable):
    """Job ``target`` waits for job ``source`` to be ``when``; ``data``: it reads an artifact of ``source``.

    ``where`` is ``file:line`` of what made the edge.
    """

    def __init__(
        self, source: str, target: str, when: str | None = None, data: bool = False, where: str | None = None
    ) -> None:
        self.source, self.target, self.when, self.data, self.where = source, target, when, data, where


class JobGraph(Jsonable):
    """The subgraphs by job key, in the order the workflow opened them, and the edges between jobs."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.sub_graphs: dict[str, AISubGraph] = {}
        self.edges: list[JobEdge] = []

    def upstream(self) -> dict[str, list[JobEdge]]:
        """The edges that each job waits for, by job key."""
        found: dict[str, list[JobEdge]] = {name: [] for name in self.sub_graphs}
        for edge in self.edges:
            found[edge.target].append(edge)
        return found


def split(graph: AIGraph) -> JobGraph:
    """Split a graph that ``check_graph`` found no mistake in."""
    with paused():
        return _split(graph)


def _split(graph: AIGraph) -> JobGraph:
    jobs = JobGraph(graph.name)
    parts = jobs.sub_graphs
    placeholder = BaseJobConfig()  # one for all: each job's plugin names the type of its own config later
    for name in graph.jobs:
        parts[name] = AISubGraph(placeholder, name)
    job_of: dict[str, str] = {}
    held: dict[str, dict[str, AINode]] = {name: {} for name in graph.jobs}
    outputs: dict[str, str] = {}  # of commands: the keyword of the only one
    for key, node in graph.nodes.items():
        job_of[key] = job = str(node.job)
        held[job][key] = node
        for keyword in outputs_of(node) or ():
            outputs[key] = keyword
    for name, nodes in held.items():
        parts[name].nodes = Nodes.by_id(nodes)
    leaving: dict[str, dict[str, None]] = {}
    linked: dict[tuple[str, str, str | None], JobEdge] = {}
    for edge in graph.data_edges:
        source, target = job_of[edge.source], job_of[edge.target]
        if edge.output is None and edge.source in outputs:
            edge = DataEdge(edge.source, edge.target, edge.input, outputs[edge.source])
        if source == target:
            parts[source].edges.append(edge)
            continue
        parts[target].inputs.append(edge)
        leaving.setdefault(source, {})[edge.source] = None
        if (source, target, None) not in linked:
            where = graph.nodes[edge.target].where
            linked[source, target, None] = JobEdge(source, target, data=True, where=where)
    for control in graph.control_edges:
        between = (control.source, control.target, control.when)
        if between not in linked:
            linked[between] = JobEdge(control.source, control.target, control.when, where=control.where)
    for job, ids in leaving.items():
        parts[job].outputs = list(ids)
    jobs.edges = list(linked.values())
    return jobs
