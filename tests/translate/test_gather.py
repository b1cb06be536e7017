"""Many mistakes of one kind, told as one."""

from __future__ import annotations

from aiflow_ext.model.errors import Problem
from aiflow_ext.translate.gather import gathered


def told(*problems: tuple[str, str | None]) -> list[str]:
    return [str(each) for each in gathered(Problem(message, where) for message, where in problems)]


def test_what_many_jobs_have_in_common_is_reported_once_with_a_count_and_a_few_names() -> None:
    many = [(f"job 'j{number}' lacks the key 'image'", f"w.yaml:{number}") for number in range(1500)]
    names = "'j1' (w.yaml:1), 'j2' (w.yaml:2), 'j3' (w.yaml:3)"
    assert told(("before", None), *many, ("after", None)) == [
        "before",
        f"w.yaml:0: job 'j0' lacks the key 'image' (and 1499 more like this: {names}, ...)",
        "after",
    ]


def test_a_few_are_told_one_by_one_and_of_a_dozen_every_name() -> None:
    few = [(f"job 'j{number}' is wrong", "w.py:1") for number in range(3)]
    assert told(*few) == [f"w.py:1: job 'j{number}' is wrong" for number in range(3)]
    dozen = [(f"job 'j{number}' is wrong", "w.py:1") for number in range(6)]
    assert told(*dozen) == ["w.py:1: job 'j0' is wrong (and 5 more like this: 'j1', 'j2', 'j3', 'j4', 'j5')"]


def test_different_mistakes_stay_apart() -> None:
    keys = [(f"job 'a': 'key{number}' is not a key of a local.python job", f"w.yaml:{number}") for number in range(9)]
    assert len(told(*keys)) == 9
    plain = [(f"sentence {number}", None) for number in range(9)]
    assert len(told(*plain)) == 9


def test_one_line_that_makes_many_nodes_is_reported_once() -> None:
    nodes = [(f"node 'fit-{number}' (python) of job 'a' has no function to call", "w.py:7") for number in range(2000)]
    assert len(told(*nodes)) == 1


def test_the_same_words_of_the_same_line_are_reported_once_with_how_often() -> None:
    assert told(*[("outputs 'q' and 'r' of node 'cmd' are both called 'a'", "w.py:3")] * 2, ("other", "w.py:3")) == [
        "w.py:3: outputs 'q' and 'r' of node 'cmd' are both called 'a' (and 1 more like this)",
        "w.py:3: other",
    ]


def test_one_mistake_at_many_places_names_some_of_the_places() -> None:
    places = [("nothing provides the platform 'lokal'", f"w.yaml:{line}") for line in range(1, 41)]
    (only,) = told(*places)
    assert only == (
        "w.yaml:1: nothing provides the platform 'lokal' (and 39 more like this: w.yaml:2, w.yaml:3, w.yaml:4, ...)"
    )
