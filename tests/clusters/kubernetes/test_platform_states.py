"""What a job goes through on a real cluster is told in the cluster's own words, and its end as it was."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kubernetes_bed import Bed
from kubernetes_bed.waiting import until

from aiflow_ext import JobContext
from aiflow_ext.run import prepare_run
from aiflow_ext.run.launch import default_id
from aiflow_ext.run.records import AttemptRecord, RunRecord
from aiflow_ext_kubernetes import handler

Runner = Callable[..., RunRecord]


@pytest.fixture
def there(
    project: Any, bed: Bed, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """``there(command, **keys)``: a project with one command job in the test's namespace."""
    monkeypatch.setenv("KUBECONFIG", str(bed.kubeconfig))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def make(command: str | list[str], **keys: Any) -> Path:
        config = {
            "platform": "kubernetes", "engine": "cmd_line", "image": "localhost/busybox:1", "namespace": namespace,
            "pull_policy": "IfNotPresent", "grace": 1, **keys,
        }  # fmt: skip
        project.jobs(f"with af.job('job'):\n    af.cmd({command!r})", json.dumps({"job": config}))
        root: Path = project.root
        return root

    return make


@pytest.fixture
def ran(there: Callable[..., Path]) -> Callable[..., AttemptRecord]:
    """``ran(command, **keys)``: the last attempt of a run of that."""

    def run(command: str | list[str], **keys: Any) -> AttemptRecord:
        record = prepare_run(there(command, **keys)).driver.run()
        last = record.jobs["job"].last
        assert last is not None
        return last

    return run


def told(attempt: AttemptRecord) -> tuple[str, int | None, str]:
    return str(attempt.state), attempt.exit_code, str(attempt.reason)


def test_out_of_memory_is_told(ran: Callable[..., AttemptRecord]) -> None:
    eats = "python3 -c 'x = bytearray(200 << 20); print(len(x))'"
    state, code, reason = told(ran(eats, image="localhost/aiflow-python:3.11", memory="64Mi"))
    assert (state, code) == ("FAILED", 137)
    assert "OOMKilled" in reason
    assert "64Mi" in reason


def test_the_jobs_own_reason_is_told(ran: Callable[..., AttemptRecord]) -> None:
    state, code, reason = told(ran("echo no more data > $AIFLOW_REASON_FILE; exit 4"))
    assert (state, code, reason) == ("FAILED", 4, "no more data")


def test_a_program_that_is_not_there_is_127(ran: Callable[..., AttemptRecord]) -> None:
    state, code, reason = told(ran(["/no/such/program"]))
    assert (state, code) == ("FAILED", 127)
    assert "no such program" in reason


def test_other_containers_do_not_decide(ran: Callable[..., AttemptRecord]) -> None:
    busybox = {"image": "localhost/busybox:1", "securityContext": {"allowPrivilegeEscalation": False}}
    template = {
        "spec": {
            "initContainers": [{"name": "first", "command": ["true"], **busybox}],
            "containers": [{"name": "sidecar", "command": ["sh", "-c", "sleep 600"], **busybox}],
        }
    }
    assert told(ran("exit 6", pod_template=template))[:2] == ("FAILED", 6)
    assert told(ran("exit 0", pod_template=template))[0] == "FINISHED"


def test_an_init_container_that_fails_is_named(ran: Callable[..., AttemptRecord]) -> None:
    busybox = {"image": "localhost/busybox:1", "securityContext": {"allowPrivilegeEscalation": False}}
    fails = {"name": "fetch", "command": ["sh", "-c", "echo no such host >/dev/termination-log; exit 3"], **busybox}
    state, code, reason = told(ran("true", pod_template={"spec": {"initContainers": [fails]}}))
    assert (state, code) == ("FAILED", None)
    assert reason == "init container fetch has failed, and the job was not started: no such host"


def test_an_image_that_does_not_exist_is_given_up(ran: Callable[..., AttemptRecord]) -> None:
    state, code, reason = told(ran("true", image="localhost/no-such-image:1", image_patience=3))
    assert (state, code) == ("FAILED", None)
    assert "no-such-image" in reason
    assert "Image" in reason


def test_what_fits_no_node_waits_with_the_schedulers_words(there: Callable[..., Path]) -> None:
    run = prepare_run(there("true", cpu=1000))
    thread = threading.Thread(target=run.driver.run)
    thread.start()

    def waits() -> bool:
        last = run.record.jobs["job"].last
        return last is not None and str(last.state) == "QUEUED" and "Insufficient cpu" in str(last.reason)

    try:
        assert until(waits, 30), run.record.summary()
    finally:
        run.driver.stop(1.0)
        thread.join(60)
    assert str(run.record.jobs["job"].state) == "STOPPED"


def test_what_its_node_cannot_mount_waits_with_the_nodes_words(ran: Callable[..., AttemptRecord]) -> None:
    state, _, reason = told(ran("true", volumes=[{"mount": "/settings", "config_map": "nobody-made"}], start_within=25))
    assert state == "FAILED"
    assert "not started within 25 s: FailedMount: " in reason
    assert 'configmap "nobody-made" not found' in reason


