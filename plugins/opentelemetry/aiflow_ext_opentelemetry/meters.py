"""The metrics of attempts."""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.metrics import CallbackOptions, Meter, Observation

import aiflow_ext.plugin as af


class Meters:
    """Counts attempts by the transitions of their states."""

    def __init__(self, meter: Meter) -> None:
        self._running: dict[tuple[str, str, int], tuple[str, str]] = {}
        self._ended = meter.create_counter(
            "aiflow.attempts", unit="{attempt}", description="Attempts that have ended, by the state in which"
        )
        self._retries = meter.create_counter(
            "aiflow.retries", unit="{attempt}", description="Attempts that followed another one of the same job"
        )
        self._duration = meter.create_histogram(
            "aiflow.attempt.duration", unit="s", description="From RUNNING to the end of an attempt"
        )
        meter.create_observable_up_down_counter(
            "aiflow.attempts.running", [self._observe], unit="{attempt}",
            description="Attempts that are RUNNING, of those that this process has seen start",
        )  # fmt: skip

    def count(self, event: af.Transition) -> None:
        """Count a transition."""
        if event.attempt is None:
            return
        kind = {"aiflow.platform": event.platform or "", "aiflow.engine": event.engine or ""}
        attempt = event.run_id, event.job, event.attempt
        if event.state is af.JobState.SUBMITTING and event.attempt > 1:
            self._retries.add(1, kind)
        if event.state is af.JobState.RUNNING:
            self._running[attempt] = kind["aiflow.platform"], kind["aiflow.engine"]
        elif event.state.ended:
            self._running.pop(attempt, None)
            ended = {**kind, "aiflow.state": str(event.state)}
            self._ended.add(1, ended)
            if event.started_at is not None:
                self._duration.record(max(0.0, event.time - event.started_at), ended)

    def _observe(self, _: CallbackOptions) -> Iterable[Observation]:
        counts: dict[tuple[str, str], int] = {}
        for kind in list(self._running.values()):
            counts[kind] = counts.get(kind, 0) + 1
        for (platform, engine), count in counts.items():
            yield Observation(count, {"aiflow.platform": platform, "aiflow.engine": engine})
