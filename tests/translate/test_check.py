"""Every structural mistake of a graph is found, all at once, with names and the author's file:line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

import aiflow_ext as af
from aiflow_ext.model.errors import Problem
from aiflow_ext.model.graph import OutputFile
from aiflow_ext.translate.check import check_graph, check_keys, check_streams


def build(body: Callable[[], Any]) -> af.AIGraph:
    return af.workflow(body).build()


def check(body: Callable[[], Any]) -> list[Problem]:
    return check_graph(build(body))


def here(back: int = 0) -> str:
    return f"{__file__}:{sys._getframe(1).f_lineno - back}"


def only(problems: list[Problem]) -> Problem:
    (problem,) = problems
    return problem


def test_a_sound_graph_has_no_problem() -> None:
    def body() -> None:
        with af.job("a"):
            x = af.python(len)
        with af.job("b"):
            made = af.cmd("c {x} {o} {p}", x=x, o=af.output("o"), p=af.output("p"))
            af.cmd("c {x}", x=made["p"])
        af.run_after("b", "a", when="running")

    assert check(body) == []


def test_a_cycle_through_data_and_control_edges_is_named_with_the_line_of_each_edge() -> None:
    lines = []

    def body() -> None:
        with af.job("prepare"):
            data = af.python(len)
        with af.job("train"):
            af.python(len, data)
            lines.append(here(1))
        with af.job("report"):
            af.python(len)
        af.run_after("report", "train")
        lines.append(here(1))
        af.run_after("prepare", "report", when="ended")
        lines.append(here(1))

    problem = only(check(body))
    assert "the jobs wait for each other in a circle: " in problem.message
    path = problem.message.partition("circle: ")[2].split(" -> ")
    assert path[0] == path[-1]
    assert set(path) == {"prepare", "train", "report"}
    assert problem.where in lines
    for edge, line in zip(("prepare -> train", "train -> report", "report -> prepare"), lines, strict=True):
        assert f"{edge} ({line})" in str(problem.hint)


def test_two_circles_are_both_told() -> None:
    def body() -> None:
        for name in "abcde":
            with af.job(name):
                af.cmd("true")
        for job, upstream in ("ab", "ba", "cd", "dc", "ea", "ce"):
            af.run_after(job, upstream)

    paths = [problem.message.partition("circle: ")[2].split(" -> ") for problem in check(body)]
    assert sorted(sorted(set(path)) for path in paths) == [["a", "b"], ["c", "d"]]


def test_many_circles_are_not_told_for_ever() -> None:
    def body() -> None:
        for number in range(300):
            with af.job(f"j{number}"):
                af.cmd("true")
        for number in range(0, 300, 2):
            af.run_after(f"j{number}", f"j{number + 1}")
            af.run_after(f"j{number + 1}", f"j{number}")

    assert len(check(body)) == 10


def test_nodes_of_one_job_that_wait_for_each_other_are_named() -> None:
    graph = af.AIGraph("made by hand")
    for name in "xy":
        graph.add_node(af.AINode("kind", {}, name, f"j/{name}", "j", f"w.py:{name}"))
    graph.add_edge(af.DataEdge("j/x", "j/y"))
    graph.add_edge(af.DataEdge("j/y", "j/x"))
    problem = only(check_graph(graph))
    assert "the nodes wait for each other in a circle" in problem.message
    assert "j/x -> j/y (w.py:y)" in str(problem.hint)


def test_an_attribute_that_nothing_reads_is_named() -> None:
    def body() -> None:
        with af.job("a"):
            af.cmd("true").retries = 3  # type: ignore[attr-defined]

    (problem,) = check_graph(af.workflow(body).build())
    assert problem.message == "node 'cmd' (cmd_line) was given an attribute 'retries', which nothing reads"


@pytest.mark.parametrize(
    "use",
    [
        lambda node, made: af.python(print, f"of {node!r}"),
        lambda node, made: af.python(print, {"text": [f"{[node]}"]}),
        lambda node, made: af.python(print, text=f"{made['o']!r}"),
        lambda node, made: af.cmd(f"cat {[node]}"),
        lambda node, made: af.cmd(["cat", f"{af.output('o')!r}"]),
        lambda node, made: af.cmd("cat {x}", x=repr(node)),
        lambda node, made: af.node("sql", text=f"select {node!r}"),
    ],
)
def test_a_text_with_the_repr_of_a_node_in_it_is_named(use: Callable[[Any, Any], Any]) -> None:
    def body() -> None:
        with af.job("a"):
            node, made = af.python(len, ()), af.cmd("x > {o}", o=af.output("o"))
        with af.job("b"):
            use(node, made)

    problem = only(check(body))
    assert "repr of a node" in problem.message
    assert problem.where is not None
    assert problem.where.startswith(f"{__file__}:")


def test_a_node_in_no_job_is_named() -> None:
    lines = []

    def body() -> None:
        with af.job("a"):
            af.python(len)
        af.python(sum)
        lines.append(here(1))

    problem = only(check(body))
    assert (problem.message, problem.where) == ("node 'sum' (python) is in no job", lines[0])


def test_a_job_opened_twice_is_named_with_both_places() -> None:
    lines = []

    def body() -> None:
        for _ in range(2):
            with af.job("a"):
                lines.append(here(1))
                af.cmd("true")

    problem = only(check(body))
    assert "job 'a' is opened 2 times" in problem.message
    assert problem.where == lines[1]


def test_a_node_of_another_graph_is_named_with_where_it_was_made() -> None:
    kept: list[Any] = []

    def first() -> None:
        with af.job("a"):
            kept.append(af.python(sum))

    build(first)

    def body() -> None:
        with af.job("b"):
            af.python(len, kept[0])
            kept.append(here(1))

    problem = only(check(body))
    assert "node 'len' (python) is tied to a/sum (of another graph" in problem.message
    assert kept[0].where in problem.message
    assert problem.where == kept[1]


@pytest.mark.parametrize(
    ("body", "words", "hint"),
    [
        (lambda: af.run_after("trian", "prepare"), "a job 'trian' that the workflow lacks", "did you mean 'train'?"),
        (lambda: af.run_after("train", "zzz"), "names a job 'zzz'", "the jobs are 'prepare', 'train'"),
        (lambda: af.run_after("train", "prepare", when="finish"), "when='finish' is no condition", "'finished'"),
        (lambda: af.run_after("train", "prepare", when="zzz"), "when='zzz'", "finished, failed, any_failed, ended"),
        (lambda: af.run_after("train", "prepare", when=3), "when=3 is no condition", "finished"),  # type: ignore[arg-type]
        (lambda: af.run_after("train", "train"), "job 'train' cannot wait for itself", ""),
    ],
)
def test_a_wrong_control_edge_is_named_with_its_cure(body: Callable[[], Any], words: str, hint: str) -> None:
    def whole() -> None:
        for name in ("prepare", "train"):
            with af.job(name):
                af.cmd("true")
        body()

    problem = only(check(whole))
    assert words in problem.message
    assert hint in (problem.hint or "")
    assert problem.where == f"{__file__}:{body.__code__.co_firstlineno}"


def one_output() -> Any:
    return af.cmd("c {out}", out=af.output("o"))


def two_outputs() -> Any:
    return af.cmd("c {model} {report}", model=af.output("m"), report=af.output("r"))


@pytest.mark.parametrize(
    ("read", "words", "hint"),
    [
        (lambda: af.cmd("c"), "reads node 'cmd' (cmd_line), which writes no file", "af.output"),
        (two_outputs, "which has several outputs", "node['model'] or node['report']"),
        (lambda: two_outputs()["modle"], "node 'cmd' (cmd_line) has no output 'modle'", "did you mean 'model'?"),
        (lambda: one_output()["x"], "has no output 'x'", "its outputs are 'out'"),
        (lambda: af.python(len)["x"], "node 'len' (python) has one value and no output 'x'", "pass the node itself"),
    ],
)
def test_a_wrong_data_edge_is_named_with_its_cure(read: Callable[[], Any], words: str, hint: str) -> None:
    lines = []

    def body() -> None:
        with af.job("a"):
            node = read()
        with af.job("b"):
            af.python(sum, node)
            lines.append(here(1))

    problem = only(check(body))
    assert words in problem.message
    assert hint in (problem.hint or "")
    assert problem.where == lines[0]


def test_two_outputs_of_one_file_name_are_named() -> None:
    def body() -> None:
        with af.job("a"):
            af.cmd("c {x} {y}", x=af.output("same"), y=af.output("same"))

    assert "outputs 'x' and 'y' of node 'cmd' (cmd_line) are both called 'same'" in only(check(body)).message


def test_nodes_made_by_hand_without_what_their_kind_needs_are_named() -> None:
    def body() -> None:
        with af.job("a"):
            af.node("python")
            af.node("cmd_line", names={"o": OutputFile("x")})
            af.node("flink", anything=1)

    assert [problem.message for problem in check(body)] == [
        "node 'python' (python) has no function to call",
        "node 'cmd_line' (cmd_line) has no command",
    ]


def test_a_workflow_without_a_job_is_reported() -> None:
    problem = only(check(lambda: None))
    assert "has no job" in problem.message
    assert str(problem.where).startswith(__file__)


def test_every_mistake_is_reported_at_once() -> None:
    kept: list[Any] = []

    def other() -> None:
        with af.job("z"):
            kept.append(af.python(len))

    build(other)

    def body() -> None:
        af.python(len)
        for _ in range(2):
            with af.job("twice"):
                af.python(len, kept[0])
        with af.job("a"):
            made = two_outputs()
        with af.job("b"):
            af.python(len, made)
        af.run_after("a", "b")
        af.run_after("a", "nowhere", when="some day")

    told = "\n".join(map(str, check(body)))
    for words in (
        "in no job", "opened 2 times", "of another graph", "several outputs", "circle: ", "'nowhere'", "'some day'",
    ):  # fmt: skip
        assert words in told


def test_config_keys_that_fit_no_job_are_named_with_their_neighbours() -> None:
    problems = check_keys(
        ["trian", "zebra", "trian-*", "REPORT"], ["train", "report"], lambda key: f"w.yaml:{len(key)}"
    )
    assert [(p.message, p.where) for p in problems] == [
        ("no job of the workflow is called 'trian'", "w.yaml:5"),
        ("no job of the workflow is called 'zebra'", "w.yaml:5"),
        ("no job of the workflow fits 'trian-*'", "w.yaml:7"),
        ("no job of the workflow is called 'REPORT'", "w.yaml:6"),
    ]
    assert [problem.hint for problem in problems] == [
        "did you mean 'train'?",
        "the workflow's jobs are 'train', 'report'",
        "did you mean 'train'?",
        "did you mean 'report'?",
    ]


def test_of_several_workflows_the_jobs_of_the_chosen_one_are_listed() -> None:
    problems = check_keys(["zebra", "trian"], ["report"], lambda key: "w.yaml:1", {"train"})
    assert [problem.hint for problem in problems] == ["the workflow's jobs are 'report'", "did you mean 'train'?"]


def test_a_keyword_that_its_command_does_not_use_is_told_beside_other_mistakes() -> None:
    lines = []

    def body() -> None:
        with af.job("report"):
            af.cmd("cat {modle}", model="x", k=1)
            lines.append(here(1))
            af.cmd(["cat", "{x}", "{properties.x}"], x=1)
        af.run_after("report", "train")

    problems = check(body)
    assert [problem.message for problem in problems] == [
        "the command of node 'cmd' in job 'report' does not use its keyword 'model'",
        "the command of node 'cmd' in job 'report' does not use its keyword 'k'",
        "run_after names a job 'train' that the workflow lacks",
    ]
    assert (problems[0].where, problems[0].hint) == (
        lines[0], "write {model} where it belongs, or take the keyword away"
    )  # fmt: skip


def test_reading_a_stream_jobs_value_is_named_and_ordering_after_it_is_not() -> None:
    lines = []

    def body() -> None:
        with af.job("feed"):
            fed = af.python(len)
            af.python(len, fed)
        with af.job("train"):
            af.python(sum, fed)
            lines.append(here(1))
        with af.job("watch"):
            af.cmd("true")
        af.run_after("watch", "feed")

    graph = build(body)
    modes = {"feed": af.ExecutionMode.STREAM, "train": af.ExecutionMode.BATCH, "watch": af.ExecutionMode.STREAM}
    problem = only(check_streams(graph, modes))
    assert "job 'train' reads node 'len' (python) of job 'feed', which is a STREAM job" in problem.message
    assert problem.where == lines[0]
    assert check_streams(graph, {}) == []
