"""The SDK's providers: those of the process, or made as the OTEL_* variables say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from opentelemetry import metrics, trace

from aiflow_ext_opentelemetry.settings import exports, has_provider

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

TIMEOUT = 5.0  # seconds for one request, unless OTEL_EXPORTER_OTLP_TIMEOUT says otherwise


class Providers:
    """The providers of this process, or its own, which nothing else of the process uses."""

    def __init__(self) -> None:
        if has_provider():
            self.tracers, self.meters = trace.get_tracer_provider(), metrics.get_meter_provider()
            return
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource

        named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        resource = Resource.create({} if named else {SERVICE_NAME: "aiflow-ext"})
        self.tracers = _tracers(resource) if exports("TRACES") else trace.NoOpTracerProvider()
        self.meters = _meters(resource) if exports("METRICS") else metrics.NoOpMeterProvider()

    def flush(self, seconds: float) -> None:
        """Export what has been recorded. Raises RuntimeError where the exporter of traces or its time limit says no."""
        for provider in (self.tracers, self.meters):
            force = getattr(provider, "force_flush", None)
            if force is not None and not force(int(seconds * 1000)):
                raise RuntimeError("not everything could be exported: see OTEL_EXPORTER_OTLP_ENDPOINT, and the log")


def _tracers(resource: Resource) -> trace.TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider

    from aiflow_ext_opentelemetry.processor import WholeTrace

    made = TracerProvider(resource=resource, shutdown_on_exit=False)
    made.add_span_processor(WholeTrace(OTLPSpanExporter(timeout=_timeout("TRACES"))))
    return made


def _meters(resource: Resource) -> metrics.MeterProvider:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    reader = PeriodicExportingMetricReader(OTLPMetricExporter(timeout=_timeout("METRICS")))
    return MeterProvider([reader], resource=resource, shutdown_on_exit=False)


def _timeout(signal: str) -> float | None:
    names = ("OTEL_EXPORTER_OTLP_TIMEOUT", f"OTEL_EXPORTER_OTLP_{signal}_TIMEOUT")
    return None if any(name in os.environ for name in names) else TIMEOUT
