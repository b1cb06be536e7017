"""What jobs on other machines reach, and what is told of artifacts that they do not."""

from __future__ import annotations

import pytest

import aiflow_ext.plugin as af
from aiflow_ext.plugin.engines import artifact_problems, is_reached


@pytest.mark.parametrize(
    ("url", "reached"),
    [
        ("s3://bucket/a", True),
        ("hdfs:///a", True),
        ("/nfs", True),
        ("/nfs/a", True),
        ("file:///nfs/a", True),
        ("/nfs2/a", False),
        ("/home/a", False),
        ("file:///home/a", False),
        ("", False),
    ],
)
def test_a_url_and_what_is_below_a_shared_folder_is_reached(url: str, reached: bool) -> None:
    assert is_reached(url, ["/data/", "/nfs/"]) is reached


def test_each_edge_whose_artifact_is_not_reached_is_reported_with_the_two_cures() -> None:
    graph = af.AISubGraph(af.BaseJobConfig("moon", "python", "train"), "train")
    graph.inputs = [af.DataEdge("prepare-1", "fit-1")]
    graph.outputs = ["fit"]
    project = af.ProjectDesc("digits", "/digits", artifacts="/digits/artifacts")
    found = [*artifact_problems(graph, project, ["/nfs"], who="rovers of platform moon", cure="share it: shared: PATH")]
    why = "/digits/artifacts: rovers of platform moon cannot reach that"
    assert [problem.message for problem in found] == [
        f"job 'train' reads the artifact of 'prepare-1', which is kept at {why}",
        f"job 'train' passes on the value of 'fit', to be kept at {why}",
    ]
    for problem in found:
        assert "artifacts: s3://bucket/path in project.yaml" in str(problem.hint)
        assert "share it: shared: PATH" in str(problem.hint)
    assert not [*artifact_problems(graph, project, ["/digits"], who="", cure="")]
