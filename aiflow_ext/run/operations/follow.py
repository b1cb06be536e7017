"""Logs followed while their jobs run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aiflow_ext.run.operations.logs import LogSource, sources, whole_lines
from aiflow_ext.run.operations.observe import Observed


def follow_lines(
    observed: Observed,
    jobs: Sequence[str],
    stream: str,
    found: list[LogSource],
    *,
    follow: bool,
    attempt: int | None,
) -> Iterator[list[tuple[LogSource, list[bytes]]]]:
    """The lines of several jobs' logs, as they arrive.

    Args:
        observed: the run.
        jobs: the jobs' keys; none for all.
        stream: ``stdout`` or ``stderr``.
        found: the sources to begin with.
        follow: go on until the jobs have ended.
        attempt: only this attempt of theirs; None: those that begin meanwhile, too.

    Yields lines with their source, and an empty list where the caller is to wait before it goes on.
    """
    rests: dict[tuple[str, int], bytearray] = {}
    while True:
        over = is_over(observed, list(jobs) or list(observed.record.jobs))
        for source in found:
            key = source.attempt.job, source.attempt.number
            ended = over or not follow or observed.record.jobs[key[0]].attempts[key[1] - 1].state.ended
            for lines in whole_lines(source, rests.setdefault(key, bytearray()), ended=ended):
                yield [(source, lines)]
        if not follow or over:
            return
        yield []
        observed.refresh()
        if attempt is None or not found:
            found = grown(observed, list(jobs), stream, found)


def grown(observed: Observed, jobs: list[str], stream: str, found: list[LogSource]) -> list[LogSource]:
    """The sources so far, and those of attempts that have begun since."""
    known = {(source.attempt.job, source.attempt.number) for source in found}
    fresh = sources(observed, jobs, stream=stream, patient=True)
    return found + [each for each in fresh if (each.attempt.job, each.attempt.number) not in known]


def is_over(observed: Observed, jobs: list[str]) -> bool:
    """Whether these jobs can print nothing more: they have ended, or no driver is there to start another attempt."""
    states = [observed.record.jobs[name].state for name in jobs]
    if observed.record.ended_at is not None or observed.driver is None:
        return not observed.record.live() or all(state.ended for state in states)
    last = [observed.record.jobs[name].last for name in jobs]
    return all(state.ended for state in states) and all(each is None or each.cleaned for each in last)
