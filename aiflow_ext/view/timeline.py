"""The attempts of a run's jobs over time, as SVG: waiting for a turn, queued, running, waiting for the next attempt.

The times are those that the platforms report. Its style is ``style.STYLE``'s, as the graph's is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from aiflow_ext.view.html import svg_begin, text
from aiflow_ext.view.seen import Attempt, Edge, Job
from aiflow_ext.view.words import SIGNS, counted, duration, fitted, of_most_interest, shortened, word_of

MOST = 200  # jobs that have a row; of more, those of most interest
_LABEL, _SPAN, _RIGHT = 210, 760, 30  # widths in pixels: names, the time itself, and room for the last sign
_ROW, _TOP, _BOTTOM = 22, 26, 8
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
_TICKS = 8  # at most


def timeline_svg(
    jobs: Sequence[Job],
    edges: Sequence[Edge],
    *,
    started_at: float,
    until: float,
    link: Callable[[str], str] | None = None,
    most: int = MOST,
    page: int = 0,
    only: Callable[[Job], bool] = lambda job: True,
) -> str:
    """One row for each job, with its attempts.

    Args:
        jobs: in the workflow's order.
        edges: between them; they tell since when a job could have started.
        started_at: when the run started, seconds since the epoch.
        until: when it ended, or the present moment.
        link: the address that a job's name leads to, by its key; None: it leads nowhere.
        most: of more jobs than this, those that run or failed are shown first, and the rest is counted.
        page: which ``most`` of them are shown, from 0.
        only: whether a job is shown at all.
    """
    chosen = [job for job in jobs if only(job)]
    shown = of_most_interest(chosen, most, lambda job: job.state, page)
    upstream = _upstream(jobs, edges)
    moments = [moment for job in shown for each in job.attempts for moment in each[2:5] if isinstance(moment, float)]
    begin, end = min([started_at, *moments]), max([until, started_at, *moments])
    time = _Axis(begin, max(end - begin, 0.1))
    left_out = 0 if page else len(chosen) - len(shown)
    height = _TOP + _ROW * len(shown) + _BOTTOM + (_ROW if left_out else 0)
    width = _LABEL + _SPAN + _RIGHT
    label = f"timeline of {counted(len(shown), 'job')} over {duration(begin, end)}"
    made = [svg_begin("timeline", label, width, height), *time.drawn(height - _BOTTOM)]
    for number, job in enumerate(shown):
        made.append(_row(job, upstream.get(job.name, ()), time, _TOP + number * _ROW, started_at, until, link))
    if left_out:
        words = f"and {counted(left_out, 'more job')}: shown are those that run, then those that have not finished"
        made.append(f'<text class="note" x="4" y="{height - _BOTTOM - 6}">{text(words)}</text>')
    return "".join([*made, "</svg>"])


class _Axis:
    """The time from ``begin`` on, over ``length`` seconds."""

    def __init__(self, begin: float, length: float) -> None:
        self.begin, self.length = begin, length

    def x(self, moment: float) -> float:
        """Where a moment is, in pixels."""
        share = (moment - self.begin) / self.length
        return round(_LABEL + _SPAN * min(max(share, 0.0), 1.0), 1)

    def drawn(self, bottom: int) -> Iterator[str]:
        """A line and its time, since the begin, at every step."""
        step = next((each for each in _STEPS if self.length / each <= _TICKS), self.length / _TICKS)
        for number in range(int(self.length / step) + 1):
            x = self.x(self.begin + number * step)
            words = _tick(number * step)
            yield f'<path class="tick" d="M{x} {_TOP - 6}V{bottom}"/><text class="time" x="{x}" y="14">{words}</text>'


def _tick(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    if seconds < 60:
        return f"{seconds:g} s" if seconds >= 1 or not seconds else f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{minutes:g} min" if not rest else f"{minutes:g}:{rest:02g} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:g} h" if not minutes else f"{hours:g}:{minutes:02g} h"


def _upstream(jobs: Sequence[Job], edges: Sequence[Edge]) -> Mapping[str, list[Job]]:
    by_name = {job.name: job for job in jobs}
    found: dict[str, list[Job]] = {}
    for edge in edges:
        if edge.source in by_name:
            found.setdefault(edge.target, []).append(by_name[edge.source])
    return found


def ready_since(job: Job, upstream: Sequence[Job], started_at: float) -> float:
    """When a job's first attempt could have been submitted: as the last job that it waits for had ended, or had begun
    where that goes on; where it waits for none, when the run started."""
    moments = [started_at]
    for each in upstream:
        last = each.attempts[-1] if each.attempts else None
        moment = None if last is None else last.started_at if last.ended_at is None else last.ended_at
        if moment is not None:
            moments.append(moment)
    return max(moments)


def _row(
    job: Job,
    upstream: Sequence[Job],
    time: _Axis,
    y: int,
    started_at: float,
    until: float,
    link: Callable[[str], str] | None,
) -> str:
    name = f'<text class="name" x="20" y="{y + 15}">{text(fitted(job.name, 27))}</text>'
    name = f"<title>{text(job.name)}</title>{name}"
    if link is not None:
        name = f'<a href="{text(link(job.name))}">{name}</a>'
    said = f"{job.name}: {word_of(job.state)}" + (f", {counted(len(job.attempts), 'attempt')}" if job.attempts else "")
    made = [
        f'<g class="row {job.state}" data-job="{text(job.name)}" role="group" aria-label="{text(said)}">',
        f'<text class="sign" x="9" y="{y + 15}">{SIGNS[job.state]}</text>{name}',
    ]
    free = ready_since(job, upstream, started_at)
    for attempt in job.attempts:
        if attempt.submitted_at is not None and attempt.submitted_at > free:
            what = "waited for its turn" if attempt.number == 1 else "waited for the next attempt"
            made.append(
                _line(free, attempt.submitted_at, time, y, f"{what} for {duration(free, attempt.submitted_at)}")
            )
        made += _attempt(attempt, time, y, until)
        free = max(free, until if attempt.ended_at is None else attempt.ended_at)
    return "".join([*made, "</g>"])


def _attempt(attempt: Attempt, time: _Axis, y: int, until: float) -> Iterator[str]:
    end = until if attempt.ended_at is None else attempt.ended_at
    words = f"attempt {attempt.number}: {word_of(attempt.state)}"
    reason = f": {shortened(attempt.reason, 300)}" if attempt.reason else ""
    begun = end if attempt.started_at is None else attempt.started_at
    if attempt.submitted_at is not None and begun > attempt.submitted_at:
        queued = f"{words}; queued for {duration(attempt.submitted_at, begun)}"
        yield _bar("queued", attempt.submitted_at, begun, time, y, queued + ("" if attempt.started_at else reason))
    if attempt.started_at is not None:
        ran = f"{words}; {'ran' if attempt.ended_at else 'has run'} for {duration(attempt.started_at, end)}{reason}"
        yield _bar(f"ran {attempt.state}", attempt.started_at, end, time, y, ran)
    if attempt.ended_at is not None:
        x = time.x(end)
        yield f'<text class="end {attempt.state}" x="{x + 3}" y="{y + 15}">{SIGNS[attempt.state]}</text>'


def _bar(kind: str, begin: float, end: float, time: _Axis, y: int, words: str) -> str:
    x, width = time.x(begin), max(time.x(end) - time.x(begin), 1.5)
    return (f'<rect class="bar {kind}" x="{x}" y="{y + 4}" width="{width:.1f}" height="{_ROW - 8}" rx="2">'
            f"<title>{text(words)}</title></rect>")  # fmt: skip


def _line(begin: float, end: float, time: _Axis, y: int, words: str) -> str:
    middle = y + _ROW // 2
    return f'<path class="wait" d="M{time.x(begin)} {middle}H{time.x(end)}"><title>{text(words)}</title></path>'
