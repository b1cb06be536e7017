"""The words of a workflow author: what they build, and what is told where, in the author's own file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import aiflow_ext as af
from aiflow_ext.model.errors import GraphError
from aiflow_ext.model.graph import InputRef, OutputFile


def build(body: Callable[[], Any]) -> af.AIGraph:
    return af.workflow(body).build()


def here() -> int:
    return sys._getframe(1).f_lineno


def test_nodes_in_nested_containers_become_inputs_in_order() -> None:
    def body() -> None:
        with af.job("j"):
            a, b = af.python(len), af.python(len)
            af.python(print, [a, {"k": (b, 1)}], "x", last=a)

    graph = build(body)
    node = graph.nodes["j/print"]
    assert node.properties["args"] == [[InputRef(0), {"k": (InputRef(1), 1)}], "x"]
    assert node.properties["kwargs"] == {"last": InputRef(2)}
    assert [(edge.source, edge.input) for edge in graph.data_edges] == [("j/len", 0), ("j/len-2", 1), ("j/len", 2)]


def test_a_commands_outputs_are_told_apart_by_keyword() -> None:
    def body() -> None:
        with af.job("j"):
            split = af.cmd("x {a} {b}", a=af.output("a.txt"), b=af.output("b.txt"))
            af.cmd("y {p}", p=split["b"])

    graph = build(body)
    assert graph.nodes["j/cmd"].properties["names"] == {"a": OutputFile("a.txt"), "b": OutputFile("b.txt")}
    assert graph.data_edges == [af.DataEdge("j/cmd", "j/cmd-2", 0, "b")]


def test_taking_a_node_apart_says_what_a_node_is() -> None:
    def body() -> None:
        with af.job("j"):
            _a, _b = af.python(divmod, 7, 2)

    with pytest.raises(TypeError, match=r"node 'divmod' stands for one value .* node\[\"out\"\]"):
        build(body)


def test_every_call_is_kept_with_the_callers_own_line() -> None:
    lines = []

    def body() -> None:
        with ExitStack() as stack:
            stack.enter_context(af.job("first"))
            af.python(len, "x")
            lines.append(here() - 1)
            af.cmd("true")
            lines.append(here() - 1)
            af.node("kind")
            lines.append(here() - 1)
        with af.job("second"):
            lines.append(here() - 1)
        af.run_after("second", "first")
        lines.append(here() - 1)

    graph = build(body)
    told = [node.where for node in graph.nodes] + graph.jobs["second"].where + [graph.control_edges[0].where]
    assert told == [f"{__file__}:{line}" for line in lines]
    assert graph.where == f"{__file__}:{body.__code__.co_firstlineno}"


def test_jobs_do_not_nest() -> None:
    def body() -> None:
        with af.job("outer"), af.job("inner"):
            pass

    with pytest.raises(GraphError, match="job 'inner' is opened inside job 'outer'; jobs do not nest") as caught:
        build(body)
    assert caught.value.problems[0].where == f"{__file__}:{body.__code__.co_firstlineno + 1}"


def test_a_job_is_closed_when_its_block_raises() -> None:
    def body() -> None:
        try:
            with af.job("a"):
                raise KeyError
        except KeyError:
            pass
        with af.job("b"):
            af.cmd("true")

    assert [node.job for node in build(body).nodes] == ["b"]


OUTSIDE: list[Callable[[], Any]] = [
    lambda: af.python(len),
    lambda: af.cmd("true"),
    lambda: af.node("x"),
    lambda: af.run_after("a", "b"),
    lambda: af.job("a").__enter__(),
]


@pytest.mark.parametrize("call", OUTSIDE)
def test_outside_a_workflow_every_word_says_where_it_belongs(call: Callable[[], Any]) -> None:
    with pytest.raises(GraphError, match="called outside a workflow") as caught:
        call()
    assert str(caught.value.problems[0].where).startswith(__file__)
    assert "@af.workflow" in str(caught.value)


WRONG: list[tuple[str, Callable[[], Any]]] = [
    ("a job's name is a non-empty string", lambda: af.job("").__enter__()),
    ("af.python takes a function first, not 'fit'", lambda: af.python("fit")),  # type: ignore[arg-type]
    ("a command is a string or a list of strings", lambda: af.cmd("")),
    ("a command is a string or a list of strings", lambda: af.cmd(["ls", object()])),
    ("give it the function itself", lambda: af.python(af.python(len))),  # type: ignore[arg-type]
    ("a command is a string or a list of strings, not 3", lambda: af.cmd(3)),  # type: ignore[arg-type]
    ("a command is a string or a list of strings, not b'ls'", lambda: af.cmd(b"ls")),
    ("a command is a string or a list of strings, not PosixPath", lambda: af.cmd(Path("ls"))),  # type: ignore[arg-type]
    ("what it uses is given by keyword", lambda: af.cmd(["cat", af.python(len)])),
    ("a file name without folders, not 'a/b'", lambda: af.output("a/b")),
    ("a file name without folders, not '..'", lambda: af.output("..")),
    ("a file name without folders", lambda: af.output("x" * 300)),
    ("a file name without folders, not 5", lambda: af.output(5)),  # type: ignore[arg-type]
    ("a node's name is a non-empty string without slashes", lambda: af.node("x", name="a/b")),
    ("an input is a node, not 'a'", lambda: af.node("x", "a")),  # type: ignore[arg-type]
    ("takes the names of jobs, not node 'len'", lambda: af.run_after("a", af.python(len))),  # type: ignore[arg-type]
    ("takes the names of jobs, not 3", lambda: af.run_after("a", 3)),  # type: ignore[arg-type]
    ("takes the names of jobs, not None", lambda: af.run_after(None, "a")),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("words", "call"), WRONG, ids=[words[-40:] for words, _ in WRONG])
def test_what_makes_no_sense_is_reported_in_the_authors_own_line(words: str, call: Callable[[], Any]) -> None:
    with pytest.raises(GraphError) as caught:
        build(call)
    assert words in str(caught.value)
    assert str(caught.value.problems[0].where).startswith(f"{__file__}:")


def test_keywords_named_like_our_own_parameters_are_the_users() -> None:
    def body() -> None:
        with af.job("j"):
            af.python(dict, function=1, args=2)
            af.cmd("echo {command}", command="x")

    python, cmd = build(body).nodes
    assert python.properties["kwargs"] == {"function": 1, "args": 2}
    assert cmd.properties["names"] == {"command": "x"}


def test_a_job_name_with_a_slash_keeps_its_nodes_names_whole() -> None:
    def body() -> None:
        with af.job("a/b"):
            af.python(len)

    (node,) = build(body).nodes
    assert (node.name, node.instance_id) == ("len", "a/b/len")


def test_a_thousand_nodes_of_one_name_are_numbered_and_cost_a_pass() -> None:
    def body() -> None:
        with af.job("j"):
            af.node("cmd", name="cmd-3")
            for _ in range(20_000):
                af.node("cmd")

    nodes = build(body).nodes
    assert len(nodes) == 20_001
    assert [node.name for node in nodes][1:4] == ["cmd", "cmd-2", "cmd-4"]


def test_each_build_is_a_new_graph_and_one_inside_another_is_its_own() -> None:
    @af.workflow(name="inner")
    def inner() -> None:
        with af.job("i"):
            af.cmd("true")

    def body() -> None:
        with af.job("o"):
            af.cmd("true")
            assert list(inner().jobs) == ["i"]
            af.cmd("true")

    assert [node.job for node in build(body).nodes] == ["o", "o"]
    assert inner.build() is not inner.build()


def test_a_workflow_that_would_not_run_when_called_is_refused() -> None:
    async def waits() -> None: ...

    def yields() -> Any:
        yield

    for function in (waits, yields):
        with pytest.raises(GraphError, match="is a generator or async"):
            af.workflow(function)
    with pytest.raises(GraphError, match="takes a function"):
        af.workflow(7)  # type: ignore[arg-type]