@pytest.mark.parametrize("kind", ["job", "secret"])
def test_a_name_that_is_somebody_elses_is_told_and_left_alone(
    there: Callable[..., Path], bed: Bed, namespace: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("HIDDEN", "x")
    run = prepare_run(there("true", env={"TOKEN": {"secret": "env:HIDDEN"}}))
    name = default_id(JobContext(run.record.run_id, "job", 1))
    if kind == "job":
        image = {"name": "theirs", "image": "localhost/busybox:1", "command": ["sleep", "1000"]}
        theirs = {"suspend": True, "template": {"spec": {"restartPolicy": "Never", "containers": [image]}}}
        path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        bed.api.create(path, {"metadata": {"name": name}, "spec": theirs})
    else:
        path = f"/api/v1/namespaces/{namespace}/secrets"
        bed.api.create(path, {"metadata": {"name": name}, "stringData": {"env.TOKEN": "theirs"}})
    last = run.driver.run().jobs["job"].last
    assert last is not None
    state, _, reason = told(last)
    assert state == "FAILED"
    assert f"there is a {kind.title()} {name} in namespace {namespace} already, and it is not ours" in reason
    left = bed.api.get(f"{path}/{name}")["metadata"]
    assert ("deletionTimestamp" in left, left.get("ownerReferences")) == (False, None)
    if kind == "secret":
        assert bed.api.get(f"/apis/batch/v1/namespaces/{namespace}/jobs")["items"] == []


def test_a_stop_whose_node_is_gone_names_the_node(
    there: Callable[..., Path], bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "PATIENCE", 2.0)
    run = prepare_run(there("sleep 600"))
    thread = threading.Thread(target=run.driver.run)
    thread.start()

    def last(state: str, words: str) -> bool:
        attempt = run.record.jobs["job"].last
        return attempt is not None and str(attempt.state) == state and words in str(attempt.reason)

    assert until(lambda: last("RUNNING", ""), 60)
    bed.kill("kubelet")
    run.driver.stop(1.0)
    assert until(lambda: last("RUNNING", f"node {bed.layout.node} has not told that its pod is gone"), 60)
    bed.start("kubelet")
    thread.join(120)
    assert str(run.record.jobs["job"].state) == "STOPPED"


def test_what_does_not_start_in_time_has_failed(ran: Callable[..., AttemptRecord]) -> None:
    state, _, reason = told(ran("true", cpu=1000, start_within=3))
    assert state == "FAILED"
    assert "not started within 3 s" in reason
    assert "Insufficient cpu" in reason


def test_a_time_out_keeps_the_log(ran: Callable[..., AttemptRecord]) -> None:
    # It takes its time to say so: longer than a log is waited for that has come to its end.
    leaves = "trap 'echo saving; sleep 4; echo bye; exit 1' TERM; echo hello; while :; do sleep 0.1; done"
    attempt = ran(leaves, timeout=2, grace=30)
    assert told(attempt)[0] == "FAILED"
    assert "timeout" in str(attempt.reason)
    assert [Path(attempt.folder, stream).read_bytes() for stream in ("stdout", "stderr")] == [
        b"hello\nsaving\nbye\n", b"",
    ]  # fmt: skip


def test_the_log_outlives_the_pod(ran: Callable[..., AttemptRecord], bed: Bed, namespace: str) -> None:
    lines = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i; done; printf end; printf 'a\\nb' >&2; exit 3"
    attempt = ran(lines)
    wanted = "".join(f"line {number}\n" for number in range(1, 3001)) + "end"
    assert Path(attempt.folder, "stdout").read_text() == wanted
    assert Path(attempt.folder, "stderr").read_text() == "a\nb"
    jobs = bed.api.get(f"/apis/batch/v1/namespaces/{namespace}/jobs")["items"]
    assert jobs == []


def test_restricted_pods_are_let_in(
    there: Callable[..., Path], restricted_namespace: str, bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = there("id -u; cat /proc/self/status | grep NoNewPrivs", namespace=restricted_namespace)
    record = prepare_run(root).driver.run()
    last = record.jobs["job"].last
    assert last is not None
    assert str(last.state) == "FINISHED", last.reason
    assert Path(last.folder, "stdout").read_text() == "1000\nNoNewPrivs:\t1\n"


def test_secrets_and_config_maps_of_the_cluster_reach_the_job(
    ran: Callable[..., AttemptRecord], bed: Bed, namespace: str
) -> None:
    bed.api.create(f"/api/v1/namespaces/{namespace}/secrets",
                   {"metadata": {"name": "db"}, "stringData": {"password": "p $(x) w"}})  # fmt: skip
    bed.api.create(f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": "c"}, "data": {"MODE": "fast"}})
    attempt = ran(
        'echo "$PASSWORD"; echo $C_MODE; cat /mnt/db/password; echo; echo "$LITERAL"',
        env={"PASSWORD": {"secret": "kubernetes:db/password"}, "LITERAL": "$(PASSWORD) $$ $x"},
        env_from=[{"config_map": "c", "prefix": "C_"}], volumes=[{"mount": "/mnt/db", "secret": "db"}],
    )  # fmt: skip
    assert Path(attempt.folder, "stdout").read_text() == "p $(x) w\nfast\np $(x) w\n$(PASSWORD) $$ $x\n"
