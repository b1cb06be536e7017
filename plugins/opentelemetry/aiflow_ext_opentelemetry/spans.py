"""The trace of a run: spans of the run, of its jobs and of their attempts, with the times that are on record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import aiflow_ext.plugin as af
from aiflow_ext_opentelemetry.ids import ChosenIds, span_id, trace_id

Attributes = Mapping[str, str | int | float | bool | None]


class RunTrace:
    """Makes the spans of ended runs, for one thread at a time.

    Args:
        tracer: of this distribution alone: where it is the SDK's, it gets ids that follow from the run.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer, self._ids = tracer, ChosenIds()
        if hasattr(tracer, "id_generator"):
            tracer.id_generator = self._ids

    def export(self, run: af.EndedRun) -> None:
        """Make the spans of what has ended since ``run.known_until``."""
        carrier = {"traceparent": run.traceparent} if run.traceparent else {}
        parent = TraceContextTextMapPropagator().extract(carrier, Context())
        known = run.known_until or 0.0
        about: Attributes = {"aiflow.run": run.run_id, "aiflow.workflow": run.workflow}
        new = [(job, [one for one in job.attempts if (one.ended_at or 0.0) > known]) for job in run.jobs]
        new = [(job, attempts) for job, attempts in new if attempts or (not job.attempts and not known)]
        times = [at for _, attempts in new for one in attempts for at in (one.submitted_at, one.started_at) if at]
        began = run.started_at if not known else min(times, default=run.ended_at)
        with self._span(f"run {run.workflow}", run.run_id, ("run", run.ended_at), parent, began, run.ended_at,
                        run.state, None, about) as within:  # fmt: skip
            for job, attempts in new:
                self._job(run, job, attempts, within, about)

    def _job(
        self, run: af.EndedRun, job: af.EndedJob, attempts: list[af.EndedAttempt], parent: Context, about: Attributes
    ) -> None:
        about = {**about, "aiflow.job": job.name, "aiflow.platform": job.platform, "aiflow.engine": job.engine}
        ends = [one.ended_at for one in attempts if one.ended_at is not None] or [run.ended_at]
        begins = [at for one in attempts for at in (one.submitted_at, one.started_at, one.ended_at) if at is not None]
        of, begin = ("job", job.name, len(job.attempts)), min(begins, default=run.ended_at)
        with self._span(f"job {job.name}", run.run_id, of, parent, begin, max(ends), job.state, job.reason,
                        about) as within:  # fmt: skip
            for one in attempts:
                self._attempt(run, one, within, about)

    def _attempt(self, run: af.EndedRun, one: af.EndedAttempt, parent: Context, about: Attributes) -> None:
        end = one.ended_at if one.ended_at is not None else run.ended_at
        begin = next((at for at in (one.submitted_at, one.started_at) if at is not None), end)
        about = {
            **about, "aiflow.attempt": one.number, "aiflow.native_id": one.native_id, "aiflow.node": one.node,
            "aiflow.instance": one.instance, "aiflow.exit_code": one.exit_code, "aiflow.signal": one.signal,
            "aiflow.timed_out": one.timed_out or None, "aiflow.out_of_memory": one.out_of_memory or None,
            "aiflow.restarts": one.restarts or None,
            "aiflow.cpu_asked": one.asked.cpu, "aiflow.memory_asked": one.asked.memory,
            "aiflow.cpu_seconds": one.usage.cpu_seconds, "aiflow.peak_memory": one.usage.peak_memory,
            "aiflow.usage_source": one.usage.source,
        }  # fmt: skip
        with self._span(f"attempt {one.number} of {one.job}", run.run_id, ("attempt", one.job, one.number), parent,
                        begin, end, one.state, one.reason, about, running=one.started_at):  # fmt: skip
            pass

    @contextmanager
    def _span(
        self,
        name: str,
        run_id: str,
        of: tuple[str | int | float, ...],
        parent: Context,
        begin: float,
        end: float,
        state: af.JobState,
        reason: str | None,
        about: Attributes,
        running: float | None = None,
    ) -> Iterator[Context]:
        """A span of these ids, parent, times (seconds since the epoch) and attributes; gives the context within it."""
        known = {key: value for key, value in about.items() if value is not None} | {"aiflow.state": str(state)}
        if reason is not None:
            known["aiflow.reason"] = reason
        with self._ids.chosen(trace_id(run_id), span_id(run_id, *of)):
            span: Span = self._tracer.start_span(name, parent, attributes=known, start_time=_ns(begin))
        if running is not None:
            span.add_event("RUNNING", timestamp=_ns(running))
        if state.failed:
            span.set_status(Status(StatusCode.ERROR, reason))
        elif state is af.JobState.FINISHED:
            span.set_status(Status(StatusCode.OK))
        yield set_span_in_context(span, parent)
        span.end(_ns(max(begin, end)))


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
