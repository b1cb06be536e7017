"""JSON schemas: what a run accepts a schema never refuses, and it refuses what is typically wrong."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict

import attrs
import pytest
from jsonschema import Draft202012Validator

from aiflow_ext.translate.common import ALIASES, COMMON_KEYS, checked
from aiflow_ext.translate.file_schemas import common_keys
from aiflow_ext.translate.fitting import fit
from aiflow_ext.translate.misfits import Misfit
from aiflow_ext.translate.schema import ANYTHING, meanings, schema_of

SAMPLES: list[Any] = [
    True, False, 0, 1, 2, -1, 0.5, 1.5, 8080, 10**9, "", " ", "a", "1", "0.5", "500m", "10m", "1h30m", "1h 30m",
    "2 h", "90s", "1.5h", "500ms", "1w", "1d2h", ".5s", "10 minutes", "m", "-3s", "1Gi", "1.5 Gi", "512Mi", "4gb",
    "1024", "k", "BATCH", "batch", "Stream", "failed", "lost", "timeout", "sh", "bash", "strict", "zsh", "/bin/zsh",
    "/bin/zsh -x", "0 3 * * *", "0,0,10,0", "red", "Red", "RED", "2024-05-01", "2024-05-01T12:00:00", "1/3", "1e3",
    "6f1e3c0e-6f0f-4b5e-8f0e-0d3c5b7f4a11", [], ["a"], [1], ["sh", "-c"], ["failed", "timeout"], ["a", 1], [1, 2],
    ["a", ["b"]],
    {}, {"a": 1}, {"a": "b"}, {"A": {"secret": "env:B"}}, {"A": {"secret": "b"}}, {"A": [1]}, {"A": None},
    {"A": 1.5, "B": True},
    {"cron": "0 3 * * *"}, {"interval": "10m"}, {"interval": 600, "time_zone": "Europe/Berlin"},
    {"cron_config": "0 3 * * *"},
    {"cron": "0 3 * * *", "interval": None}, {"first": "10s"}, {"first": 1, "factor": 3, "max": "1h"}, {"factor": 2},
    {"memory": 2}, {"memory": 2, "max": "64Gi"}, {"memory": 1}, {"max": "1Gi"}, {"port": 80},
    {"command": "true", "within": "2m"},
    {"command": ["a", "b"], "every": 1}, {"x": 1, "y": 2}, {"x": 1}, {"x": "a", "y": 2}, {"x": 1, "y": 2, "z": 3},
    {"y": 2},
]  # fmt: skip


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@attrs.define
class Point:
    """A point.

    Args:
        x: how far to the right,
            in cells.
        y: how far up.
    """

    x: int
    y: int = 0


@dataclasses.dataclass
class Tree:
    x: int
    branches: list[Tree] = dataclasses.field(default_factory=list)


class Free:
    def __init__(self, x: int, **others: Any) -> None:
        self.x = x


class Pair(NamedTuple):
    x: int
    y: str = ""


class Keys(TypedDict, total=False):
    x: int
    y: int


class Name(str):
    pass


KINDS = [
    Any, None, bool, int, float, str, bytes, int | None, int | str, float | list[int], list[str], list, tuple[int, ...],
    tuple[int, int], tuple[str, list[str]], set[str], frozenset[int], Sequence[str], Mapping[str, int], dict[str, Any],
    dict[str, list[str]], Literal["a", "b", 1], Colour, Level, Point, list[Point], Point | None, Tree, Free, Pair,
    Keys, Name,
    Path, datetime.date, datetime.datetime, datetime.timedelta, decimal.Decimal, uuid.UUID, complex, bytearray,
]  # fmt: skip


def accepts(schema: Mapping[str, Any], value: Any) -> bool:
    return Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_value_that_fits_a_type_is_valid(kind: Any) -> None:
    schema = schema_of(kind)
    Draft202012Validator.check_schema(schema)
    for value in SAMPLES:
        try:
            fit(value, kind)
        except Misfit:
            continue
        assert accepts(schema, value), value
    if kind is not Any:
        assert not all(accepts(schema, value) for value in SAMPLES), "it refuses nothing"


@pytest.mark.parametrize("key", [key for key in COMMON_KEYS if key not in ("platform", "engine", "platforms")])
def test_a_value_that_a_common_key_may_have_is_valid_and_one_of_another_type_is_not(key: str) -> None:
    schema = common_keys()[key]
    Draft202012Validator.check_schema(schema)
    assert schema != ANYTHING, "it has no schema in translate.file_schemas"
    assert schema["description"], "BaseJobConfig says nothing of it"
    assert accepts(schema, None), "nothing after the colon is as if the key were not there"
    refused = 0
    for value in SAMPLES:
        try:
            checked(key, value)
        except Misfit:
            refused += not accepts(schema, value)
        else:
            assert accepts(schema, value), value
    assert refused


def test_former_names_of_common_keys_are_taken() -> None:
    assert common_keys().keys() == {*COMMON_KEYS, *ALIASES} - {"platform", "engine", "platforms"}


def test_wrong_types_missing_keys_and_unknown_keys_are_refused() -> None:
    wrong = [
        (int, True), (int, 1.5), (float, "1"), (str, 1), (list[int], ["a"]), (list[str], "a"), (tuple[int, int], [1]),
        (Literal["a"], "b"), (Colour, "blue"), (Point, {"y": 1}), (Point, {"x": "a"}), (Point, {"x": 1, "z": 1}),
        (Point | None, {"z": 1}), (Keys, {"z": 1}), (Free, {}), (Mapping[str, int], {"a": "b"}),
        (Tree, {"branches": []}),
        (Tree, {"x": 1, "branches": [{"x": "a"}]}), (datetime.timedelta, "10 minutes"),
    ]  # fmt: skip
    for kind, value in wrong:
        assert not accepts(schema_of(kind), value), (kind, value)
    assert accepts(schema_of(Free), {"x": 1, "other": 2})


def test_what_docstrings_say_of_arguments_is_the_description() -> None:
    assert meanings(Point) == {"x": "how far to the right, in cells.", "y": "how far up."}
    assert schema_of(Point)["properties"]["x"] == {"type": "integer", "description": "how far to the right, in cells."}
    assert schema_of(Point)["properties"]["y"]["default"] == 0
