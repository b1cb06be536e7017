"""Hadoop's HttpFS server in front of HDFS: for clients, and nodes, that do not reach NameNodes and DataNodes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from yarn_bed import Bed
from yarn_runs import Workflow


@pytest.fixture(scope="module")
def httpfs(session_bed: Bed) -> Iterator[str]:
    """Its address."""
    session_bed.just()
    session_bed.start_httpfs()
    yield session_bed.httpfs
    session_bed.kill("httpfs")


def test_commands(workflow: Workflow, httpfs: str) -> None:
    """Everything that is sent, the start markers, the ends and what is removed go through it."""
    workflow.write({"well": "echo out", "badly": "exit 3"}, {"webhdfs": httpfs})
    record = workflow.run()
    assert record["jobs"]["well"]["state"] == "FINISHED", record
    assert record["jobs"]["badly"]["attempts"][0]["exit_code"] == 3
    assert workflow.each("start") == workflow.each("end") == {"well": 1, "badly": 1}
    assert workflow.log(record, "well") == "out\n"


def test_artifacts(workflow: Workflow, httpfs: str) -> None:
    record = workflow.write_chain(webhdfs=httpfs).run()
    assert record["exit"] == 0, record
    assert workflow.log(record, "read") == "499500\n"


def test_it_dies_and_comes_back_in_the_middle(workflow: Workflow, bed: Bed, httpfs: str) -> None:
    jobs = {f"j{number}": f"{workflow.until('go')}; exit {number % 2}" for number in range(4)}
    workflow.write(jobs, {"webhdfs": httpfs})
    process = workflow.begin("--jobs", "2")
    workflow.wait(lambda: workflow.count("start") == 2)
    bed.kill("httpfs")
    workflow.put("go")
    workflow.wait(lambda: workflow.count("end") == 2)
    bed.start_httpfs()
    record = workflow.finish(process)
    assert workflow.each("start") == workflow.each("end") == dict.fromkeys(jobs, 1)
    assert [record["jobs"][name]["attempts"][0]["exit_code"] for name in jobs] == [0, 1, 0, 1], record
