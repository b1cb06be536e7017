"""Daemons that die, stand by or refuse while a run is on: nothing lost, nothing twice, each told."""

from __future__ import annotations

import json
import urllib.request

import pytest
from yarn_bed import Bed
from yarn_runs import Workflow

JOBS = 20


def _twenty(workflow: Workflow) -> None:
    """Half of them run on over the fault, the others come after it or end during it."""
    jobs = {f"j{number}": f"echo out {number}; {workflow.until('go')}; exit {number % 3}" for number in range(JOBS)}
    workflow.write(jobs)


def _all_true(workflow: Workflow, record: dict) -> None:  # type: ignore[type-arg]
    assert len(record["jobs"]) == JOBS, record["said"]
    assert workflow.each("end") == {f"j{number}": 1 for number in range(JOBS)}
    starts = workflow.each("start")
    for number in range(JOBS):
        *before, attempt = record["jobs"][f"j{number}"]["attempts"]
        # A container that was just being launched as its NodeManager died is lost: a disruption, and recorded as one.
        assert all(each["disruption"] for each in before), before
        assert 1 <= starts[f"j{number}"] <= 1 + len(before)
        assert attempt["exit_code"] == number % 3, attempt
        assert attempt["state"] == ("FAILED" if number % 3 else "FINISHED")
        assert workflow.log(record, f"j{number}") == f"out {number}\n"


@pytest.mark.parametrize("daemon", ["rm", "nm"])
def test_a_daemon_is_killed_in_the_middle_of_a_run(workflow: Workflow, bed: Bed, daemon: str) -> None:
    _twenty(workflow)
    process = workflow.begin("--jobs", "10")
    workflow.wait(lambda: workflow.count("start") >= 6)
    bed.kill(daemon)
    workflow.put("go")  # what runs ends while it is away, and more is to be submitted
    workflow.wait(lambda: workflow.count("end") >= 6)
    bed.start(daemon)
    _all_true(workflow, workflow.finish(process))


def test_the_namenode_goes_into_safe_mode(workflow: Workflow, bed: Bed) -> None:
    _twenty(workflow)
    process = workflow.begin("--jobs", "10")
    workflow.wait(lambda: workflow.count("start") >= 6)
    bed.safe_mode(True)
    try:
        workflow.put("go")
        workflow.wait(lambda: workflow.count("end") >= 6)
    finally:
        bed.safe_mode(False)
    _all_true(workflow, workflow.finish(process))


def test_the_driver_and_the_resourcemanager_are_killed(workflow: Workflow, bed: Bed) -> None:
    _twenty(workflow)
    process = workflow.begin("--jobs", "10")
    workflow.wait(lambda: workflow.count("start") >= 6)
    process.kill()
    process.communicate()
    bed.kill("rm")
    workflow.put("go")
    bed.up()  # a cluster that is away when a run is taken up is told, and the run left as it is
    run = json.loads(workflow.call("runs", "--project", str(workflow.project), "--json").stdout)[0]["run"]
    done = workflow.call("resume", run, "--json")
    _all_true(workflow, workflow.record(done.stdout, done.stderr, done.returncode))


def test_an_application_killed_by_an_administrator(workflow: Workflow, bed: Bed) -> None:
    workflow.write({"job": "sleep 600"})
    process = workflow.begin()
    workflow.wait(lambda: workflow.count("start") == 1)
    request = urllib.request.Request(
        f"{bed.rm}/ws/v1/cluster/apps/{workflow.newest()['id']}/state?user.name=admin", b'{"state":"KILLED"}',
        {"Content-Type": "application/json"}, method="PUT",
    )  # fmt: skip
    urllib.request.urlopen(request).close()
    job = workflow.finish(process)["jobs"]["job"]
    assert job["state"] == "FAILED"
    assert "killed by user admin" in job["reason"]


def test_a_stopped_queue_is_reported_before_the_run(workflow: Workflow, bed: Bed) -> None:
    bed.queue("small", running=False)
    workflow.write({"job": "true"}, {"queue": "small"})
    record = workflow.run()
    assert record["exit"] == 6
    assert "the queue 'small' takes no applications: it is STOPPED" in record["said"]


def test_a_queue_stopped_in_the_middle(workflow: Workflow, bed: Bed) -> None:
    """What runs in it goes on; what comes later is refused, in the scheduler's words."""
    jobs = {"first": workflow.until("go"), "second": "true"}
    workflow.write(jobs, {"queue": "small"})
    process = workflow.begin("--jobs", "1")
    workflow.wait(lambda: workflow.count("start") == 1)
    bed.queue("small", running=False)
    workflow.put("go")
    record = workflow.finish(process)
    assert record["jobs"]["first"]["state"] == "FINISHED"
    assert record["jobs"]["second"]["state"] == "FAILED"
    assert "STOPPED" in record["jobs"]["second"]["reason"]
