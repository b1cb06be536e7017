"""``aiflow-ext artifacts``: what a run has kept, listed or copied to a folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from aiflow_ext.api.runs import open_run
from aiflow_ext.cli.output import print, stdout
from aiflow_ext.cli.show import print_table
from aiflow_ext.model import errors
from aiflow_ext.model.names import path_shown
from aiflow_ext.model.states import JobState


def show_artifacts(run: str, jobs: Sequence[str], project: str | None, folder: str | None, *, as_json: bool) -> int:
    """List the artifacts of some jobs of a run, or of all, or copy them to ``folder`` and list the copies."""
    found = open_run(run, project)
    chosen = [found.jobs[name] for name in jobs or found.jobs]
    values = [each for job in chosen for each in job.artifacts.values()]
    kept = [each for value in values for each in (value, *value.files)]
    if folder is not None:
        for value in values:
            value.fetch(folder)
    paths = [each.path if folder is None else str(each.copied_to(folder)) for each in kept]
    if as_json:
        rows = [{"job": each.job, "name": each.name, "kind": each.kind, "size": each.size, "sha256": each.sha256,
                 "path": path} for each, path in zip(kept, paths, strict=True)]  # fmt: skip
        print(json.dumps(rows, indent=1))
    elif kept or not stdout().isatty():
        table = [(each.job, each.name, each.kind, str(each.size), path_shown(path))
                 for each, path in zip(kept, paths, strict=True)]  # fmt: skip
        print_table(("job", "name", "kind", "bytes", "path"), table)
    if not kept and not as_json:
        words = "".join(f"; {job.name} is {job.state}" for job in chosen[:10] if job.state is not JobState.FINISHED)
        print(f"run {found.run_id}: nothing is kept there, or it was removed since{words}", file=sys.stderr)
    return errors.OK
