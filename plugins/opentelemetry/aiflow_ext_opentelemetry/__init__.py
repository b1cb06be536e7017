"""The extension ``opentelemetry``: a trace of each run, and metrics of its attempts.

Only what an exporter needs is imported, and nothing of OpenTelemetry where none is configured.
"""

from __future__ import annotations

import logging

import aiflow_ext.plugin as af
from aiflow_ext_opentelemetry.settings import problem

_log = logging.getLogger("aiflow_ext_opentelemetry")


class Nothing:
    """Exports nothing."""

    @af.hookimpl
    def on_run_end(self, run: af.EndedRun) -> None:
        """Do nothing: an extension has at least one hook."""


def extension() -> object:
    """What the entry point leads to: the exporting extension where an exporter is configured."""
    words = problem()
    if words is not None:
        _log.warning("aiflow-ext-opentelemetry exports nothing: %s", words)
        return Nothing()
    from aiflow_ext_opentelemetry.export import Exporting

    return Exporting()
