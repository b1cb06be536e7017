"""What a run tells of its pods. A fake API server, whose pods are in the state that a test asks for."""

from __future__ import annotations

import json
from typing import Any

from fake_cluster import Cluster
from interrupted import driven, until

from aiflow_ext.run import prepare_run


def test_the_pod_and_its_node_are_in_status_while_it_runs_and_after_its_end(
    project: Any, cli: Any, cluster: Cluster
) -> None:
    project.jobs("with af.job('a'):\n    af.cmd('sleep 1000')",
                 json.dumps({"a": {"platform": "kubernetes", "engine": "cmd_line", "image": "x"}}))  # fmt: skip
    run = prepare_run(project.root)
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
    run.driver.stop()
    driver.join(60)
    assert not driver.is_alive()
    (attempt,) = run.record.jobs["a"].attempts
    assert (str(attempt.state), attempt.instance, attempt.node) == ("STOPPED", pod, "node")
