"""A failed pod that is kept to be looked at, until ``gc``."""

from __future__ import annotations

import json
from typing import Any

from kubernetes_bed import Bed
from kubernetes_bed.images import NAMES

from aiflow_ext.run import prepare_run
from aiflow_ext.run.operations.gc import collect


def test_a_failed_pod_stays_until_gc_and_has_had_its_shared_memory(bed: Bed, namespace: str, project: Any) -> None:
    kubernetes = {"image": NAMES["busybox"], "kubeconfig": str(bed.kubeconfig), "namespace": namespace,
                  "keep": "failed", "shm": "32Mi", "spread": [{"over": "kubernetes.io/hostname"}]}  # fmt: skip
    config = {"*": {"platform": "kubernetes", "engine": "cmd_line", "platforms": {"kubernetes": kubernetes}},
              "fails": {}, "ends": {}}  # fmt: skip
    fails = "with af.job('fails'):\n    af.cmd('df -m /dev/shm | grep -q 32 && exit 3')"
    body = f"{fails}\nwith af.job('ends'):\n    af.cmd('true')"
    run = prepare_run(project.jobs(body, json.dumps(config)).root)
    run.driver.run()
    run.close()
    assert {name: str(job.state) for name, job in run.record.jobs.items()} == {"fails": "FAILED", "ends": "FINISHED"}
    (attempt,) = run.record.jobs["fails"].attempts
    assert attempt.exit_code == 3
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    assert [each["metadata"]["name"] for each in bed.api.get(jobs)["items"]] == [attempt.native_id]
    pods = bed.api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
    (kept,) = [each for each in pods if each["metadata"]["name"] == attempt.instance]
    assert kept["metadata"].get("deletionTimestamp") is None
    assert len(collect(str(project.root), keep=0)) == 1
    assert bed.api.get(jobs)["items"] == []
