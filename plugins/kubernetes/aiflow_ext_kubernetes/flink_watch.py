"""The watch of Flink jobs: as that of any job, but a script's failure is told by what the script has printed, and
Flink tells how often it restarts a job."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from queue import Empty, SimpleQueue

import aiflow_ext.plugin as af
from aiflow_ext.plugin import AttemptEvent, JobState
from aiflow_ext_flink.restarts import Restarts, Watch
from aiflow_ext_flink.verdict import is_told_by_program, told_by_program
from aiflow_ext_kubernetes.flink_handler import KubernetesFlinkHandler
from aiflow_ext_kubernetes.jobs import KubernetesJobPlugin

MOST_READ = 4  # logs at once
SHORT = 2.0  # seconds that the watch waits for a log: a command that looks once has its end, too


class KubernetesFlinkWatch(KubernetesJobPlugin):
    """Job plugins whose programs may be scripts that Flink runs."""

    @abstractmethod
    def _handler(self, job: af.BaseJob) -> KubernetesFlinkHandler: ...

    @af.hookimpl
    def watch(self, jobs: Mapping[str, af.BaseJob], since: str | None) -> Iterator[AttemptEvent | None]:
        failures, restarts = _Failures(), _Restarts()
        try:
            for event in super().watch(jobs, since):
                yield from failures.explained()
                yield from restarts.changed(jobs)
                job = None if event is None else jobs.get(event.native_id)
                if event is None or job is None:
                    yield event
                else:
                    handler = self._handler(job)
                    restarts.note(event, handler.restarts)
                    if _is_scripts_failure(event):
                        failures.explain(event, handler.logs)
                        yield from failures.explained()
                    else:
                        yield event
        finally:
            restarts.close()


class _Restarts:
    """How often Flink has restarted the jobs that run, as events."""

    def __init__(self) -> None:
        self._watch = Watch()
        self._running: dict[str, AttemptEvent] = {}  # the last event of each attempt that runs
        self._told: dict[str, Restarts] = {}

    def note(self, event: AttemptEvent, ask: Callable[[], Restarts]) -> None:
        """Look at an attempt while it runs.

        Args:
            event: what its cluster tells of it.
            ask: asks Flink.
        """
        name = event.native_id
        if event.state is JobState.RUNNING:
            self._running[name] = event
            self._watch.follow(name, ask)
            event.reason = event.reason or self._watch.found(name).words
        elif self._running.pop(name, None) is not None:
            self._watch.leave(name)

    def changed(self, jobs: Mapping[str, af.BaseJob]) -> Iterator[AttemptEvent]:
        """An event for each attempt of which Flink says something else than before. Those that are not in ``jobs`` any
        more are left."""
        for name in [each for each in self._running if each not in jobs]:
            del self._running[name]
            self._watch.leave(name)
        for name, last in self._running.items():
            found = self._watch.found(name)
            if found != self._told.get(name, Restarts()):
                self._told[name] = found
                yield AttemptEvent(name, last.state, time=last.time, reason=found.words, restarts=found.times,
                                   instance=last.instance, node=last.node)  # fmt: skip

    def close(self) -> None:
        self._watch.close()


class _Failures:
    """Failures of scripts, which are told once their logs have been read. A node may be slow to give a log, and other
    jobs have events meanwhile: so threads read."""

    def __init__(self) -> None:
        self._slots, self._explained = threading.BoundedSemaphore(MOST_READ), SimpleQueue[AttemptEvent]()

    def explain(self, event: AttemptEvent, logs: Callable[[str, int], bytes | None]) -> None:
        """Begin to read what a script has printed, and wait a little for it.

        Args:
            event: its failure.
            logs: its attempt's, as ``AbstractJobHandler.logs``.
        """
        reader = threading.Thread(target=self._read, args=(event, logs), daemon=True, name="aiflow-log")
        reader.start()
        reader.join(SHORT)

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
