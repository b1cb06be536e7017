"""What a notebook shows of a run, of what a project would send, and of the installed plugins.

Each is one element with its own style and background, so that it looks the same in every theme.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from aiflow_ext.model.states import JobState
from aiflow_ext.view.graph import graph_svg
from aiflow_ext.view.html import marked, scrolled, sign_and_word, table, text
from aiflow_ext.view.seen import Edge, Job, jobs_of
from aiflow_ext.view.style import CARD, STYLE
from aiflow_ext.view.table import jobs_table
from aiflow_ext.view.timeline import timeline_svg
from aiflow_ext.view.words import counted, duration, totals

MOST_ROWS = 30  # of a table, and of a timeline
_STATUSES = {"available": JobState.FINISHED, "loaded": JobState.FINISHED, "disabled": JobState.STOPPED}  # else FAILED


def run_html(run: Mapping[str, Any], edges: Sequence[Edge] = (), *, now: float) -> str:
    """A run: its state, its graph where the edges are known, its timeline and its jobs.

    Args:
        run: in the shape of ``aiflow-ext status --json`` (docs/json.md).
        edges: between its jobs.
        now: the present moment, seconds since the epoch.
    """
    jobs = jobs_of(run)
    until = now if run["ended_at"] is None else run["ended_at"]
    pictures = [graph_svg(jobs, edges, now=now)] if edges else []
    pictures.append(timeline_svg(jobs, edges, started_at=run["started_at"], until=until, most=MOST_ROWS))
    head = heading(run, Counter(job.state for job in jobs), until)
    return _card(head, *map(scrolled, pictures), scrolled(jobs_table(run["jobs"], now=now, most=MOST_ROWS)))


def live_html(run: Mapping[str, Any], counts: Mapping[JobState, int], *, now: float) -> str:
    """A run that goes on: how many jobs are in each state, and a table of those of most interest.

    Args:
        run: as of :func:`run_html`; of its jobs, only those that are shown.
        counts: how many of all jobs are in each state.
        now: likewise.
    """
    left_out = 0 if run["ended_at"] is not None else sum(counts.values()) - len(run["jobs"])
    more = f"<p>and {text(counted(left_out, 'more job'))}</p>" if left_out else ""
    listed = scrolled(jobs_table(run["jobs"], now=now)) if run["jobs"] else ""
    return _card(heading(run, counts, now), listed, more)


def heading(run: Mapping[str, Any], counts: Mapping[JobState, int], until: float) -> str:
    """A run in a line: its id, its state, how long it has taken, and its jobs by state."""
    said = f"{duration(run['started_at'], until)}{' so far' if run['ended_at'] is None else ''}; {totals(counts)}"
    return f"<p><b>{text(run['run'])}</b> {sign_and_word(run['state'])} {text(said)}</p>"


def requests_html(requests: Sequence[Mapping[str, Any]]) -> str:
    """What a project would send: its graph, and where each job would run.

    ``requests``: in the shape of ``aiflow-ext render --json`` (docs/json.md).
    """
    jobs = [Job(each["job"], where=f"{each['platform']}.{each['engine']}") for each in requests]
    edges = [Edge(edge["job"], each["job"], edge["until"], edge["data"])
             for each in requests for edge in each["waits_for"]]  # fmt: skip
    rows = [(each["job"], f"{each['platform']}.{each['engine']}", each["kind"]) for each in requests[:MOST_ROWS]]
    left_out = len(requests) - len(rows)
    more = f"<p>and {text(counted(left_out, 'more job'))}</p>" if left_out else ""
    listed = table(("job", "where", "sent as"), [[text(cell) for cell in row] for row in rows])
    return _card(scrolled(graph_svg(jobs, edges)), scrolled(listed), more)


def plugins_html(records: Sequence[Mapping[str, Any]]) -> str:
    """The inventory. ``records``: in the shape of ``aiflow-ext plugins --json`` (docs/json.md)."""
    rows = []
    for each in records:
        status = each["status"]
        shown = marked(_STATUSES.get(status, JobState.FAILED), status)
        by = f"{each['distribution']} {each['version'] or ''}"
        rows.append([text(each["kind"]), text(each["name"]), shown, text(by), text(each["entry_point"] or ""),
                     f"<p>{text(each['reason'])}" if each["reason"] else ""])  # fmt: skip
    heads = ("kind", "name", "status", "distribution", "entry point", "reason")
    return _card(scrolled(table(heads, rows)) if rows else "<p>nothing is installed</p>")


def _card(*parts: str) -> str:
    return f'<div class="aiflow-ext card"><style>{STYLE}{CARD}</style>{"".join(parts)}</div>'
