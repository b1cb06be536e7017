"""When a job may start: the conditions of its control and data edges on upstream jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aiflow_ext.model.states import ExecutionMode, JobState
from aiflow_ext.run.planning.serving import condition
from aiflow_ext.run.store.records import AttemptRecord, JobRecord
from aiflow_ext.translate.check import listed
from aiflow_ext.translate.split import JobEdge

ANY_FAILED = "any_failed"
_NOT_YET = None
_NO_SERVERS: Mapping[str, bool] = {}


def satisfied(
    edge: JobEdge, upstream: JobRecord, mode: ExecutionMode, *, settled: bool, ready: bool | None = None
) -> bool | str | None:
    """Whether an edge lets its job start.

    Args:
        edge: the edge.
        upstream: the record of the job that it waits for.
        mode: the upstream's exec mode.
        settled: whether the upstream's state is its last: no retry will follow.
        ready: whether the upstream, a job that serves others, is ready; None for any other job.

    Returns True, or None for not yet, or the reason why it can no longer come true.
    """
    when = condition(edge, mode)
    state, last = upstream.state, upstream.last
    if state is JobState.INIT and last is not None and last.state.ended:  # reopened: its earlier end does not count
        return _NOT_YET
    if when == "running":
        if ready is not None:
            when = "ready"
        if _has_run(upstream) if ready is None else ready:
            return True
    if not state.ended or not settled:
        return _NOT_YET
    if when == "ended":
        return True
    if when == "finished" and state is JobState.FINISHED:
        return True
    if when == "failed" and state.failed:
        return True
    return f"waits for {edge.source} to be {when}; it is {state}"


def _has_run(job: JobRecord) -> bool:
    """Whether a job has run, also if it ended before it was seen running."""
    return job.state in (JobState.RUNNING, JobState.FINISHED) or any(map(_has_begun, job.attempts))


def _has_begun(attempt: AttemptRecord) -> bool:
    return attempt.started_at is not None or attempt.exit_code is not None or attempt.signal is not None


def waits_for_failure(edges: Sequence[JobEdge]) -> bool:
    """Whether a job with these edges runs only where another one fails."""
    return any(edge.when in ("failed", ANY_FAILED) for edge in edges)


def _any_failed(
    edges: Sequence[JobEdge], records: Mapping[str, JobRecord], settled: Mapping[str, bool]
) -> bool | str | None:
    """As :func:`decide`, for edges of which one is enough: a job that has failed."""
    over = [records[edge.source] for edge in edges if settled[edge.source]]
    if any(each.state.failed for each in over):
        return True
    if len(over) < len(edges):
        return _NOT_YET
    return f"waits for {listed([edge.source for edge in edges], most=5)} to fail; none has"


def decide(
    edges: Sequence[JobEdge],
    records: Mapping[str, JobRecord],
    modes: Mapping[str, ExecutionMode],
    settled: Mapping[str, bool],
    ready: Mapping[str, bool] = _NO_SERVERS,
) -> bool | str | None:
    """Whether a job may start, given all its edges: True, None for not yet, or the reason why it never will.

    ``ready``: by job that serves others, whether it is ready.
    """
    alternatives = [edge for edge in edges if edge.when == ANY_FAILED]
    answer = _any_failed(alternatives, records, settled) if alternatives else True
    if isinstance(answer, str):
        return answer
    for edge in edges:
        if edge.when == ANY_FAILED:
            continue
        source = edge.source
        one = satisfied(edge, records[source], modes[source], settled=settled[source], ready=ready.get(source))
        if isinstance(one, str):
            return one
        if one is None:
            answer = None
    return answer
