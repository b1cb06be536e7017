"""The hook of jobs that serve others: what the kubelet has found out by their container's probe."""

from __future__ import annotations

import aiflow_ext.plugin as af
from aiflow_ext_kubernetes.jobs import target_of_job


class ChecksReady:
    """For job plugins whose pod has the job as its container."""

    @af.hookimpl
    def is_ready(self, job: af.BaseJob) -> bool | str:
        from aiflow_ext_kubernetes.objects import pods_of
        from aiflow_ext_kubernetes.pending import messages
        from aiflow_ext_kubernetes.status import is_ready

        assert job.job_context is not None
        target = target_of_job(job)
        pods = pods_of(target, str(job.job_context.native_id))
        if not pods:
            return "it has no pod"
        if is_ready(pods[-1]):
            return True
        said = messages(target, f"involvedObject.name={pods[-1]['metadata']['name']},reason=Unhealthy")
        return said[-1] if said else "the kubelet has not found it ready yet"
