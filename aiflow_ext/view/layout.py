"""Where the boxes of a graph are: layers from left to right, and rows in them.

Every edge leads to a later layer. The order in a layer is that of the neighbours' (barycentres), and the rows are as
near to theirs as the distance of two boxes allows. The same graph always gets the same places. Time grows with jobs and
edges; an edge over many layers counts once for each, up to a limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

SWEEPS = 4  # passes over all layers, to and fro
MOST_BENDS = 4000  # of all edges that pass other layers; where there would be more, they are drawn straight


class Layout(NamedTuple):
    """The places of a graph.

    Attributes:
        places: by name the layer, from 0, and the row there; rows are not whole numbers, and at least 1 apart.
        bends: by edge, the place of each layer between its ends where it passes other boxes; of most edges there are
            none.
        rows: how many rows there are.
        layers: how many layers there are.
    """

    places: dict[str, tuple[int, float]]
    bends: dict[tuple[str, str], list[tuple[int, float]]]
    rows: float
    layers: int


def layers_of(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """By name the length of the longest way that leads there. Edges of a circle, which no checked workflow has, and of
    names that are not there are left out."""
    after: dict[str, list[str]] = {name: [] for name in names}
    missing = dict.fromkeys(names, 0)
    for source, target in edges:
        if source in after and target in after and source != target:
            after[source].append(target)
            missing[target] += 1
    layer = dict.fromkeys(names, 0)
    ready = [name for name in names if not missing[name]]
    for name in ready:  # it grows
        for target in after[name]:
            layer[target] = max(layer[target], layer[name] + 1)
            missing[target] -= 1
            if not missing[target]:
                ready.append(target)
    return layer


def layout(names: Sequence[str], edges: Sequence[tuple[str, str]], layers: Mapping[str, int] | None = None) -> Layout:
    """The places of boxes with these names.

    Args:
        names: in the order in which equal ones are kept.
        edges: pairs of names, source and target.
        layers: the layer of each name, where that is known; edges within a layer, or back, are left out.
    """
    layer = layers_of(names, edges) if layers is None else layers
    place = {name: number for number, name in enumerate(names)}
    forward = [each for each in {*edges} if _span(each, layer) > 0]
    forward.sort(key=lambda edge: (place[edge[0]], place[edge[1]]))  # whatever order they came in
    columns: list[list[_Box]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    boxes = {name: _Box(layer[name]) for name in names}
    for box in boxes.values():
        columns[box.layer].append(box)
    bent = sum(_span(each, layer) - 1 for each in forward) <= MOST_BENDS
    ways: dict[tuple[str, str], list[_Box]] = {}
    for source, target in forward:
        way = [boxes[source]]
        for number in range(layer[source] + 1, layer[target]) if bent else ():
            way.append(_Box(number))
            columns[number].append(way[-1])
        way.append(boxes[target])
        for one, next_one in pairwise(way):
            one.after.append(next_one)
            next_one.before.append(one)
        ways[source, target] = way[1:-1]
    _order(columns)
    _settle(columns)
    top = min((box.row for column in columns for box in column), default=0.0)
    bottom = max((box.row for column in columns for box in column), default=-1.0)
    return Layout(
        {name: (box.layer, box.row - top) for name, box in boxes.items()},
        {edge: [(box.layer, box.row - top) for box in way] for edge, way in ways.items()},
        bottom - top + 1,
        len(columns),
    )


class _Box:
    """A box, or the place where an edge passes a layer."""

    def __init__(self, layer: int) -> None:
        self.layer, self.row = layer, 0.0
        self.before: list[_Box] = []
        self.after: list[_Box] = []


def _span(edge: tuple[str, str], layer: Mapping[str, int]) -> int:
    source, target = edge
    return layer[target] - layer[source] if source in layer and target in layer else 0


def _order(columns: Sequence[list[_Box]]) -> None:
    """Sort each layer by the mean row of its boxes' neighbours, to and fro."""
    for column in columns:
        _number(column)
    for sweep in range(SWEEPS):
        to = sweep % 2 == 0
        for column in columns if to else reversed(columns):
            column.sort(key=lambda box: _mean(box.before if to else box.after, box.row))
            _number(column)


def _settle(columns: Sequence[list[_Box]]) -> None:
    """Move boxes to the mean row of their neighbours, as far as their order and distance allow."""
    for sweep in range(SWEEPS):
        to = sweep % 2 == 0
        for column in columns if to else reversed(columns):
            wanted = [_mean(box.before if to else box.after, box.row) for box in column]
            for box, row in zip(column, _apart(wanted), strict=True):
                box.row = row


def _number(column: Sequence[_Box]) -> None:
    for number, box in enumerate(column):
        box.row = number - (len(column) - 1) / 2


def _mean(boxes: Sequence[_Box], otherwise: float) -> float:
    return sum(box.row for box in boxes) / len(boxes) if boxes else otherwise


def _apart(wanted: Sequence[float]) -> list[float]:
    """The rows nearest to those wanted, by the sum of squares, that are in order and at least 1 apart.

    Without the distance itself each is to be at least the one before it: neighbours that are not are pooled at their
    mean, again and again (pool adjacent violators).
    """
    pools: list[tuple[float, int]] = []  # sum and number of members
    for number, row in enumerate(wanted):
        total, count = row - number, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            before = pools.pop()
            total, count = total + before[0], count + before[1]
        pools.append((total, count))
    rows = [total / count for total, count in pools for _ in range(count)]
    return [row + number for number, row in enumerate(rows)]
