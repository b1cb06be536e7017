"""Runs over a failover, a standby that answers first, a lost node: nothing lost, nothing twice, each told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from yarn_bed import Bed
from yarn_jobs import get, processes, running, submit
from yarn_runs import Workflow

JOBS = 12


@pytest.fixture
def workflow(two: Bed, tmp_path: Path) -> Iterator[Workflow]:
    """A project on that bed, whose first ResourceManager is active."""
    two.up()
    if two.active() != two.rm:
        two.transition("rm")
        two.wait_ready()
    made = Workflow(tmp_path, two)
    yield made
    made.close()


def a_dozen(workflow: Workflow) -> None:
    """Half of them run over the fault, the others come after it."""
    workflow.write({f"j{number}": f"{workflow.until('go')}; exit {number % 3}" for number in range(JOBS)})


def all_true(workflow: Workflow, record: dict[str, Any]) -> None:
    assert len(record["jobs"]) == JOBS, record["said"]
    assert workflow.each("start") == workflow.each("end") == {f"j{number}": 1 for number in range(JOBS)}
    for number in range(JOBS):
        (attempt,) = record["jobs"][f"j{number}"]["attempts"]
        assert attempt["exit_code"] == number % 3, attempt


def test_a_standby_answers_first(workflow: Workflow, two: Bed) -> None:
    two.transition("rm2")  # the one that is named second
    two.wait_ready()
    workflow.write({"job": "exit 3"})
    record = workflow.run()
    assert record["jobs"]["job"]["attempts"][0]["exit_code"] == 3, record["said"]


def test_a_failover_in_the_middle_of_a_run(workflow: Workflow, two: Bed) -> None:
    a_dozen(workflow)
    process = workflow.begin("--jobs", "6")
    workflow.wait(lambda: workflow.count("start") >= 6)
    two.transition("rm2")
    workflow.put("go")
    all_true(workflow, workflow.finish(process))


def test_the_active_resource_manager_dies_in_the_middle_of_a_run(workflow: Workflow, two: Bed) -> None:
    a_dozen(workflow)
    process = workflow.begin("--jobs", "6")
    workflow.wait(lambda: workflow.count("start") >= 6)
    two.kill("rm")
    workflow.put("go")
    two.transition("rm2")
    all_true(workflow, workflow.finish(process))


def test_a_node_that_is_lost(workflow: Workflow, two: Bed) -> None:
    """A disruption: another attempt, which no retry pays for; the first one's processes are gone before it matters."""
    workflow.write({"job": f"echo $AIFLOW_ATTEMPT; {workflow.until('go')}"})
    process = workflow.begin()
    bare = submit(two, ["sleep", "1000"])  # the same without a client: what the application master does by itself
    running(bare)
    workflow.wait(lambda: workflow.count("start") == 1)
    two.kill("nm")
    report = bare.wait(timeout=60)  # the NodeManager is given 15 s
    assert report["state"] == "FAILED"
    assert "lost" in report["diagnostics"]
    bare.until(lambda: processes(bare.id) == [])
    assert get(two, f"{bare.staging}/ended") is None  # YARN's own word stands
    two.start("nm")
    workflow.wait(lambda: workflow.count("start") == 2)
    workflow.put("go")
    record = workflow.finish(process)
    first, second = record["jobs"]["job"]["attempts"]
    assert (first["state"], second["state"]) == ("FAILED", "FINISHED"), record["said"]
    assert "lost" in first["reason"]
    assert workflow.each("end") == {"job": 1}
