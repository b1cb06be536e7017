"""``aiflow-ext diff``: what differs between two runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from aiflow_ext.cli.escape import escaped, one_line
from aiflow_ext.cli.output import print
from aiflow_ext.model import errors
from aiflow_ext.run.operations.differences import differences, side_of_run
from aiflow_ext.run.operations.observe import observe
from aiflow_ext.translate.check import listed


def show_diff(one: str, other: str, project: str | None, *, as_json: bool) -> int:
    """Compare two runs and print what differs; returns 1 where anything does."""
    found = differences(side_of_run(observe(one, project)), side_of_run(observe(other, project)))
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        for line in lines_of(found):
            print(line)
    return errors.OK if found["same"] else errors.DIFFERS


def lines_of(found: Mapping[str, Any]) -> Iterator[str]:
    """The differences as lines for people."""
    one, other = found["runs"]
    if found["same"]:
        yield one_line(f"nothing differs between {one} and {other}")
        return
    yield one_line(f"--- {one}")
    yield one_line(f"+++ {other}")
    for each in found["parameters"]:
        yield one_line(f"parameter {each['name']}: {_sides(each)}")
    for each in found["config"]:
        yield one_line(f"config {listed(each['jobs'])}: {each['key']}: {_sides(each)}")
    graph = found["graph"]
    for what in ("removed", "added", "changed"):
        if graph[what]:
            yield one_line(f"graph: {what}: {listed(graph[what])}")
    for sign, what in (("removed", "edges_removed"), ("added", "edges_added")):
        for edge in graph[what]:
            how = "reads" if edge["data"] else f"waits for {edge['when'] or 'the end of'}:"
            yield one_line(f"graph: {sign}: {edge['target']} {how} {edge['source']}")
    for name, (before, after) in found["versions"].items():
        yield one_line(f"version of {name}: {before or 'not used'} -> {after or 'not used'}")
    for each in found["results"]:
        before, after = (sha256[:12] if sha256 else "none" for sha256 in each["sha256"])
        yield one_line(f"result {each['job']}/{each['name']}: sha256 {before} -> {after}")
    for each in found["code"]:
        if each["diff"] is None:
            yield one_line(f"file {each['file']} differs; it is large, no text, or differs in its mode alone")
        else:
            yield escaped(each["diff"]).rstrip("\n")


def _sides(each: Mapping[str, Any]) -> str:
    return " -> ".join(_value(value, place) for value, place in zip(each["values"], each["where"], strict=True))


def _value(value: Any, place: str | None) -> str:
    return f"{'none' if value is None else json.dumps(value)}{f' ({place})' if place else ''}"
