"""``aiflow-ext report``: a run as one HTML file."""

from __future__ import annotations

import json

from aiflow_ext.cli.output import print
from aiflow_ext.model import errors
from aiflow_ext.model.names import path_shown
from aiflow_ext.run.operations.observe import observe
from aiflow_ext.run.operations.report import write_report


def make_report(run: str, project: str | None, file: str | None, *, as_json: bool) -> int:
    """Write the report, and print its path."""
    observed = observe(run, project)
    observed.refresh()
    path = str(write_report(observed, file))
    print(json.dumps({"run": observed.run_id, "report": path}) if as_json else path_shown(path))
    return errors.OK
