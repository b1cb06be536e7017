"""Applications that the ResourceManager accepted and does not know afterwards: submitted again, under the same id."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cluster_server import TOOK, Cluster
from interrupted import PATIENCE, driven, until

from aiflow_ext.run import prepare_resume, prepare_run
from aiflow_ext.run.driving import ends, retries
from aiflow_ext_yarn import application, poll_hints
from aiflow_ext_yarn.cluster_checks import check
from aiflow_ext_yarn.config import YarnJobConfig
from aiflow_ext_yarn.master.outcome import EXIT, Outcome

LAUNCH = (
    "Application application_1_0001 failed 1 times due to Error launching appattempt_1_0001_000001. Got exception: "
    "java.net.ConnectException: Call From rm/10.0.0.1 to node:8041 failed on connection exception\n"
)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as started:
        yield started


@pytest.fixture
def one_job(project: Any, cluster: Cluster) -> Any:
    """A project whose only job runs on the cluster."""
    shared = {"platform": "yarn", "engine": "cmd_line", "user": "ada"}
    config = {"job": {**shared, "resource_manager": cluster.url, "webhdfs": cluster.url}}
    return project.jobs("with af.job('job'):\n    af.cmd('true')", json.dumps(config))


def test_a_submission_that_is_answered_and_dropped_is_made_again(one_job: Any, cluster: Cluster, run_json: Any) -> None:
    cluster.drops = 1
    assert run_json(one_job)["state"] == "FINISHED"
    assert len(cluster.submitted) == 2
    assert len(set(cluster.submitted)) == 1


def test_the_container_and_its_node_are_told(one_job: Any, cluster: Cluster, run_json: Any) -> None:
    (attempt,) = run_json(one_job)["jobs"]["job"]["attempts"]
    container = attempt["native_id"].replace("application", "container") + "_01_000001"
    assert (attempt["instance"], attempt["node"]) == (container, "127.0.0.1")


def test_when_a_job_began_is_told_though_no_poll_has_seen_it_run(one_job: Any, cluster: Cluster, run_json: Any) -> None:
    (attempt,) = run_json(one_job)["jobs"]["job"]["attempts"]
    assert attempt["state"] == "FINISHED"
    assert attempt["ended_at"] - attempt["started_at"] == pytest.approx(TOOK / 1000, abs=0.01)


def test_an_application_that_was_forgotten_before_it_started_is_submitted_again(one_job: Any, cluster: Cluster) -> None:
    cluster.holds = True
    run = prepare_run(one_job.root)
    job, driver = run.record.jobs["job"], driven(run.driver.run)
    until(lambda: job.state.value == "QUEUED")
    cluster.forget()
    driver.join(PATIENCE)
    run.close()
    assert (job.state.value, len(job.attempts)) == ("FINISHED", 1)
    assert cluster.submitted == [job.attempts[0].native_id] * 2


def test_a_resumed_run_submits_again_what_was_forgotten_before_it_started(one_job: Any, cluster: Cluster) -> None:
    cluster.holds = True
    first = prepare_run(one_job.root)
    driver = driven(first.driver.run)
    until(lambda: first.record.jobs["job"].state.value == "QUEUED")
    first.driver.leave()
    driver.join(PATIENCE)
    first.close()
    cluster.forget()
    second = prepare_resume(first.record.run_id, project=str(one_job.root))
    driver = driven(second.driver.run)
    driver.join(PATIENCE)
    second.close()
    job = second.record.jobs["job"]
    assert (job.state.value, len(job.attempts)) == ("FINISHED", 1)
    assert cluster.submitted == [job.attempts[0].native_id] * 2


def test_an_application_that_was_forgotten_after_it_started_is_lost(one_job: Any, cluster: Cluster) -> None:
    cluster.holds = True
    run = prepare_run(one_job.root)
    job, driver = run.record.jobs["job"], driven(run.driver.run)
    until(lambda: job.state.value == "QUEUED" and job.attempts[0].step == "acknowledged")
    cluster.start_marker(str(job.attempts[0].native_id))
    cluster.forget()
    driver.join(PATIENCE)
    run.close()
    assert (job.state.value, len(job.attempts), len(cluster.submitted)) == ("LOST", 1, 1)


def test_nothing_is_remembered_of_an_application_that_has_ended_before_its_submission_is_answered(
    one_job: Any, cluster: Cluster
) -> None:
    run = prepare_run(one_job.root)
    job = run.record.jobs["job"]

    def before(path: str) -> None:
        for native_id in cluster.submitted:
            if path.startswith(f"/ws/v1/cluster/apps/{native_id}"):
                until(lambda native_id=native_id: job.state.ended and poll_hints.was_submitted(native_id) is None)

    cluster.before = before
    run.driver.run()
    run.close()
    (attempt,) = job.attempts
    assert (job.state.value, poll_hints.was_submitted(str(attempt.native_id))) == ("FINISHED", None)


def test_attempts_that_the_platform_ends_before_they_begin_cost_no_retry_and_are_bounded(
    one_job: Any, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (ends, retries):
        monkeypatch.setattr(module, "MOST_NOT_BEGUN", 2)
    cluster.diagnostics = LAUNCH
    run = prepare_run(one_job.root)
    driven(run.driver.run).join(PATIENCE)
    run.close()
    job = run.record.jobs["job"]
    assert (job.state.value, [attempt.disruption for attempt in job.attempts]) == ("FAILED", [True, True])
    assert str(job.reason).startswith("2 attempts in a row were ended before they began, and no other one is made: ")
    assert "Error launching appattempt_1_0001_000001" in str(job.reason)


def test_an_attempt_whose_folder_may_not_be_read_any_more_does_not_hold_up_its_run(
    one_job: Any, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ends, "MOST_NOT_BEGUN", 1)
    cluster.diagnostics = LAUNCH

    def before(path: str) -> None:
        if cluster.submitted:
            cluster.private = next(each for each in cluster.permissions if each.endswith(cluster.submitted[0]))

    cluster.before = before
    run = prepare_run(one_job.root)
    driver = driven(run.driver.run)
    driver.join(PATIENCE)
    assert not driver.is_alive()
    run.close()
    assert "Error launching appattempt_1_0001_000001" in str(run.record.jobs["job"].attempts[0].reason)


def test_only_its_own_folders_on_an_empty_file_system_are_for_the_user_alone(
    one_job: Any, cluster: Cluster, run_json: Any
) -> None:
    assert run_json(one_job)["state"] == "FINISHED"
    closed = {path for path, permission in cluster.permissions.items() if permission == "700"}
    (run_folder, attempt_folder) = sorted(closed - {"/user/ada/.aiflow"})
    assert attempt_folder.startswith(f"{run_folder}/application_")
    assert run_folder.startswith("/user/ada/.aiflow/")
    assert {path for path in cluster.permissions if path not in closed} == {"/user", "/user/ada"}


@pytest.mark.parametrize(("history", "aggregates"), [(False, "true"), (True, "false")])
def test_logs_that_cannot_come_are_not_waited_for(
    one_job: Any, cluster: Cluster, run_json: Any, history: bool, aggregates: str
) -> None:
    if history:
        text = (one_job.root / "workflow.yaml").read_text()
        (one_job.root / "workflow.yaml").write_text(text.replace('"user"', f'"history": "{cluster.url}", "user"'))
    cluster.logs, cluster.settings["yarn.log-aggregation-enable"] = False, aggregates
    assert run_json(one_job)["state"] == "FINISHED"
    assert cluster.logs_asked < 20  # each of two logs twice, and not for half a minute


def test_logs_are_waited_for_where_the_node_is_lost_after_the_job_has_ended(
    one_job: Any, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its application master has recorded the end, and YARN has not heard of it: the node comes back with the logs."""
    monkeypatch.setattr(application, "NO_LOGS_TIMEOUT", 0.0)  # of a job that may never have begun
    text = (one_job.root / "workflow.yaml").read_text()
    (one_job.root / "workflow.yaml").write_text(text.replace('"user"', f'"history": "{cluster.url}", "user"'))
    cluster.logs, cluster.diagnostics = False, "Container released on a *lost* node"

    def before(path: str) -> None:
        cluster.logs = cluster.logs_asked >= 8
        for native_id in cluster.submitted:
            folder = next(each for each in cluster.permissions if each.endswith(native_id))
            cluster.files[f"{folder}/ended"] = Outcome(EXIT, exit_code=0).to_json().encode()

    cluster.before = before
    assert prepare_run(one_job.root).driver.run().jobs["job"].state.value == "FINISHED"
    assert one_job.log("job") == b"hello\n"


