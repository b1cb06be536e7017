"""The probe by which the kubelet finds out whether a job that serves others is ready."""

from __future__ import annotations

import math
from typing import Any

from aiflow_ext.plugin import BaseJobConfig
from aiflow_ext.plugin.engines import CHECK_LIMIT, ready_command


def probe_of(config: BaseJobConfig) -> dict[str, Any] | None:
    """The container's readinessProbe; None for a job that serves no others."""
    ready = config.ready
    if ready is None:
        return None
    command = ready_command(config)
    # $(NAME) in a probe's command is no reference (kubernetes.io/docs, "Container v1 core").
    how = {"tcpSocket": {"port": ready.port}} if command is None else {"exec": {"command": command}}
    return {**how, "periodSeconds": max(1, math.ceil(ready.every)), "timeoutSeconds": int(CHECK_LIMIT),
            "failureThreshold": 1}  # fmt: skip
