"""A span processor that keeps the spans of a trace until they are exported, and says whether they were."""

from __future__ import annotations

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

_BATCH = 512  # spans in one request


class WholeTrace(SpanProcessor):
    """Exports in ``force_flush`` alone, which fails where the exporter does; the SDK's own processors drop then."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter, self._spans = exporter, list[ReadableSpan]()

    def on_end(self, span: ReadableSpan) -> None:
        """Keep it, if it is sampled."""
        if span.context is not None and span.context.trace_flags.sampled:
            self._spans.append(span)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Export all spans; False where that has failed: the caller makes them again when it tries again."""
        spans, self._spans = self._spans, []
        batches = (spans[at : at + _BATCH] for at in range(0, len(spans), _BATCH))
        return all(self._exporter.export(batch) is SpanExportResult.SUCCESS for batch in batches)
