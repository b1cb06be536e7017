"""The extension where OpenTelemetry is configured: a trace when a run has ended, metrics while it runs."""

from __future__ import annotations

import threading

import aiflow_ext.plugin as af
from aiflow_ext_opentelemetry.meters import Meters
from aiflow_ext_opentelemetry.sdk import Providers
from aiflow_ext_opentelemetry.spans import RunTrace

SCOPE = "aiflow_ext_opentelemetry"
FLUSH = 20.0  # seconds at most for what is exported at a run's end: the driver waits for 30 by default


class Exporting:
    """Exports by the providers of this process, which it makes as the environment says where there are none."""

    def __init__(self) -> None:
        self._providers = Providers()
        self._trace = RunTrace(self._providers.tracers.get_tracer(SCOPE))
        self._meters = Meters(self._providers.meters.get_meter(SCOPE))
        self._exporting = threading.Lock()  # of several runs in one process

    @af.hookimpl
    def on_transition(self, event: af.Transition) -> None:
        """Count it."""
        self._meters.count(event)

    @af.hookimpl
    def on_run_end(self, run: af.EndedRun) -> None:
        """Export the trace; what raises here is tried again by ``aiflow-ext resume``."""
        with self._exporting:
            self._trace.export(run)
            self._providers.flush(FLUSH)
