"""The variable TRACEPARENT of each attempt: the spans that a job makes become children of its attempt's span.

Nothing of OpenTelemetry is imported: jobs are generated in many processes, and most of these export nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import aiflow_ext.plugin as af
from aiflow_ext_opentelemetry.ids import span_id, trace_id
from aiflow_ext_opentelemetry.settings import exports, has_provider, problem

_PARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?")
_RENDERED = "${"  # in the id of a run that there is not yet


class TraceContext(af.AbstractJobEnvironment):
    """W3C Trace Context for jobs, where traces are exported."""

    def variables(self, context: af.JobContext, traceparent: str | None) -> Mapping[str, str]:
        """TRACEPARENT, with the ids of the span that is exported for the attempt when the run has ended."""
        if problem() is not None or not (has_provider() or exports("TRACES")):
            return {}
        parent = _PARENT.fullmatch((traceparent or "").strip())
        run, trace = str(context.run_id), None if parent is None else parent[1]
        if _RENDERED in run:
            return {"TRACEPARENT": f"00-{trace or '${trace}'}-${{attempt}}-{_flags(parent, None)}"}
        number = trace_id(run) if trace is None else int(trace, 16)
        span = span_id(run, "attempt", str(context.job_name), context.attempt or 1)
        return {"TRACEPARENT": f"00-{number:032x}-{span:016x}-{_flags(parent, number)}"}


def _flags(parent: re.Match[str] | None, trace: int | None) -> str:
    """Whether the run's trace is sampled, as the SDK decides by OTEL_TRACES_SAMPLER; ``trace``: None is not known."""
    sampler = os.environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() or "parentbased_always_on"
    if parent is not None and sampler.startswith("parentbased_"):
        return "01" if int(parent[2], 16) & 1 else "00"
    sampled = not sampler.endswith("always_off")
    if sampler.endswith("traceidratio"):
        if trace is None:
            return "${sampled}"
        try:
            rate = float(os.environ.get("OTEL_TRACES_SAMPLER_ARG", "1"))
        except ValueError:  # as the SDK takes it
            rate = 1.0
        sampled = (trace & ((1 << 64) - 1)) < round(rate * (1 << 64))
    return "01" if sampled else "00"