FAIR = {"type": "fairScheduler", "rootQueue": {"queueName": "root", "childQueues": {"queue": [
    {"queueName": "root.default"}]}}}  # fmt: skip
TWICE = {"queueName": "root", "queuePath": "root", "queues": {"queue": [
    {"queueName": part, "queuePath": f"root.{part}", "queues": {"queue": [
        {"queueName": "ml", "queuePath": f"root.{part}.ml", "state": "RUNNING"}]}} for part in "ab"]}}  # fmt: skip


@pytest.mark.parametrize(
    ("queue", "scheduler", "undeclared", "told"),
    [
        ("ml", FAIR, "true", None),
        ("ml", FAIR, "false", "the cluster has no queue 'ml'"),
        ("default", FAIR, "false", None),
        ("ml", TWICE, "false", "the cluster has several queues 'ml': root.a.ml, root.b.ml"),
        ("root.a.ml", TWICE, "false", None),
    ],
)
def test_a_queue_that_is_missing_or_ambiguous_is_told_before_the_run(
    cluster: Cluster, queue: str, scheduler: dict[str, Any], undeclared: str, told: str | None
) -> None:
    cluster.scheduler = scheduler
    cluster.settings["yarn.scheduler.fair.allow-undeclared-pools"] = undeclared
    config = YarnJobConfig(resource_manager=cluster.url, webhdfs=cluster.url, user="ada", queue=queue)
    found = [problem.message for problem in check([config]) if "queue" in problem.message]
    assert found == ([told] if told else [])


