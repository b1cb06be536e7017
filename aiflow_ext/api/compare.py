"""What differs between two runs, as data."""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any

from aiflow_ext.api.runs import OpenedRun, observed_run
from aiflow_ext.run.operations.differences import differences, side_of_run
from aiflow_ext.run.store.records import RunRecord


def diff(
    one: str | RunRecord | OpenedRun,
    other: str | RunRecord | OpenedRun,
    project: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """What differs between two runs: what ``aiflow-ext diff --json`` prints (docs/json.md).

    Args:
        one: a run, as :func:`~aiflow_ext.api.runs.open_run` takes it, or the opened run.
        other: another one.
        project: the project's folder, for ids; by default the one that the current folder is in, else any of this user.

    Raises ConfigError if there is no such run, or several, StateError where its records cannot be read.
    """
    sides = []
    for each in (one, other):
        observed = observed_run(each, project)
        with closing(observed.store):
            sides.append(side_of_run(observed))
    return differences(*sides)
