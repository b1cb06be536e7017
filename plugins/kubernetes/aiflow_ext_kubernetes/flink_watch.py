"""The watch of Flink jobs: as that of any job, but a script's failure is told by what the script has printed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from queue import Empty, SimpleQueue

import aiflow_ext.plugin as af
from aiflow_ext.plugin import AttemptEvent, JobState
from aiflow_ext_flink.verdict import is_told_by_program, told_by_program
from aiflow_ext_kubernetes.jobs import KubernetesJobPlugin

MOST_READ = 4  # logs at once


class KubernetesFlinkWatch(KubernetesJobPlugin):
    """Job plugins whose programs may be scripts that Flink runs."""

    @af.hookimpl
    def watch(self, jobs: Mapping[str, af.BaseJob], since: str | None) -> Iterator[AttemptEvent | None]:
        failures = _Failures()
        for event in super().watch(jobs, since):
            job = None if event is None or not _is_scripts_failure(event) else jobs.get(event.native_id)
            if event is None or job is None:
                yield event
            else:
                failures.explain(event, self._handler(job).logs)
            yield from failures.explained()


class _Failures:
    """Failures of scripts, which are told once their logs have been read. A node may be slow to give a log, and other
    jobs have events meanwhile: so threads read."""

    def __init__(self) -> None:
        self._slots, self._explained = threading.BoundedSemaphore(MOST_READ), SimpleQueue[AttemptEvent]()

    def explain(self, event: AttemptEvent, logs: Callable[[str, int], bytes | None]) -> None:
        """Begin to read what a script has printed.

        Args:
            event: its failure.
            logs: its attempt's, as ``AbstractJobHandler.logs``.
        """
        threading.Thread(target=self._read, args=(event, logs), daemon=True, name="aiflow-log").start()

    def explained(self) -> Iterator[AttemptEvent]:
        """The failures whose logs have been read since."""
        while True:
            try:
                yield self._explained.get_nowait()
            except Empty:
                return

    def _read(self, event: AttemptEvent, logs: Callable[[str, int], bytes | None]) -> None:
        try:
            with self._slots:
                event.reason = told_by_program(event.reason or "", logs) or None
        finally:
            self._explained.put(event)


def _is_scripts_failure(event: AttemptEvent) -> bool:
    return event.state is JobState.FAILED and is_told_by_program(event.reason or "")
