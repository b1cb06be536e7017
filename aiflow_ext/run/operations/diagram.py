"""A run's jobs and edges as a Mermaid flowchart (https://mermaid.js.org/syntax/flowchart.html)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiflow_ext.model.states import JobState

_COLOURS = {
    **{state: "#ffcdd2" if state.failed else "#fff9c4" for state in JobState if state.ended},
    JobState.FINISHED: "#c8e6c9",
    JobState.SKIPPED: "#eeeeee",
    JobState.RUNNING: "#b3e5fc",
}


def mermaid(jobs: Mapping[str, JobState], edges: Sequence[Any]) -> str:
    """The flowchart: a box a job with its state, a thick arrow for data, a thin one with its condition for order.

    Args:
        jobs: the state of each job, by key.
        edges: the ``JobEdge`` objects between them.
    """
    number = {name: f"j{place}" for place, name in enumerate(jobs)}
    lines = ["flowchart TD"]
    for name, state in jobs.items():
        said = "" if state is JobState.INIT else f"<br/>{state}"
        lines.append(f'    {number[name]}["{_escaped(name)}{said}"]')
    for edge in edges:
        arrow = "==>" if edge.data else f"-->|{edge.when}|" if edge.when else "-->"
        lines.append(f"    {number[edge.source]} {arrow} {number[edge.target]}")
    for name, state in jobs.items():
        if state in _COLOURS:
            lines.append(f"    style {number[name]} fill:{_COLOURS[state]}")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return "".join(f"#{ord(char)};" if char in '"#<>&;' else char for char in text)
