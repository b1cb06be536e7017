"""The graph and the timeline of a run, each job in them with the address of its page."""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import partial
from urllib.parse import quote

from aiflow_ext.model.errors import ConfigError
from aiflow_ext.run.operations.observe import Observed
from aiflow_ext.run.operations.seen import seen_edges
from aiflow_ext.supervise.clock import Clock
from aiflow_ext.view.graph import graph_svg
from aiflow_ext.view.seen import Edge, Job, jobs_of
from aiflow_ext.view.timeline import timeline_svg

_MOST_KEPT = 4  # runs whose edges are kept: of a run of thousands of jobs, reading them takes longest
_edges: OrderedDict[tuple[object, ...], list[Edge]] = OrderedDict()
_lock = threading.Lock()


def drawn(observed: Observed, picture: str, page: int = 0, state: str = "", words: str = "") -> str:
    """``graph`` or ``timeline`` of a run, as it is now.

    Args:
        observed: the run.
        picture: which one.
        page: of the timeline, from 0.
        state: of the jobs that the timeline shows; empty: any.
        words: which the timeline's jobs have in what the page's table says of them.

    Raises DataError if its plan is damaged.
    """
    record = observed.record
    jobs, edges = jobs_of(record.summary()), _edges_of(observed)
    now = Clock(record.folder).now() if record.ended_at is None else record.ended_at
    link = partial(_address, record.run_id, picture)
    if picture == "graph":
        return graph_svg(jobs, edges, now=now, link=link)
    if picture == "timeline":
        asked = words.lower().split()
        return timeline_svg(jobs, edges, started_at=record.started_at, until=now, link=link, page=max(page, 0),
                            only=lambda job: state in ("", job.state.name) and _has(job, asked))  # fmt: skip
    raise ConfigError(f"there is no picture {picture!r}", hint="there are: graph, timeline")


def _has(job: Job, words: list[str]) -> bool:
    """As ``matching`` of rows.js for the table's jobs."""
    said = f"{job.name} {job.where.replace('.', ' ', 1)} {job.reason or ''}".lower()
    return all(each in said for each in words)


def _address(run: str, picture: str, job: str) -> str:
    return f"#/runs/{quote(run, safe='')}/{picture}?job={quote(job, safe='')}"


def _edges_of(observed: Observed) -> list[Edge]:
    """The edges of a run, read again once it has another driver: that one may have updated its plan."""
    record = observed.record
    key = (observed.store.path, record.run_id, observed.driver, record.ended_at, tuple(record.jobs))
    with _lock:
        found = _edges.get(key)
    if found is None:
        found = seen_edges(observed)
        with _lock:
            _edges[key] = found
            while len(_edges) > _MOST_KEPT:
                _edges.popitem(last=False)
    return found