def test_a_timeout_counts_from_the_start_marker(one_job: Any, cluster: Cluster) -> None:
    text = (one_job.root / "workflow.yaml").read_text()
    (one_job.root / "workflow.yaml").write_text(text.replace('"user"', '"timeout": "10m", "user"'))
    cluster.waits = True
    run = prepare_run(one_job.root)
    job, driver = run.record.jobs["job"], driven(run.driver.run)
    until(lambda: "start marker" in str(job.reason))
    assert job.state.value == "QUEUED"
    attempt = job.attempts[0]
    cluster.start_marker(str(attempt.native_id))
    until(lambda: job.state.value != "QUEUED")
    cluster.finish(str(attempt.native_id))
    driver.join(PATIENCE)
    run.close()
    assert (job.state.value, len(job.attempts)) == ("FINISHED", 1)
    (marker,) = cluster.times.values()
    assert attempt.started_at == pytest.approx(marker, abs=0.01)


def test_archives_whose_localisation_may_outlast_yarns_patience_are_told_before_the_run(
    project: Any, cluster: Cluster, cli: Any
) -> None:
    """YARN's patience is in the answer of the ResourceManager's /conf; 10 MiB a second take 20 ms for 200 KiB."""
    cluster.files["/envs/ml.tar.gz"] = b"x" * (200 << 10)
    shared = {"platform": "yarn", "engine": "cmd_line", "user": "ada"}
    shared |= {
        "resource_manager": cluster.url,
        "webhdfs": cluster.url,
        "archives": {"env.tar.gz": "hdfs:///envs/ml.tar.gz"},
    }
    body = "with af.job('a'): af.cmd('true')\nwith af.job('b'): af.cmd('true')"
    made = project.jobs(body, json.dumps({"*": shared, "a": {}, "b": {}}))
    for patience, told in (("60000", 0), ("15", 1)):
        cluster.settings["yarn.am.liveness-monitor.expiry-interval-ms"] = patience
        done = cli("run", made.root)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("needs 0 s, and YARN ends an application that has not begun after 0 s") == told
        assert done.stderr.count("job 'a': hdfs:///envs/ml.tar.gz, the largest of its files and archives") == told
