"""The watch of Flink jobs: as that of any job, but a script's failure is told by what the script has printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import aiflow_ext.plugin as af
from aiflow_ext.plugin import JobState
from aiflow_ext_flink.verdict import told_by_program
from aiflow_ext_kubernetes.jobs import KubernetesJobPlugin


class KubernetesFlinkWatch(KubernetesJobPlugin):
    """Job plugins whose programs may be scripts that Flink runs."""

    @af.hookimpl
    def watch(self, jobs: Mapping[str, af.BaseJob], since: str | None) -> Iterator[af.AttemptEvent | None]:
        for event in super().watch(jobs, since):
            if event is not None and event.state is JobState.FAILED and (job := jobs.get(event.native_id)) is not None:
                event.reason = told_by_program(event.reason or "", self._handler(job).logs) or None
            yield event
