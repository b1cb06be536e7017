"""A cluster that its operators are strict on: memory is watched, queues take from each other and have access lists.

Nothing is recovered, and logs are not aggregated. What YARN ends for reasons of its own begins with a SIGTERM, to which
the jobs here answer at once: that answer is not their own end.
"""

from __future__ import annotations

import signal
import urllib.error
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import yarn_settings as settings
from yarn_bed import Bed
from yarn_jobs import processes
from yarn_runs import Workflow

PLATFORM = 6
HEEDS = "trap 'echo term; exit 9' TERM; "


@pytest.fixture(scope="module")
def operators(session_bed: Bed) -> Bed:
    """The bed, configured like that."""
    session_bed.just(sites=settings.strict())
    return session_bed


@pytest.fixture
def workflow(operators: Bed, tmp_path: Path) -> Iterator[Workflow]:
    """A project on it, no job of which has a retry."""
    operators.up()
    made = Workflow(tmp_path, operators)
    yield made
    made.close()


def _then_well(record: dict[str, Any], job: str, words: str) -> None:
    """The job's first attempt was disrupted, for this reason, and the second one ended well."""
    first, second = record["jobs"][job]["attempts"]
    assert (first["state"], first["disruption"], second["state"]) == ("FAILED", True, "FINISHED"), record["said"]
    assert words in first["reason"]


def test_more_memory_than_asked_for(workflow: Workflow) -> None:
    """Told with both numbers; its logs are there, to a last line without an end; the next attempt gets more."""
    waits = 'time.sleep(60 if os.environ["AIFLOW_ATTEMPT"] == "1" else 0)'
    hog = f"printf before; /usr/bin/python3 -c 'import os, time; x = b\"x\" * (300 << 20); {waits}'"
    record = workflow.write({"job": hog}, {"memory": "128Mi", "retries": 1, "grow": {"memory": 4}}).run()
    attempt, grown = record["jobs"]["job"]["attempts"]
    assert (attempt["state"], attempt["disruption"], attempt["out_of_memory"]) == ("FAILED", False, True), record[
        "said"
    ]
    assert (grown["state"], grown["out_of_memory"]) == ("FINISHED", False), record["said"]
    assert "for the memory that it used" in attempt["reason"]
    assert "of 128 MB physical memory used" in attempt["reason"]
    assert workflow.log(record, "job") == "before"


def test_without_aggregation_logs_that_are_gone_are_not_waited_for(workflow: Workflow, operators: Bed) -> None:
    """The node does not have them any more, and nobody will: it is asked a few times, not for a minute."""
    record = workflow.write({"job": f"rm -r {operators.folder}/data/nm-logs/application_*/container_*"}).run()
    attempt = record["jobs"]["job"]["attempts"][0]
    assert attempt["state"] == "FINISHED", record["said"]
    assert "cannot be had" in record["said"]
    container = attempt["native_id"].replace("application_", "_")
    asked = [line for line in operators.log("nm").splitlines() if container in line and "/logs/stdout" in line]
    assert 1 <= len(asked) <= 8, asked


