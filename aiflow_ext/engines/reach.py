"""Whether a job on another machine reaches what is kept: at a URL it does, in a folder of this one only if shared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aiflow_ext.model.errors import Problem
from aiflow_ext.model.graph import AISubGraph
from aiflow_ext.model.names import local_path
from aiflow_ext.model.project import ProjectDesc


def is_remote(url: str) -> bool:
    """Whether a URL leads away from this machine; a path and ``file://`` do not."""
    return local_path(url) is None


def is_reached(url: str, shared: Iterable[str]) -> bool:
    """Whether a job on another machine may reach what is kept at ``url``.

    Args:
        url: a URL, or a path of this machine.
        shared: folders that are the same, under the same path, where the job runs.
    """
    path = local_path(url)
    if path is None:
        return True
    homes = [folder.rstrip("/") for folder in shared]
    return any(path == home or path.startswith(f"{home}/") for home in homes)


def artifact_problems(
    sub_graph: AISubGraph, project: ProjectDesc, shared: Iterable[str], *, who: str, cure: str
) -> Iterator[Problem]:
    """Problems of the data edges between this job and others whose artifacts it cannot reach; for ``generate``, so that
    they are reported before anything is sent.

    Args:
        sub_graph: the job's nodes.
        project: says where artifacts are kept.
        shared: as in :func:`is_reached`.
        who: what does not reach them, in the plural: ``pods of platform kubernetes``.
        cure: how a folder is shared there, as a clause: ``mount the same folder at the same path``.
    """
    artifacts = project.artifacts
    if is_reached(artifacts, shared):
        return
    hint = f"name a URL that this machine and jobs reach (artifacts: s3://bucket/path in project.yaml), or {cure}"
    for edge in sub_graph.inputs:
        yield Problem(
            f"job {sub_graph.name!r} reads the artifact of {edge.source!r}, which is kept at {artifacts}: {who} "
            "cannot reach that",
            hint=hint,
        )
    for node in sub_graph.outputs:
        yield Problem(
            f"job {sub_graph.name!r} passes on the value of {node!r}, to be kept at {artifacts}: {who} cannot reach "
            "that",
            hint=hint,
        )
