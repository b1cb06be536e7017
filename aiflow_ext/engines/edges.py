"""Where a node's inputs come from and where its value goes, for engines that read and write artifacts."""

from __future__ import annotations

from typing import NamedTuple

from aiflow_ext.model.graph import AINode, AISubGraph
from aiflow_ext.model.job import JobContext
from aiflow_ext.model.names import artifact_key, artifact_url


class NodeInput(NamedTuple):
    """One input of a node. One of ``node`` and ``url`` is None.

    Attributes:
        node: instance id of the node of the same job whose value it is.
        url: where the artifact of another job is, for ``artifacts.load``; ``${upstream}`` while that is not known yet,
            as in ``render``.
        output: which of the other node's outputs it is, where that has several by name.
    """

    node: str | None
    url: str | None
    output: str | None


def inputs_of(sub_graph: AISubGraph, context: JobContext) -> dict[str, list[NodeInput]]:
    """The inputs of each node of a job, in the order of its arguments, by the node's instance id.

    Args:
        sub_graph: the job's nodes and edges.
        context: of the attempt, with the URLs of its inputs.
    """
    found: dict[str, list[NodeInput]] = {str(node.instance_id): [] for node in sub_graph.nodes}
    for edge in sorted((*sub_graph.edges, *sub_graph.inputs), key=lambda edge: edge.input):
        if edge.source in sub_graph.nodes:
            given = NodeInput(edge.source, None, edge.output)
        else:
            url = context.inputs.get(artifact_key(edge.source, edge.output), "${upstream}")
            given = NodeInput(None, url, edge.output)
        found[edge.target].append(given)
    return found


def output_url(node: AINode, context: JobContext, output: str | None = None) -> str:
    """Where ``artifacts.save`` puts a node's value for the jobs that read it.

    Args:
        node: the node.
        context: of the attempt.
        output: which of the node's outputs, where it has several by name.
    """
    return artifact_url(
        context.artifacts_url or "", context.job_name or "", context.attempt or 1, str(node.name), output
    )
