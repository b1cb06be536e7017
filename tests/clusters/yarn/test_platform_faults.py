"""Daemons that die, stand by or refuse while a run is on: nothing lost, nothing twice, each told."""

from __future__ import annotations

import signal
import threading
import urllib.request
import uuid
from typing import Any

import pytest
from yarn_bed import Bed
from yarn_jobs import put
from yarn_runs import Workflow
from yarn_tap import Tap, is_submission

JOBS = 20


def _write(workflow: Workflow, jobs: int = JOBS) -> None:
    """Half of them run on over the fault, the others come after it or end during it."""
    workflow.write(
        {f"j{number}": f"echo out {number}; {workflow.until('go')}; exit {number % 3}" for number in range(jobs)}
    )


def _all_true(workflow: Workflow, record: dict[str, Any], jobs: int = JOBS) -> None:
    assert len(record["jobs"]) == jobs, record["said"]
    starts, ends = workflow.executions("start"), workflow.executions("end")
    assert {*starts.values(), *ends.values()} == {1}, "an attempt was executed twice"
    for number in range(jobs):
        *before, attempt = record["jobs"][f"j{number}"]["attempts"]
        # A container that was just being launched as its NodeManager died is lost: a disruption, and recorded as one.
        # So is one that a ResourceManager on a slow machine has not heard of for long, though it has run to its end.
        assert all(each["disruption"] for each in before), before
        assert (f"j{number}", attempt["number"]) in starts.keys() & ends.keys()
        assert attempt["exit_code"] == number % 3, attempt
        assert attempt["state"] == ("FAILED" if number % 3 else "FINISHED")
        assert workflow.log(record, f"j{number}") == f"out {number}\n"


SIXTY = pytest.param("nm", 60, marks=pytest.mark.thorough)
# So many containers at once start slowly: their application masters need longer than they are given here by default.
PATIENT = {"yarn": {"yarn.am.liveness-monitor.expiry-interval-ms": 120_000}}


