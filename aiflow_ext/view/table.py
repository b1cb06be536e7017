"""A run's jobs as an HTML table: states, where they run, times, what they used, and reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from aiflow_ext.model.resources import cpu_text
from aiflow_ext.view.html import sign_and_word, table, text
from aiflow_ext.view.words import counted, duration, of_most_interest, shortened, size_text, state_of

MOST = 2000  # rows; of more jobs, those of most interest
_LONGEST = 300  # characters of a reason
_HEADS = ("job", "state", "where", "attempts", "queued", "ran", "memory", "cpu", "node", "reason")


def jobs_table(
    jobs: Sequence[Mapping[str, Any]],
    *,
    now: float,
    anchor: Callable[[str], str] | None = None,
    most: int = MOST,
) -> str:
    """The table.

    Args:
        jobs: as ``jobs`` in ``aiflow-ext status --json`` (docs/json.md).
        now: the present moment, seconds since the epoch, for jobs that run.
        anchor: the ``id`` of a job's row, by the job's key; None: rows have none.
        most: of more jobs than this, those that run or failed are shown first, and the rest is counted.
    """
    shown = of_most_interest(jobs, most, lambda job: state_of(job["state"]))
    anchors = [] if anchor is None else [anchor(job["name"]) for job in shown]
    left_out = ""
    if len(jobs) > len(shown):
        words = f"and {counted(len(jobs) - len(shown), 'more job')}: shown are those that run, then those that failed"
        left_out = f"<p>{text(words)}</p>"
    return table(_HEADS, [_cells(job, now) for job in shown], anchors) + left_out


def _cells(job: Mapping[str, Any], now: float) -> tuple[str, ...]:
    """What a job has in each column, as HTML."""
    attempts = job["attempts"]
    last: Mapping[str, Any] = attempts[-1] if attempts else {}
    begun = last.get("started_at") or last.get("ended_at")
    end = last.get("ended_at") or now
    queued = duration(last.get("submitted_at"), begun or now) if attempts else ""
    reason = job["reason"] or last.get("reason") or ""
    words = shortened(("unreachable: " if last.get("unreachable") else "") + reason, _LONGEST)
    node = " / ".join(filter(None, (last.get("node"), last.get("instance"))))
    return (
        text(job["name"]),
        sign_and_word(job["state"]),
        text(f"{job['platform']}.{job['engine']}"),
        _attempts(attempts),
        _on_one_line(queued),
        _on_one_line(duration(last.get("started_at"), end)),
        text(_memory(last)),
        text(_cpu(last)),
        text(node),
        f"<p>{text(words)}" if words else "",
    )


def _memory(attempt: Mapping[str, Any]) -> str:
    peak, asked = attempt.get("peak_memory"), attempt.get("memory_asked")
    of = f" of {size_text(asked)}" if asked is not None else ""
    return "" if peak is None else f"{size_text(peak)}{of}"


def _cpu(attempt: Mapping[str, Any]) -> str:
    used, asked = attempt.get("cpu_seconds"), attempt.get("cpu_asked")
    cores = f", asked for {cpu_text(asked)}" if asked is not None else ""
    return "" if used is None else f"{used:.1f}\N{NO-BREAK SPACE}s{cores}"


def _on_one_line(words: str) -> str:
    return text(words.replace(" ", "\N{NO-BREAK SPACE}"))


def _attempts(attempts: Sequence[Mapping[str, Any]]) -> str:
    """How many there were; with more than one, what became of each."""
    if len(attempts) < 2:
        return str(len(attempts) or "")
    return f"<details><summary>{len(attempts)}</summary><ol>{''.join(_each(attempts))}</ol></details>"


def _each(attempts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for each in attempts:
        ran = duration(each["started_at"], each["ended_at"])
        words = ", ".join(filter(None, (ran and f"ran for {ran}", shortened(each["reason"] or "", _LONGEST))))
        yield f"<li>{sign_and_word(each['state'])} {text(words)}"
