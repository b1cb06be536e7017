"""What a run tells of its pods. A fake API server, whose pods are in the state that a test asks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_cluster import COMPLETED, Cluster
from interrupted import driven, until
from patience import PATIENCE

from aiflow_ext.run import prepare_resume, prepare_run
from aiflow_ext_kubernetes import handler


def sleeping(project: Any, **keys: Any) -> Path:
    """A project whose only job does not end by itself."""
    config = {"a": {"platform": "kubernetes", "engine": "cmd_line", "image": "x", **keys}}
    root: Path = project.jobs("with af.job('a'):\n    af.cmd('sleep 1000')", json.dumps(config)).root
    return root


@pytest.mark.slow
def test_the_pod_and_its_node_are_in_status_while_it_runs_and_after_its_end(
    project: Any, cluster: Cluster, cli: Any
) -> None:
    run = prepare_run(sleeping(project))
    driver = driven(run.driver.run)
    found: list[dict[str, Any]] = []

    def shown() -> bool:
        record = json.loads(cli("status", run.record.run_id, "--project", project.root, "--json").stdout)
        found[:] = record["jobs"][0]["attempts"]
        return bool(found) and (found[0]["state"], found[0]["node"]) == ("RUNNING", "node")

    until(shown)
    pod = f"{found[0]['native_id']}-pod"
    assert found[0]["instance"] == pod
    lines = cli("status", run.record.run_id, "--project", project.root).stdout.splitlines()
    assert [line.split("\t")[-2:] for line in lines[1:]] == [["node", "runs in"], ["node", pod]]
    run.driver.stop(1.0)
    driver.join(PATIENCE)
    assert not driver.is_alive()
    (attempt,) = run.record.jobs["a"].attempts
    assert (str(attempt.state), attempt.instance, attempt.node) == ("STOPPED", pod, "node")


@pytest.mark.slow
def test_a_time_out_whose_node_is_gone_is_told_with_node_and_pod_and_tried_again_also_by_a_later_driver(
    project: Any, cluster: Cluster, cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "PATIENCE", -handler.PATIENCE)
    cluster.node_is_gone = True
    first = prepare_run(sleeping(project, timeout=1))
    driver = driven(first.driver.run)
    why = "it ran into its timeout of 1 s; stopping it failed, and is tried again: "

    def stops() -> int:
        return sum(each.startswith("DELETE") and "/pods/" in each for each in cluster.asked)

    def told() -> bool:
        record = json.loads(cli("status", first.record.run_id, "--project", project.root, "--json").stdout)
        (attempt,) = record["jobs"][0]["attempts"] or [{"native_id": None, "reason": None}]
        words = f"{why}its Job was deleted, and node node has not confirmed that pod {attempt['native_id']}-pod is gone"
        return str(attempt["reason"]).startswith(words)

    until(told)
    until(lambda: stops() > 1)
    first.driver.leave()
    driver.join(PATIENCE)
    assert not driver.is_alive()
    first.close()
    assert told()
    before = stops()
    second = prepare_resume(first.record.run_id, project=str(project.root))
    driver = driven(second.driver.run)
    until(lambda: stops() > before + 1)
    until(told)
    cluster.node_is_gone = False
    for path in [each for each in cluster.objects if "/jobs/" in each]:
        cluster.remove(path)
    driver.join(PATIENCE)
    assert not driver.is_alive()
    second.close()
    last = second.record.jobs["a"].last
    assert last is not None
    assert (str(last.state), last.reason, last.node) == ("FAILED", "it ran into its timeout of 1 s", "node")


INIT_FAILED = {
    "phase": "Failed",
    "initContainerStatuses": [
        {"name": "before", "state": COMPLETED},
        {"name": "fetch", "state": {"terminated": {"exitCode": 3, "reason": "Error"}}},
    ],
    "containerStatuses": [{"name": "job", "state": {"waiting": {"reason": "PodInitializing"}}}],
}
SIDECARS_FAILED = {
    "phase": "Succeeded",
    "initContainerStatuses": [
        {"name": "proxy", "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}},
        {"name": "ends-with-it", "state": {"terminated": {"exitCode": 143, "reason": "Error"}}},
    ],
    "containerStatuses": [
        {"name": "job", "state": COMPLETED},
        {"name": "metrics", "state": {"terminated": {"exitCode": 2, "reason": "Error"}}},
        {"name": "../../x", "state": {"terminated": {"exitCode": 2, "reason": "Error"}}},
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pod", "code", "kept"),
    [
        (INIT_FAILED, 1, {"fetch": "no such host\n"}),
        (SIDECARS_FAILED, 0, {"proxy": "cannot listen before\n", "metrics": "no port\n"}),
    ],
)
def test_the_log_of_a_container_that_has_failed_beside_the_job_is_kept_and_named(
    project: Any, cluster: Cluster, cli: Any, pod: dict[str, Any], code: int, kept: dict[str, str]
) -> None:
    cluster.pod_status = pod
    cluster.container_logs = {"fetch": "no such host", "proxy": "cannot listen", "metrics": "no port"}
    done = cli("run", sleeping(project))
    assert done.returncode == code, done.stdout + done.stderr
    where = ["--project", project.root]
    (attempt,) = json.loads(cli("status", "latest", *where, "--json").stdout)["jobs"][0]["attempts"]
    files = {path.name: path.read_text() for path in Path(attempt["folder"]).glob("*container*")}
    assert files == {f"container-{name}.log": text for name, text in kept.items()}
    logs = cli("logs", "latest", "a", *where)
    for name, text in kept.items():
        path = Path(attempt["folder"], f"container-{name}.log")
        assert f"a: container {name} has failed; its log: {path}\n" in logs.stderr
        assert cli("logs", "latest", "a", "--container", name, *where).stdout == text
        assert (f", container-{name}.log" in done.stdout) == bool(code)
    unknown = cli("logs", "latest", "a", "--container", "other", *where)
    assert unknown.returncode == 3
    assert f"kept are those of {', '.join(sorted(kept))}" in unknown.stderr
    asked = {each.partition("container=")[2].partition("&")[0] for each in cluster.asked if "/log?" in each}
    assert asked - {"job"} == set(kept)
