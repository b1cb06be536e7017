"""What a run tells of its pods. A fake API server, whose pods are in the state that a test asks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_cluster import Cluster
from interrupted import driven, until

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
    driver.join(60)
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
    driver.join(60)
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
    driver.join(60)
    assert not driver.is_alive()
    second.close()
    last = second.record.jobs["a"].last
    assert last is not None
    assert (str(last.state), last.reason, last.node) == ("FAILED", "it ran into its timeout of 1 s", "node")
