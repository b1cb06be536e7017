"""The graph of a run's jobs, or of a workflow's, as SVG.

It has no style of its own: ``style.STYLE`` holds the rules of its classes, for what is in an element of the class
``aiflow-ext``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from aiflow_ext.model.states import JobState
from aiflow_ext.view.html import svg_begin, text
from aiflow_ext.view.layout import layers_of, layout
from aiflow_ext.view.seen import Edge, Job
from aiflow_ext.view.words import SIGNS, counted, duration, fitted, interest, shortened, totals, word_of

MOST = 300  # jobs that are drawn one by one; more are drawn as groups
MOST_ALONE = 40  # failed jobs that are drawn one by one then
MOST_LAYERS = 60  # layers of groups; of a longer graph, several are one
WIDTH, HEIGHT = 196, 44  # of a box, in pixels
_PITCH_X, _PITCH_Y = WIDTH + 64, HEIGHT + 18
_MARGIN, _NOTE = 12, 22


def graph_svg(
    jobs: Sequence[Job],
    edges: Sequence[Edge],
    *,
    now: float | None = None,
    link: Callable[[str], str] | None = None,
    most: int = MOST,
) -> str:
    """The jobs as boxes with their states, and an arrow for each edge: thick for data, dashed for a condition that is
    not *finished*.

    Args:
        jobs: in the workflow's order.
        edges: between them.
        now: the present moment, seconds since the epoch, for jobs that run; None: how long they have run is left out.
        link: the address that a job's box leads to, by its key; None: boxes lead nowhere.
        most: of more jobs than this, those of one layer and one state are one box; failed jobs keep their own.
    """
    if len(jobs) <= most:
        boxes = {job.name: _box(job, now, link) for job in jobs}
        return _drawn(boxes, edges, None, _label(jobs), "")
    alone = {job.name for job in jobs if job.state.failed}
    alone = alone if len(alone) <= MOST_ALONE else set()
    group_of, layers = _groups(jobs, edges, alone)
    members: dict[str, list[Job]] = {}
    for job in jobs:
        members.setdefault(group_of[job.name], []).append(job)
    boxes = {key: _box(each[0], now, link) if each[0].name in alone else _group(each) for key, each in members.items()}
    note = f"{counted(len(jobs), 'job')}: those of one layer and one state are one box"
    note += f"; {counted(len(alone), 'failed job')} drawn by name" if alone else ""
    return _drawn(boxes, list(_between(edges, group_of)), layers, _label(jobs), note)


class _Box(NamedTuple):
    """What a box shows: its state, its name, a second line, all words as a tooltip, and its attributes."""

    state: JobState
    name: str
    below: str
    title: str
    job: str | None = None
    link: str | None = None


def _box(job: Job, now: float | None, link: Callable[[str], str] | None) -> _Box:
    last = job.attempts[-1] if job.attempts else None
    took = "" if last is None else duration(last.started_at, now if last.ended_at is None else last.ended_at)
    tries = f"{len(job.attempts)} attempts" if len(job.attempts) > 1 else ""
    below = " \u00b7 ".join(filter(None, (word_of(job.state), took, tries, "" if job.attempts else job.where)))
    title = ", ".join(filter(None, (f"{job.name}: {word_of(job.state)}", took, tries, job.where)))
    title += f": {shortened(job.reason, 300)}" if job.reason else ""
    return _Box(job.state, job.name, below, title, job.name, None if link is None else link(job.name))


def _group(members: Sequence[Job]) -> _Box:
    first, state = members[0], members[0].state
    low, high = min(job.name for job in members), max(job.name for job in members)
    same = next((place for place, char in enumerate(low) if high[place] != char), len(low))  # what all begin with
    name = first.name if len(members) == 1 else f"{low[:same]}*" if same > 1 else f"{first.name}, ..."
    named = ", ".join(shortened(job.name, 60) for job in members[:10])
    more = f" and {len(members) - 10:,} more" if len(members) > 10 else ""
    return _Box(state, name, f"{counted(len(members), 'job')} {word_of(state)}",
                f"{counted(len(members), 'job')} {word_of(state)}: {named}{more}")  # fmt: skip


def _groups(jobs: Sequence[Job], edges: Sequence[Edge], alone: set[str]) -> tuple[dict[str, str], dict[str, int]]:
    """By job the key of its group, and by group its layer."""
    layer = layers_of([job.name for job in jobs], [(edge.source, edge.target) for edge in edges])
    number = max(layer.values(), default=0) + 1
    shown = min(number, MOST_LAYERS)
    group_of: dict[str, str] = {}
    layers: dict[str, int] = {}
    for job in sorted(jobs, key=lambda job: interest(job.state)):
        place = layer[job.name] * shown // number
        key = f"job {job.name}" if job.name in alone else f"{place} {job.state}"
        group_of[job.name], layers[key] = key, place
    return group_of, layers


def _between(edges: Iterable[Edge], group_of: Mapping[str, str]) -> Iterable[Edge]:
    """The edges between groups, each once."""
    found: dict[tuple[str, str, str, bool], None] = {}
    for edge in edges:
        source, target = group_of.get(edge.source), group_of.get(edge.target)
        if source is not None and target is not None and source != target:
            found[source, target, edge.until, edge.data] = None
    return (Edge(*each) for each in found)


def _label(jobs: Sequence[Job]) -> str:
    return f"graph of {counted(len(jobs), 'job')}: {totals(Counter(job.state for job in jobs))}"


def _drawn(
    boxes: Mapping[str, _Box], edges: Sequence[Edge], layers: Mapping[str, int] | None, label: str, note: str
) -> str:
    pairs: dict[tuple[str, str], list[Edge]] = {}
    for edge in edges:
        pairs.setdefault((edge.source, edge.target), []).append(edge)
    places = layout(list(boxes), list(pairs), layers)
    width = max(places.layers * _PITCH_X - (_PITCH_X - WIDTH), WIDTH) + 2 * _MARGIN
    height = max(round(places.rows * _PITCH_Y) - (_PITCH_Y - HEIGHT), HEIGHT) + 2 * _MARGIN + (_NOTE if note else 0)
    made = [svg_begin("graph", label, width, height)]
    for pair, way in places.bends.items():
        points = [places.places[pair[0]], *way, places.places[pair[1]]]
        made.append(_arrow(points, pairs[pair], straight=not way))
    for key, box in boxes.items():
        made.append(_drawn_box(box, *_corner(places.places[key])))
    if note:
        made.append(f'<text class="note" x="{_MARGIN}" y="{height - 8}">{text(note)}</text>')
    return "".join([*made, "</svg>"])


def _corner(place: tuple[int, float]) -> tuple[int, int]:
    return _MARGIN + place[0] * _PITCH_X, _MARGIN + round(place[1] * _PITCH_Y)


def _drawn_box(box: _Box, x: int, y: int) -> str:
    data = "" if box.job is None else f' data-job="{text(box.job)}"'
    kind, link, role = ("g", "", ' role="img"') if box.link is None else ("a", f' href="{text(box.link)}"', "")
    title = text(box.title)
    return (
        f'<{kind} class="box {box.state}"{link}{data}{role} aria-label="{title}"><title>{title}</title>'
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
        f'<text class="sign" x="{x + 15}" y="{y + 19}">{SIGNS[box.state]}</text>'
        f'<text class="name" x="{x + 28}" y="{y + 19}">{text(fitted(box.name, 23))}</text>'
        f'<text class="below" x="{x + 28}" y="{y + 34}">{text(fitted(box.below, 26))}</text></{kind}>'
    )


def _arrow(points: Sequence[tuple[int, float]], edges: Sequence[Edge], straight: bool) -> str:
    corners = [_corner(place) for place in points]
    (x, y), middle = corners[0], HEIGHT // 2
    x, y = x + WIDTH, y + middle
    path = f"M{x} {y}"
    for number, (to_x, to_y) in enumerate(corners[1:], 1):
        to_y += middle
        bend = (x + to_x) // 2 if straight or to_x - x < _PITCH_X else x + 32
        path += f"C{bend} {y} {bend} {to_y} {to_x} {to_y}"
        x, y = to_x, to_y
        if number < len(corners) - 1:
            x += WIDTH
            path += f"H{x}"
    conditions = Counter(edge.until for edge in edges if edge.until != "finished" and not edge.data)
    kind = "data" if any(edge.data for edge in edges) else "condition" if conditions else "order"
    said = ", ".join(sorted(conditions)).replace("_", " ")
    label = f'<text class="when" x="{corners[-1][0] - 8}" y="{y - 6}">{text(said)}</text>' if said else ""
    head = f"M{x - 6} {y - 4}L{x} {y}L{x - 6} {y + 4}"
    return f'<path class="edge {kind}" d="{path}"/><path class="head {kind}" d="{head}"/>{label}'
