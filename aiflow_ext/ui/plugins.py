"""What is installed."""

from __future__ import annotations

from typing import Any

from aiflow_ext.host.host import PluginHost

LOADING = 30.0  # seconds that loading a plugin for trial may take, as of ``aiflow-ext why``


def inventory() -> list[dict[str, Any]]:
    """As ``aiflow-ext plugins --proof --json``."""
    host = PluginHost()
    records, proofs = host.plugins(), host.proofs()
    return [
        {**record.to_dict(), "proof": proofs[record[:5]].to_dict() if record[:5] in proofs else None}
        for record in records
    ]
