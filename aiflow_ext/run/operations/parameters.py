"""The parameters in which the runs of one workflow differ."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aiflow_ext.run.store.records import Parameter


def add_differing(runs: Iterable[dict[str, Any]], parameters: Mapping[str, Sequence[Parameter]]) -> None:
    """Give each run its ``parameters`` by name, those that differ among the runs of its workflow.

    Args:
        runs: of one project, as :meth:`~aiflow_ext.run.store.store.Store.runs` lists them.
        parameters: by the run's id.
    """
    by_workflow: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        by_workflow.setdefault(run["workflow"], []).append(run)
    for together in by_workflow.values():
        values = _by_column([parameters.get(run["run"], ()) for run in together])
        texts = [{name: json.dumps(value, sort_keys=True) for name, value in each.items()} for each in values]
        names = dict.fromkeys(name for each in values for name in each)
        differing = [name for name in names if len({each.get(name) for each in texts}) > 1]
        for run, each in zip(together, values, strict=True):
            run["parameters"] = {name: each[name] for name in differing if name in each}


def _by_column(runs: Sequence[Sequence[Parameter]]) -> list[dict[str, Any]]:
    """Each run's values by name; by ``JOB.NAME`` where the jobs of one of the runs have different values."""
    several: set[str] = set()
    for run in runs:
        texts: dict[str, str] = {}
        for each in run:
            text = json.dumps(each.value, sort_keys=True)
            if texts.setdefault(each.name, text) != text:
                several.add(each.name)
    found = []
    for run in runs:
        values: dict[str, Any] = {}
        for each in run:
            names = [f"{job}.{each.name}" for job in each.jobs] if each.name in several and each.jobs else [each.name]
            values |= dict.fromkeys(names, each.value)
        found.append(values)
    return found