def test_preemption(workflow: Workflow, operators: Bed, tmp_path: Path) -> None:
    """One of two jobs, which have all of the node, gives way to a job of the queue that is entitled to it."""
    jobs = {name: f"{HEEDS}{workflow.until('go')}" for name in ("one", "two")}
    process = workflow.write(jobs, {"queue": "small", "memory": "1024Mi"}).begin()
    workflow.wait(lambda: workflow.count("start") == 2)
    (tmp_path / "other").mkdir()
    other = Workflow(tmp_path / "other", operators)
    try:
        assert other.write({"job": "true"}, {"memory": "512Mi"}).run()["exit"] == 0
    finally:
        other.close()
    workflow.put("go")
    record = workflow.finish(process)
    assert record["exit"] == 0, record["said"]
    (preempted,) = [name for name, job in record["jobs"].items() if len(job["attempts"]) == 2]
    _then_well(record, preempted, "preempted")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_node_that_forgets(workflow: Workflow, operators: Bed, number: signal.Signals) -> None:
    """A NodeManager that is stopped for maintenance, or dies, and comes back without its containers: the job does not
    outlive that, and runs again at no retry's cost."""
    told = workflow.marks / "mark"
    script = f"{HEEDS}[ -e {told} ] || echo $AIFLOW_MARK > {told}; {workflow.until('go')}"
    process = workflow.write({"job": script}).begin()
    workflow.wait(lambda: told.exists() and bool(told.read_text()))
    app = workflow.newest()
    mark = told.read_text().strip()

    def over() -> bool:
        return bool(operators.json(f"{operators.rm}/ws/v1/cluster/apps/{app['id']}")["app"]["state"] == "FAILED")

    operators.kill("nm", number, wait=number == signal.SIGKILL)
    if number == signal.SIGTERM:
        workflow.wait(over)
        operators.kill("nm")
    operators.start("nm")
    workflow.wait(over)
    workflow.wait(lambda: workflow.count("start") == 2)
    assert processes(mark) == []
    workflow.put("go")
    _then_well(workflow.finish(process), "job", "lost")


def test_a_resourcemanager_that_forgets(workflow: Workflow, operators: Bed, tmp_path: Path) -> None:
    """It comes back without its applications: a job that has started is lost, one that has not is submitted again."""
    begun = workflow.write({"begun": workflow.until("go")}, {"memory": "512Mi"}).begin()
    workflow.wait(lambda: workflow.count("start") == 1)
    (tmp_path / "other").mkdir()
    other = Workflow(tmp_path / "other", operators)

    def waiting() -> list[str]:
        found = operators.json(f"{operators.rm}/ws/v1/cluster/apps?states=ACCEPTED")["apps"] or {"app": []}
        return [app["id"] for app in found["app"] if app["name"] == "waits"]

    try:
        waits = other.write({"waits": "exit 3"}, {"memory": "1792Mi"}).begin()
        workflow.wait(lambda: len(waiting()) == 1)
        (native_id,) = waiting()
        operators.kill("rm")
        operators.start("rm")
        (lost,) = workflow.finish(begun)["jobs"]["begun"]["attempts"]
        (ended,) = other.finish(waits)["jobs"]["waits"]["attempts"]
    finally:
        other.close()
    assert lost["state"] == "LOST", lost
    assert (ended["native_id"], ended["exit_code"]) == (native_id, 3), ended
    assert (workflow.each("start"), other.each("start")) == ({"begun": 1}, {"waits": 1})


def test_a_queue_that_does_not_take_the_user(workflow: Workflow, operators: Bed) -> None:
    files = operators.webhdfs
    operators.json(f"{files}/user/eve?op=MKDIRS&permission=755&user.name=root", "PUT")
    operators.json(f"{files}/user?op=SETPERMISSION&permission=755&user.name=root", "PUT")
    operators.json(f"{files}/user/eve?op=SETOWNER&owner=eve&user.name=root", "PUT")
    workflow.env["HADOOP_USER_NAME"] = "eve"
    record = workflow.write({"job": "true"}).run()
    assert record["exit"] == PLATFORM, record["said"]
    assert "user 'eve' may not submit to the queue 'default'" in record["said"]


def test_an_image_on_a_node_that_ignores_which_one_is_asked_for(workflow: Workflow) -> None:
    """DefaultContainerExecutor would run the job on the node itself."""
    record = workflow.write({"job": "true"}, {"container": {"image": "team/ml:1"}}).run()
    (attempt,) = record["jobs"]["job"]["attempts"]
    assert (attempt["state"], attempt["disruption"]) == ("FAILED", False), record["said"]
    assert attempt["reason"].startswith("never started: this node runs no containers in images: ")
    assert workflow.count("start") == 0