@pytest.mark.parametrize(("daemon", "jobs"), [("rm", JOBS), ("nm", JOBS), SIXTY])
def test_a_daemon_is_killed_in_the_middle_of_a_run(workflow: Workflow, bed: Bed, daemon: str, jobs: int) -> None:
    if jobs != JOBS:
        bed.just(sites=PATIENT)
    _write(workflow, jobs)
    process = workflow.begin("--jobs", str(jobs // 2))
    workflow.wait(lambda: workflow.count("start") >= jobs // 4)
    bed.kill(daemon)
    workflow.put("go")  # what runs ends while it is away, and more is to be submitted
    # Not all of it: where this machine is slow, the ResourceManager gives the node up before, and ends the rest.
    workflow.wait(lambda: workflow.count("end") >= 1)
    bed.start(daemon)
    _all_true(workflow, workflow.finish(process), jobs)


@pytest.mark.thorough
def test_a_node_is_unreachable_while_sixty_jobs_run(workflow: Workflow, bed: Bed) -> None:
    """YARN gives it up, and with it all that runs there: disruptions, each of which is followed by one more attempt."""
    jobs, nodes = 60, f"{bed.rm}/ws/v1/cluster/nodes?states=LOST"
    bed.just(sites=PATIENT)
    _write(workflow, jobs)
    process = workflow.begin("--jobs", str(jobs // 2))
    workflow.wait(lambda: workflow.count("start") >= jobs // 4)
    bed.kill("nm", signal.SIGSTOP)
    workflow.wait(lambda: bool((bed.json(nodes)["nodes"] or {}).get("node")))
    lost = workflow.count("start")
    bed.start("nm")
    workflow.wait(lambda: workflow.count("start") >= lost + jobs // 4)
    workflow.put("go")
    record = workflow.finish(process)
    _all_true(workflow, record, jobs)
    assert any(job["attempts"][0]["disruption"] for job in record["jobs"].values()), record["said"]


def test_the_namenode_goes_into_safe_mode(workflow: Workflow, bed: Bed) -> None:
    _write(workflow)
    process = workflow.begin("--jobs", "10")
    workflow.wait(lambda: workflow.count("start") >= 6)
    bed.safe_mode(True)
    try:
        workflow.put("go")
        workflow.wait(lambda: workflow.count("end") >= 6)
    finally:
        bed.safe_mode(False)
    _all_true(workflow, workflow.finish(process))


def test_a_timeout_counts_from_the_start_marker_which_safe_mode_delays(workflow: Workflow, bed: Bed) -> None:
    """The file system takes no change from the submission on: the job waits, QUEUED, for longer than its timeout."""

    def before(method: str, path: str) -> bool:
        if is_submission(method, path):
            bed.safe_mode(True)
        return True

    def waits() -> bool:
        return any("has not made the start marker yet" in str(each["reason"]) for each in workflow.attempts("job"))

    tap = Tap(bed.rm, before=before)
    config = {"resource_manager": tap.url, "scheduler": bed.schedulers, "timeout": "10s"}
    try:
        process = workflow.write({"job": "exit 3"}, config).begin()
        workflow.wait(waits)
        app = f"{bed.rm}/ws/v1/cluster/apps/{workflow.attempts('job')[0]['native_id']}"
        workflow.wait(lambda: bed.json(app)["app"]["elapsedTime"] > 20_000)
        assert workflow.attempts("job")[0]["state"] == "QUEUED"
        assert workflow.count("start") == 0
        bed.safe_mode(False)
        (attempt,) = workflow.finish(process)["jobs"]["job"]["attempts"]
    finally:
        bed.safe_mode(False)
        tap.close()
    assert (attempt["state"], attempt["exit_code"], attempt["timed_out"]) == ("FAILED", 3, False)


@pytest.mark.parametrize("jobs", [JOBS, pytest.param(60, marks=pytest.mark.thorough)])
def test_the_driver_and_the_resourcemanager_are_killed(workflow: Workflow, bed: Bed, jobs: int) -> None:
    if jobs != JOBS:
        bed.just(sites=PATIENT)
    _write(workflow, jobs)
    process = workflow.begin("--jobs", str(jobs // 2))
    workflow.wait(lambda: workflow.count("start") >= jobs // 4)
    process.kill()
    process.communicate()
    bed.kill("rm")
    workflow.put("go")
    bed.up()  # a cluster that is away when a run is taken up is told, and the run left as it is
    done = workflow.call("resume", workflow.newest_run(), "--json")
    _all_true(workflow, workflow.record(done.stdout, done.stderr, done.returncode), jobs)


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


def _given_up(bed: Bed, tag: str) -> set[str]:
    """The names of the applications with a tag that YARN has given up."""
    found = bed.json(f"{bed.rm}/ws/v1/cluster/apps?states=FAILED&applicationTags={tag}")["apps"] or {"app": []}
    return {app["name"] for app in found["app"]}


def test_masters_that_are_never_heard_of(workflow: Workflow, bed: Bed) -> None:
    """One whose files are still on their way to the node when YARN gives it up (20 s), one that the scheduler's port is
    closed to: disruptions, each with its cause."""
    released, tag = threading.Event(), f"unheard-{uuid.uuid4().hex}"
    put(bed, "/shared/slow", b"x")
    tap = Tap(f"http://127.0.0.1:{bed.ports.nn_http}", lambda method, path: "op=OPEN" not in path or released.wait(300))
    slow = {"files": {"slow": f"{tap.url.replace('http:', 'webhdfs:')}/shared/slow"}}
    blocked = {"scheduler": f"127.0.0.2:{bed.ports.rm_scheduler}"}
    try:
        workflow.write({"slow": "cat ../slow", "blocked": "true"}, {"tags": [tag]}, slow=slow, blocked=blocked)
        process = workflow.begin("--jobs", "2")
        workflow.wait(lambda: _given_up(bed, tag) == {"slow", "blocked"})
        # The driver asks the node why: nothing may change there before it has recorded the answer.
        workflow.wait(lambda: all(workflow.attempts(job)[0]["state"] == "FAILED" for job in ("slow", "blocked")))
        released.set()
        workflow.wait(lambda: workflow.count("end") == 1)
        # A job that has left its last mark can still be stopped.
        workflow.wait(lambda: workflow.attempts("slow")[-1]["state"] == "FINISHED")
        workflow.call("stop", workflow.newest_run(), "--grace", "0")
    finally:
        released.set()
        tap.close()
    record = workflow.finish(process)
    first, *others, last = record["jobs"]["slow"]["attempts"]
    assert (first["state"], last["state"]) == ("FAILED", "FINISHED"), record["said"]
    assert all(each["disruption"] for each in (first, *others)), record["said"]
    assert "its files were not on the node before" in first["reason"]
    assert workflow.log(record, "slow") == "x"
    first = record["jobs"]["blocked"]["attempts"][0]
    assert (first["state"], first["disruption"]) == ("FAILED", True), record["said"]
    assert "it ran, and did not reach the scheduler's port" in first["reason"]
    assert f"127.0.0.2:{bed.ports.rm_scheduler}" in first["reason"]


@pytest.mark.thorough
def test_an_archive_that_may_outlast_yarns_patience_is_told_before_the_run(
    workflow: Workflow, session_bed: Bed
) -> None:
    session_bed.just(sites={"yarn": {"yarn.am.liveness-monitor.expiry-interval-ms": 2000}})
    put(session_bed, "/shared/large", bytes(30 << 20))  # three seconds, at 10 MiB a second
    said = workflow.write({"job": "true"}, {"files": {"large": "hdfs:///shared/large"}}).run()["said"]
    assert "job 'job': hdfs:///shared/large, the largest of its files and archives" in said
    assert "needs 3 s, and YARN ends an application that has not begun after 2 s" in said


@pytest.mark.thorough
def test_attempts_that_never_begin_have_a_bound(workflow: Workflow, session_bed: Bed) -> None:
    """A closed port: eight attempts, and the run ends by itself. Takes two minutes."""
    session_bed.just(sites={"yarn": {"yarn.am.liveness-monitor.expiry-interval-ms": 2000}})
    workflow.write({"job": "true"}, {"scheduler": f"127.0.0.2:{session_bed.ports.rm_scheduler}"})
    job = workflow.run(timeout=600)["jobs"]["job"]
    assert [each["disruption"] for each in job["attempts"]] == [True] * 8
    assert "8 attempts in a row were ended before they began" in job["reason"]
    assert workflow.count("start") == 0
