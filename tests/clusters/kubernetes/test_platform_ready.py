"""Jobs that serve others, on the cluster: the kubelet finds out when they are ready."""

from __future__ import annotations

import json
from typing import Any

from kubernetes_bed import Bed
from kubernetes_bed.images import NAMES

from aiflow_ext.run import prepare_run

BODY = """
with af.job('page'): af.cmd('sleep 2; mkdir www; exec httpd -f -p 8080 -h www')
with af.job('file'): af.cmd('sleep 2; touch ready; exec sleep 1000')
with af.job('never'): af.cmd('exec sleep 1000')
with af.job('reads'): af.cmd('true')
with af.job('skipped'): af.cmd('true')
af.run_after('reads', ['page', 'file'])
af.run_after('skipped', 'never')
"""


def test_what_waits_for_a_pod_starts_when_it_is_ready_and_the_pod_ends_with_the_last_that_needs_it(
    bed: Bed, restricted_namespace: str, project: Any
) -> None:
    kubernetes = {"kubeconfig": str(bed.kubeconfig), "namespace": restricted_namespace, "image": NAMES["busybox"]}
    config = {
        "*": {"platform": "kubernetes", "shell": "strict", "platforms": {"kubernetes": {**kubernetes, "grace": 1}}},
        "page": {"exec_mode": "STREAM", "ready": 8080},
        "file": {"exec_mode": "STREAM", "ready": "test -e ready"},
        "never": {"exec_mode": "STREAM", "ready": {"command": "echo no >&2; false", "within": "8s"}},
    }
    run = prepare_run(project.jobs(BODY, json.dumps(config)).root)
    run.driver.run()
    run.close()
    last = {name: job.last for name, job in run.record.jobs.items()}
    assert {name: str(job.state) for name, job in run.record.jobs.items()} == {
        "page": "FINISHED", "file": "FINISHED", "never": "FAILED", "reads": "FINISHED", "skipped": "SKIPPED",
    }  # fmt: skip
    for name in ("page", "file"):
        assert last[name].ready_at - last[name].started_at > 1.5
        assert last[name].ready_at <= last["reads"].submitted_at <= last[name].ended_at
        assert last[name].reason == "no job needs it any more"
    assert "within 8 s: Readiness probe failed: no" in last["never"].reason