@pytest.fixture(scope="module")
def administered(session_bed: Bed) -> Bed:
    """The bed with queues that root alone administers."""
    session_bed.just(sites=settings.administered())
    return session_bed


def test_who_may_see_and_kill_an_application(administered: Bed, tmp_path: Path) -> None:
    """Eve is on the first list, Bob on the second one, and Mallory on neither."""
    workflow = Workflow(tmp_path, administered)
    lists = {"view_acls": {"users": ["eve"]}, "modify_acls": "bob"}
    process = workflow.write({"job": f"echo told; {workflow.until('go')}"}, lists).begin()
    workflow.wait(lambda: workflow.count("start") == 1)
    app = workflow.newest()
    address = f"{administered.rm}/ws/v1/cluster/apps/{app['id']}"

    def logs(user: str) -> str | None:
        return administered.json(f"{address}?user.name={user}")["app"].get("amContainerLogs")

    def kill(user: str) -> int:
        try:
            administered.json(f"{address}/state?user.name={user}", "PUT", {"state": "KILLED"})
        except urllib.error.HTTPError as error:
            return error.code
        return HTTPStatus.ACCEPTED

    assert logs("eve")
    assert [logs(user) for user in ("bob", "mallory")] == [None, None]
    read = f"{logs('eve')}/stdout?user.name=".replace("/node/containerlogs/", "/ws/v1/node/containerlogs/")
    read = read.replace("/root/stdout", "/stdout")
    assert administered.answers(read + "eve")
    assert not administered.answers(read + "mallory")
    assert [kill(user) for user in ("eve", "mallory", "bob")] == [403, 403, 202]
    (attempt,) = workflow.finish(process)["jobs"]["job"]["attempts"]
    assert attempt["reason"].startswith("killed by user bob")


@pytest.fixture(scope="module")
def without_images(session_bed: Bed) -> Bed:
    """The bed with a NodeManager that refuses containers in images, and says so in its own log alone."""
    session_bed.just(sites=settings.without_images(session_bed.folder))
    return session_bed


def test_an_image_on_a_node_that_allows_none(without_images: Bed, tmp_path: Path) -> None:
    workflow = Workflow(tmp_path, without_images)
    runtimes = {name: {"container": {"image": "team/ml:1", "runtime": name}} for name in ("docker", "runc")}
    record = workflow.write(dict.fromkeys(runtimes, "true"), None, **runtimes).run()
    for name in runtimes:
        (attempt,) = record["jobs"][name]["attempts"]
        assert (attempt["state"], attempt["disruption"]) == ("FAILED", False), record["said"]
        assert "runtime.linux.allowed-runtimes of the node does not have its runtime" in attempt["reason"]


@pytest.fixture(scope="module")
def fair(session_bed: Bed) -> Bed:
    """The bed with the fair scheduler, which has the queues ``root.a.ml`` and ``root.b.ml``, and makes no others."""
    session_bed.just(sites=settings.fair(session_bed.folder))
    return session_bed


@pytest.mark.thorough
def test_queues_of_the_fair_scheduler(fair: Bed, tmp_path: Path) -> None:
    """It would put an application for a queue that is missing, or that several might be meant by, into another one."""
    workflow = Workflow(tmp_path, fair)
    for queue, words in (("ml", "no queue 'ml'"), ("nope", "no queue 'nope'"), ("a", "'a' holds other queues")):
        record = workflow.write({"job": "true"}, {"queue": queue}).run()
        assert record["exit"] == PLATFORM, record["said"]
        assert words in record["said"]
    record = workflow.write({"job": "exit 3"}, {"queue": "a.ml"}).run()
    assert record["jobs"]["job"]["attempts"][0]["exit_code"] == 3, record["said"]
    (app,) = fair.json(f"{fair.rm}/ws/v1/cluster/apps")["apps"]["app"][-1:]
    assert app["queue"] == "root.a.ml"
