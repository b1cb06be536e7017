"""Pairs of NameNodes and of ResourceManagers, one of which dies: nothing is lost, doubled, or charged to a job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from yarn_bed import Bed
from yarn_hadoop import BedError
from yarn_runs import Workflow

STEPS = """import pathlib
import time

MARKS = pathlib.Path({marks!r})


def make():
    (MARKS / "make.start.1").touch()
    while not (MARKS / "go").exists():
        time.sleep(0.05)
    (MARKS / "make.end.1").touch()
    return list(range(1000))


def read(made):
    print(sum(made))
"""


@pytest.fixture(scope="module")
def pairs(no_cluster) -> Iterator[Bed]:  # type: ignore[no-untyped-def]
    """A bed of its own, with two NameNodes, two ResourceManagers and a ZooKeeper."""
    chosen = Bed.chosen()
    bed = Bed(f"{chosen.name}-pairs", chosen.ports.base + 100, pairs=True)
    there = any(bed.status().values())
    try:
        bed.up()
        yield bed
    except BedError as error:
        no_cluster(f"the YARN bed of pairs does not come up: {error}")
    finally:
        if not there:
            bed.down()


@pytest.fixture
def workflow(pairs: Bed, tmp_path: Path) -> Iterator[Workflow]:
    """A project on it. All of its daemons live, and the first NameNode is active."""
    pairs.up()
    if pairs.active_namenode != "nn":
        pairs.transition("nn")
    made = Workflow(tmp_path, pairs)
    made.write_chain()
    (made.project / "steps.py").write_text(STEPS.format(marks=str(made.marks)))
    yield made
    made.close()


def test_the_first_namenode_is_on_standby(workflow: Workflow, pairs: Bed) -> None:
    pairs.transition("nn2")
    workflow.put("go")
    record = workflow.run()
    assert record["exit"] == 0, record["said"]
    assert workflow.log(record, "read") == "499500\n"


@pytest.mark.parametrize("fault", ["failover", "away", "safe mode"])
def test_a_job_ends_while_no_namenode_takes_its_result(workflow: Workflow, pairs: Bed, fault: str) -> None:
    """The job waits until one does, and passes its result on."""
    process = workflow.begin()
    workflow.wait(lambda: workflow.count("start") == 1)
    if fault == "safe mode":
        pairs.safe_mode(True)
    else:
        pairs.kill("nn")
    if fault == "away":
        pairs.kill("nn2")
    workflow.put("go")
    workflow.wait(lambda: workflow.count("end") == 1)
    if fault == "safe mode":
        pairs.safe_mode(False)
    elif fault == "away":
        pairs.up()
    else:
        pairs.transition("nn2")
    record = workflow.finish(process)
    assert record["exit"] == 0, record["said"]
    assert workflow.log(record, "read") == "499500\n"
    assert [len(job["attempts"]) for job in record["jobs"].values()] == [1, 1], record["said"]
