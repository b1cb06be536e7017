"""Jobs that Kueue admits. A fake API server; the test does what Kueue does with a Job that has its label."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_cluster import ENDED, STARTED, Cluster, Handler
from interrupted import driven, until
from patience import PATIENCE

from aiflow_ext.model.errors import PlatformError
from aiflow_ext.run import prepare_run

LABEL = "kueue.x-k8s.io/queue-name"


@pytest.fixture
def kueue(cluster: Cluster) -> Cluster:
    cluster.groups.add("kueue.x-k8s.io")
    return cluster


def prepared(project: Any, command: str) -> Any:
    config = {"a": {"platform": "kubernetes", "engine": "cmd_line", "image": "x", "queue": "team-a"}}
    return prepare_run(project.jobs(f"with af.job('a'):\n    af.cmd('{command}')", json.dumps(config)).root)


def queued(cluster: Cluster) -> list[str]:
    """The paths of the suspended Jobs that have been handed to Kueue."""
    return [path for path, each in list(cluster.objects.items())
            if "/jobs/" in path and LABEL in each["metadata"]["labels"] and each["spec"]["suspend"]]  # fmt: skip


def admit(cluster: Cluster, path: str) -> None:
    with Handler.lock:
        cluster.resume(path, {"metadata": {}, "spec": {"suspend": False}})


def evict(cluster: Cluster, path: str) -> None:
    """As Kueue and then the Job controller do: the Job is suspended, its pod ends and goes."""
    (name,) = [each for each in list(cluster.objects) if "/pods/" in each]
    pod = json.loads(json.dumps(cluster.objects[name]))
    pod["metadata"]["deletionTimestamp"] = ENDED
    pod["status"]["phase"] = "Failed"
    pod["status"]["containerStatuses"][0]["state"] = {
        "terminated": {"exitCode": 143, "reason": "Error", "startedAt": STARTED, "finishedAt": ENDED}
    }
    with Handler.lock:
        cluster.resume(path, {"metadata": {}, "spec": {"suspend": True}})
        cluster.put(name, pod)
        cluster.remove(name)


@pytest.mark.slow
def test_a_job_of_a_queue_waits_suspended_until_it_is_admitted(project: Any, kueue: Cluster) -> None:
    run = prepared(project, "true")
    driver = driven(run.driver.run)
    attempts = run.record.jobs["a"].attempts
    until(lambda: bool(attempts and attempts[0].reason))
    assert str(attempts[0].state) == "QUEUED"
    assert attempts[0].reason == "waits until Kueue admits it from queue team-a (kubectl describe localqueue team-a)"
    (path,) = queued(kueue)
    assert kueue.objects[path]["metadata"]["labels"][LABEL] == "team-a"
    admit(kueue, path)
    driver.join(PATIENCE)
    assert not driver.is_alive()
    run.close()
    assert str(run.record.jobs["a"].state) == "FINISHED"
    assert len(attempts) == 1


@pytest.mark.slow
def test_a_job_that_its_queue_evicts_is_withdrawn_and_queued_again(project: Any, kueue: Cluster) -> None:
    run = prepared(project, "sleep 1000")
    driver = driven(run.driver.run)
    attempts = run.record.jobs["a"].attempts
    until(lambda: bool(queued(kueue)))
    (path,) = queued(kueue)
    admit(kueue, path)
    until(lambda: str(attempts[0].state) == "RUNNING")
    evict(kueue, path)
    until(lambda: any(each != path for each in queued(kueue)))
    assert (str(attempts[0].state), attempts[0].disruption) == ("FAILED", True)
    assert path not in kueue.objects
    asked = kueue.asked
    second = next(number for number, each in enumerate(asked) if each == f"PATCH {queued(kueue)[0]}")
    assert asked.index(f"DELETE {path}") < second  # Kueue cannot admit the first one beside it
    run.driver.stop(1.0)
    driver.join(PATIENCE)
    assert not driver.is_alive()
    run.close()


def test_a_cluster_without_kueue_is_told_before_the_run(project: Any, cluster: Cluster) -> None:
    run = prepared(project, "true")
    with pytest.raises(PlatformError, match="the cluster has no Kueue"):
        run.driver.run()
    run.close()
    assert not any("/jobs/" in path for path in cluster.objects)
