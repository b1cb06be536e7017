"""The places of a graph's boxes: every edge leads to the right, no two boxes overlap, the same graph looks the same."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from aiflow_ext.view import layout as under_test
from aiflow_ext.view.layout import layers_of, layout

NAMES = [f"n{number}" for number in range(12)]
EDGES = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).filter(lambda pair: pair[0] < pair[1]))


@given(EDGES)
def test_edges_lead_to_later_layers_and_boxes_of_a_layer_are_apart(edges: list[tuple[str, str]]) -> None:
    made = layout(NAMES, edges)
    assert all(made.places[source][0] < made.places[target][0] for source, target in edges)
    rows: dict[int, list[float]] = {}
    for layer, row in [*made.places.values(), *(place for way in made.bends.values() for place in way)]:
        rows.setdefault(layer, []).append(row)
    for column in rows.values():
        assert all(after - before > 0.999 for before, after in pairwise(sorted(column)))
    assert min(map(min, rows.values())) == 0


def test_a_layer_is_the_length_of_the_longest_way_there() -> None:
    edges = [("a", "b"), ("b", "c"), ("a", "c"), ("c", "d")]
    assert layers_of(["d", "c", "b", "a", "e"], edges) == {"a": 0, "b": 1, "c": 2, "d": 3, "e": 0}


def test_an_edge_over_a_layer_has_a_row_of_its_own_there() -> None:
    made = layout(["a", "b", "c"], [("a", "b"), ("b", "c"), ("a", "c")])
    ((layer, row),) = made.bends["a", "c"]
    assert layer == made.places["b"][0]
    assert abs(row - made.places["b"][1]) >= 1


def test_neighbours_are_beside_each_other_although_they_were_opened_in_another_order() -> None:
    made = layout(["a", "b", "c", "z", "y", "x"], [("a", "x"), ("b", "y"), ("c", "z")])
    assert [made.places[name][1] for name in "xyz"] == [made.places[name][1] for name in "abc"]


def test_a_box_is_in_the_middle_of_those_that_follow_it() -> None:
    made = layout(list("abxyzw"), [("a", "x"), ("a", "y"), ("a", "z"), ("b", "w")])
    assert made.places["a"][1] == made.places["y"][1]
    assert made.places["b"][1] == made.places["w"][1]


def test_a_graph_has_the_same_places_every_time_whatever_the_order_of_its_edges() -> None:
    edges = [(f"n{number}", f"n{other}") for number in range(40) for other in range(number + 1, min(number + 9, 40), 3)]
    names = [f"n{number}" for number in range(40)]
    first = layout(names, edges)
    again = edges[:]
    random.Random(1).shuffle(again)
    assert layout(names, again).places == first.places
    assert layout(names, edges) == first


def test_damaged_edges_do_no_harm() -> None:
    made = layout(["a", "b", "c"], [("a", "b"), ("b", "a"), ("a", "a"), ("gone", "c"), ("c", "gone")])
    assert set(made.places) == {"a", "b", "c"}
    assert layout([], [("a", "b")]).places == {}


def test_a_graph_with_too_many_bends_is_drawn_with_straight_edges(monkeypatch) -> None:
    monkeypatch.setattr(under_test, "MOST_BENDS", 1)
    chain = [(f"{number}", f"{number + 1}") for number in range(5)]
    made = layout([f"{number}" for number in range(6)], [*chain, ("0", "5")])
    assert made.bends["0", "5"] == []
