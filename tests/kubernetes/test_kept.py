"""Failed attempts whose Job and pod stay (``keep: failed``). A fake API server, whose pods end as a test asks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_cluster import ENDED, STARTED, Cluster

from aiflow_ext.run import prepare_run
from aiflow_ext.run.operations.gc import collect
from aiflow_ext_kubernetes.template import CONTAINER

FAILED = {"exitCode": 3, "reason": "Error", "startedAt": STARTED, "finishedAt": ENDED}


def ran(project: Any, **keys: Any) -> Any:
    config = {"a": {"platform": "kubernetes", "engine": "cmd_line", "image": "x", **keys}}
    run = prepare_run(project.jobs("with af.job('a'):\n    af.cmd('true')", json.dumps(config)).root)
    run.driver.run()
    run.close()
    return run.record.jobs["a"]


def left(cluster: Cluster) -> list[str]:
    return sorted(path.rsplit("/", 1)[1] for path in cluster.objects if "/jobs/" in path or "/pods/" in path)


def failing(cluster: Cluster, **more: Any) -> None:
    states = [{"name": CONTAINER, "state": {"terminated": FAILED}}]
    cluster.pod_status = {"phase": "Failed", "containerStatuses": states, **more}


@pytest.mark.slow
def test_a_failed_pod_is_kept_where_the_config_says_so_until_gc(project: Any, cluster: Cluster) -> None:
    failing(cluster)
    job = ran(project, keep="failed")
    (attempt,) = job.attempts
    assert (str(job.state), attempt.exit_code, attempt.cleaned) == ("FAILED", 3, True)
    assert left(cluster) == [attempt.native_id, f"{attempt.native_id}-pod"]
    foreign = "/apis/batch/v1/namespaces/default/jobs/foreign"
    cluster.put(foreign, {"metadata": {"name": "foreign", "labels": {}}, "spec": {}})
    assert len(collect(str(project.root))) == 1
    assert left(cluster) == ["foreign"]


@pytest.mark.slow
def test_a_failed_pod_is_removed_by_default(project: Any, cluster: Cluster) -> None:
    failing(cluster)
    assert str(ran(project).state) == "FAILED"
    assert left(cluster) == []


@pytest.mark.slow
def test_a_pod_that_has_not_failed_is_not_kept(project: Any, cluster: Cluster) -> None:
    assert str(ran(project, keep="failed").state) == "FINISHED"
    assert left(cluster) == []
