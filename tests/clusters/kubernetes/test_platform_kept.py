"""A failed pod that is kept to be looked at, until ``gc``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes_bed import Bed
from kubernetes_bed.images import NAMES

from aiflow_ext.run import prepare_run
from aiflow_ext.run.operations.gc import collect

CLASS = "/apis/scheduling.k8s.io/v1/priorityclasses"
NEAR = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
    {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}]}}}  # fmt: skip


@pytest.fixture
def priority(bed: Bed, namespace: str) -> Iterator[str]:
    """A PriorityClass of the test's own."""
    bed.api.create(CLASS, {"metadata": {"name": namespace}, "value": 7})
    yield namespace
    bed.api.delete(f"{CLASS}/{namespace}")


def test_a_failed_pod_stays_until_gc_and_is_as_its_config_says(
    bed: Bed, namespace: str, project: Any, priority: str
) -> None:
    kubernetes = {"image": NAMES["busybox"], "kubeconfig": str(bed.kubeconfig), "namespace": namespace,
                  "keep": "failed", "shm": "32Mi", "spread": [{"over": "kubernetes.io/hostname"}],
                  "affinity": NEAR, "priority_class": priority}  # fmt: skip
    config = {"*": {"platform": "kubernetes", "engine": "cmd_line", "platforms": {"kubernetes": kubernetes}},
              "Fails_often": {}, "ends": {}}  # fmt: skip
    fails = "with af.job('Fails_often'):\n    af.cmd('df -m /dev/shm | grep -q 32 && exit 3')"
    body = f"{fails}\nwith af.job('ends'):\n    af.cmd('true')"
    run = prepare_run(project.jobs(body, json.dumps(config)).root)
    run.driver.run()
    run.close()
    assert {name: str(job.state) for name, job in run.record.jobs.items()} == {
        "Fails_often": "FAILED",
        "ends": "FINISHED",
    }
    (attempt,) = run.record.jobs["Fails_often"].attempts
    assert attempt.exit_code == 3
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    assert [each["metadata"]["name"] for each in bed.api.get(jobs)["items"]] == [attempt.native_id]
    pods = bed.api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
    (kept,) = [each for each in pods if each["metadata"]["name"] == attempt.instance]
    assert kept["metadata"].get("deletionTimestamp") is None
    assert kept["metadata"]["labels"]["aiflow-ext/job"] == "Fails_often"  # as it is: a valid label value
    assert (kept["spec"]["priority"], kept["spec"]["affinity"]) == (7, NEAR)
    assert len(collect(str(project.root), keep=0)) == 1
    assert bed.api.get(jobs)["items"] == []
