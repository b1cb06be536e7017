"""The hook of jobs that serve others: what the application master says of them."""

from __future__ import annotations

import aiflow_ext.plugin as af
from aiflow_ext_yarn.job import YarnJob
from aiflow_ext_yarn.master.readiness import READY

_WORDS = "its check on the node has not passed; the log of its application master says why"


class ChecksReady:
    """For job plugins whose application master is ours."""

    @af.hookimpl
    def is_ready(self, job: af.BaseJob) -> bool | str:
        assert isinstance(job, YarnJob)
        report = job.application().rm.report(str(job.context.native_id))
        if report is None:
            return "the ResourceManager does not know its application"
        progress = report.get("progress")
        return True if isinstance(progress, (int, float)) and progress >= READY * 100 else _WORDS
