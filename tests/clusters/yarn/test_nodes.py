"""Two nodes, one of them labelled, both with a resource of the operator's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from yarn_bed import Bed
from yarn_runs import Workflow

PLATFORM = 6


@pytest.fixture
def workflow(nodes: Bed, tmp_path: Path) -> Iterator[Workflow]:
    """A project on it."""
    made = Workflow(tmp_path, nodes)
    yield made
    made.close()


def test_a_labelled_node(workflow: Workflow, nodes: Bed) -> None:
    workflow.write({"there": "echo $NM_PORT", "elsewhere": "echo $NM_PORT"}, there={"node_label": "fast"})
    record = workflow.run()
    assert record["exit"] == 0, record
    assert workflow.log(record, "there") == f"{nodes.ports.nm2}\n"
    assert workflow.log(record, "elsewhere") == f"{nodes.ports.nm}\n"


def test_a_label_that_is_none(workflow: Workflow) -> None:
    record = workflow.write({"job": "true"}, {"node_label": "slow"}).run()
    assert record["exit"] == PLATFORM, record["said"]
    assert "the cluster has no node label 'slow'" in record["said"]
    assert "fast" in record["said"]


def test_a_label_that_the_queue_may_not_use(workflow: Workflow) -> None:
    """Which labels a queue may use is its scheduler's to say, as it refuses the application."""
    job = workflow.write({"job": "true"}, {"node_label": "fast", "queue": "small"}).run()["jobs"]["job"]
    assert job["state"] == "FAILED"
    assert "label" in job["reason"]
    assert workflow.count("start") == 0


def test_other_resources(workflow: Workflow, nodes: Bed) -> None:
    """One widget each, two there are: the third job waits. They are submitted by RPC, for REST drops widgets."""
    workflow.write({f"j{number}": workflow.until("go") for number in range(3)}, {"resources": {"widget": 1}})
    process = workflow.begin("--jobs", "3")

    def waiting() -> int:
        return len((nodes.json(f"{nodes.rm}/ws/v1/cluster/apps?states=ACCEPTED")["apps"] or {"app": []})["app"])

    workflow.wait(lambda: workflow.count("start") == 2 and waiting() == 1)
    assert (_widgets(nodes), workflow.count("start")) == (2, 2)
    workflow.put("go")
    record = workflow.finish(process)
    assert record["exit"] == 0, record


def _widgets(bed: Bed) -> int:
    """How many are in use."""
    return sum(
        each["value"]
        for node in bed.json(f"{bed.rm}/ws/v1/cluster/nodes")["nodes"]["node"]
        for each in node["usedResource"]["resourceInformations"]["resourceInformation"]
        if each["name"] == "widget"
    )


@pytest.mark.parametrize(
    ("resources", "words"),
    [({"widget": 3}, "asks for 3 of widget; the largest container of this cluster has 2"),
     ({"gadget": 1}, "asks for gadget, which is no resource of this cluster: it has widget")],
)  # fmt: skip
def test_resources_that_the_cluster_does_not_have(workflow: Workflow, resources: dict[str, int], words: str) -> None:
    record = workflow.write({"job": "true"}, {"resources": resources}).run()
    assert record["exit"] == PLATFORM, record["said"]
    assert words in record["said"]
