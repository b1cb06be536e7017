"""Whether the environment, or the process itself, has configured OpenTelemetry."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

SIGNALS = ("TRACES", "METRICS")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", *(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT" for signal in SIGNALS))
_EXPORTER = "opentelemetry.exporter.otlp.proto.http"


def problem() -> str | None:
    """Why nothing is exported, in words, with what to do; None: something is."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return "OTEL_SDK_DISABLED is true"
    if has_provider():
        return None
    for signal in SIGNALS:
        other = _setting(f"OTEL_{signal}_EXPORTER")
        if other not in ("", "none", "otlp"):
            return f"OTEL_{signal}_EXPORTER is {other}; only otlp and none can be configured by variables"
    if not any(exports(signal) for signal in SIGNALS):
        return "no exporter is configured; set OTEL_EXPORTER_OTLP_ENDPOINT, for example to http://localhost:4318"
    protocol = _setting("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in ("", "http/protobuf"):
        return f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}; only http/protobuf can be configured by variables"
    if not _is_installed():
        return "the SDK is not installed; pip install 'aiflow-ext-opentelemetry[otlp]'"
    return None


def has_provider() -> bool:
    """Whether this process has an SDK of its own, configured by the program or by ``opentelemetry-instrument``."""
    if "opentelemetry.sdk.trace" not in sys.modules:
        return False
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    return isinstance(trace.get_tracer_provider(), TracerProvider)


def exports(signal: str) -> bool:
    """Whether the environment says that ``TRACES`` or ``METRICS`` are exported by OTLP."""
    exporter = _setting(f"OTEL_{signal}_EXPORTER")
    if exporter:
        return exporter == "otlp"
    return any(_setting(name) for name in (_ENDPOINTS[0], f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"))


def _setting(name: str) -> str:
    return os.environ.get(name, "").strip()


def _is_installed() -> bool:
    try:
        return find_spec(_EXPORTER) is not None and find_spec("opentelemetry.sdk") is not None
    except ModuleNotFoundError:  # of a parent package
        return False
