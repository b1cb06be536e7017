"""The kit's Flink part by itself: what it counts, and that it notices."""

from __future__ import annotations

import pytest

from aiflow_ext.testing.flink import FlinkConformance, Rows
from aiflow_ext.testing.killing import verdict


class Read(FlinkConformance):
    __test__ = False
    platform = "some"

    def __init__(self, rows: list[int]) -> None:
        self.read = rows

    def rows(self, name: str) -> list[int]:
        return self.read


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([3, 1, 2], None),
        ([1, 3], r"1 are lost \[2\]"),
        ([1, 2, 2, 3], r"1 doubled \[2\]"),
        ([1, 2, 3, 4], "0 are lost"),
    ],
)
def test_rows_that_are_lost_doubled_or_too_many_are_noticed(rows: list[int], words: str | None) -> None:
    tested = Read(rows)
    if words is None:
        tested.must_be_counted("few", 3)
    else:
        with pytest.raises(pytest.fail.Exception, match=words):
            tested.must_be_counted("few", 3)


@pytest.mark.parametrize(("windows", "words"), [([], "pass drain on"), ([7, 7], "pass drain on"), ([6], "restore")])
def test_a_stop_that_is_no_drain_and_a_window_whose_state_is_lost_are_noticed(windows: list[int], words: str) -> None:
    tested = Read([])
    tested.must_be_drained([7], 7)
    with pytest.raises(pytest.fail.Exception, match=words):
        tested.must_be_drained(windows, 7)


def test_executions_are_counted_by_their_rows_since_the_last_time() -> None:
    rows: list[int] = [1]
    marks = Rows(lambda: rows)
    assert verdict(marks.count("start"), marks.count("end"), "FINISHED") is None
    marks.clear()
    assert verdict(marks.count("start"), marks.count("end"), "FINISHED") is not None, "none"
    rows += [1, 1]
    assert verdict(marks.count("start"), marks.count("end"), "FINISHED") is not None, "two"
