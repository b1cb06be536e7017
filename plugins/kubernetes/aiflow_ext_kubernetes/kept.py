"""Attempts whose Job and pod stay after their end, so that a user can look at them (``keep: failed``)."""

from __future__ import annotations

from aiflow_ext.plugin import JobState
from aiflow_ext_kubernetes import answers, manifest, status
from aiflow_ext_kubernetes.objects import job_at, pods_of, remove
from aiflow_ext_kubernetes.paging import listed
from aiflow_ext_kubernetes.server import namespace_of, server_of
from aiflow_ext_kubernetes.target import Target


def has_failed(target: Target, native_id: str) -> bool:
    """Whether an attempt has failed on its own account, and its Job and a pod are there to be looked at."""
    job, pods = job_at(target, native_id), pods_of(target, native_id)
    if job is None or not pods:
        return False
    event = status.status_of(native_id, job, pods).event
    return event.state is JobState.FAILED and not event.disruption


def remove_all(target: Target, run: str) -> None:
    """Delete every Job of a run. Idempotent."""
    path = f"/apis/batch/v1/namespaces/{namespace_of(target)}/jobs"
    found, _ = listed(server_of(target), path, answers.thing, labelSelector=manifest.selector(run))
    for job in found:
        if manifest.run_of(job) == run:
            remove(target, str(job["metadata"]["name"]))
