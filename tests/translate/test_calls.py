"""A call that its function cannot take is named before anything runs, where the function's signature tells."""

from __future__ import annotations

import functools
from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

import attrs
import pytest

import aiflow_ext as af
from aiflow_ext.model.errors import Problem
from aiflow_ext.translate.calls import check_calls


def two(a: int, b: int = 2, *, flag: bool = False) -> int:
    return a + b


def only_positional(a: int, /) -> None: ...


def anything(*args: Any, **kwargs: Any) -> None: ...


def injected(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function("connection", *args, **kwargs)

    return wrapper


@injected
def with_connection(connection: str, table: str) -> None: ...


cached = functools.lru_cache(two)


class Model:
    def __init__(self, size: int) -> None: ...
    def fit(self, data: object) -> None: ...
    @classmethod
    def load(cls, path: str) -> None: ...
    @staticmethod
    def help(topic: str) -> None: ...
    def __call__(self, x: int) -> None: ...


@attrs.define
class Settings:
    alpha: float
    beta: float = 0.5


class Point(NamedTuple):
    x: int
    y: int


class Color(Enum):
    RED = 1


class Lenient:
    """As pydantic does: the signature that is shown is not all that is taken."""

    __signature__ = "not this"

    def __init__(self, **anything: Any) -> None: ...


def problems_of(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> list[Problem]:
    def body() -> None:
        with af.job("j"):
            af.python(function, *args, **kwargs)

    return check_calls(af.workflow(body).build())


WRONG: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], str]] = [
    (two, (), {}, "two(a, b=..., *, flag=...) cannot be called with the arguments of node 'two' in job 'j'"),
    (two, (), {}, "missing a required argument: 'a'"),
    (two, (1, 2, 3), {}, "too many positional arguments"),
    (two, (1,), {"c": 3}, "unexpected keyword argument 'c'"),
    (two, (1,), {"a": 3}, "multiple values for argument 'a'"),
    (only_positional, (), {"a": 1}, "'a'"),
    (functools.partial(two, 1), (2, 3), {}, "too many positional arguments"),
    (functools.partial(two, c=1), (2,), {}, "unexpected keyword argument 'c'"),
    (functools.partial(functools.partial(two, 1), 2), (3,), {}, "too many positional arguments"),
    (cached, (), {}, "missing a required argument: 'a'"),
    (Model, (), {}, "Model(size)"),
    (Model(1).fit, (), {}, "Model.fit(data)"),
    (Model.load, (), {}, "missing a required argument: 'path'"),
    (Model.help, (1, 2), {}, "too many positional arguments"),
    (Model(1), (), {}, "missing a required argument: 'x'"),
    (Settings, (1,), {"gamma": 1}, "unexpected keyword argument 'gamma'"),
    (Point, (1,), {}, "missing a required argument: 'y'"),
    (lambda x: x, (), {}, "<lambda>(x)"),
    (len, (), {}, "missing a required argument: 'obj'"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "args", "kwargs", "words"), WRONG)
def test_arguments_that_do_not_fit_are_named_with_the_line(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], words: str
) -> None:
    (problem,) = problems_of(function, *args, **kwargs)
    assert words in problem.message
    assert str(problem.where).startswith(f"{__file__}:")


def test_a_misspelt_keyword_meets_the_one_that_was_meant() -> None:
    (problem,) = problems_of(two, 1, flags=True)
    assert problem.hint == "did you mean 'flag'?"


RIGHT: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    (two, (1,), {}),
    (two, (), {"a": 1, "flag": True}),
    (anything, (1, 2), {"c": 3}),
    (with_connection, ("table",), {}),
    (functools.partial(two, b=1), (2,), {"b": 3}),
    (dict, (), {"function": 1, "args": 2}),  # tells no signature
    (max, (1, 2), {}),
    (print, (), {}),
    (Color, (1,), {}),
    (Lenient, (), {"extra": 1}),
    (Model.fit, (Model(1), "data"), {}),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), RIGHT)
def test_what_fits_or_cannot_be_told_passes(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    assert problems_of(function, *args, **kwargs) == []


def test_the_inputs_of_a_node_made_by_hand_are_its_arguments() -> None:
    def body() -> None:
        with af.job("j"):
            one = af.python(int)
            af.node("python", one, function=only_positional, name="fits")
            af.node("python", one, one, function=only_positional, name="does not")

    (problem,) = check_calls(af.workflow(body).build())
    assert "node 'does not'" in problem.message


def test_the_run_names_it_together_with_other_mistakes(project, cli) -> None:
    project.jobs(
        'with af.job("a"): af.python(two)\nwith af.job("b"): af.cmd("true")',
        "a: {platform: local, engine: python}\nzebra: {}\n",
        "def two(a, b): pass\n",
    )
    done = cli("render", project.root)
    assert done.returncode == 3
    assert (
        "workflow.py:6: two(a, b) cannot be called with the arguments of node 'two' in job 'a': missing" in done.stderr
    )
    assert "no job of the workflow is called 'zebra'" in done.stderr
