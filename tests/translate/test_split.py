"""Splitting a graph into jobs: the same as a split written without a thought for speed, on random graphs."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aiflow_ext as af
from aiflow_ext.model.cycles import find_cycle
from aiflow_ext.model.graph import OutputFile
from aiflow_ext.translate.check import check_graph
from aiflow_ext.translate.split import JobGraph, split


def random_graph(seed: int, nodes: int = 30, jobs: int = 6) -> af.AIGraph:
    """A graph without a cycle: edges run from lower to higher jobs, and inside a job from older to newer nodes."""
    chance = random.Random(seed)
    graph = af.AIGraph("random")
    for number in range(nodes):
        kind = chance.choice(["python", "cmd_line"])
        keywords = {"n": 1, "out": OutputFile("o")}
        properties = {"function": len} if kind == "python" else {"command": "echo {n} > {out}", "names": keywords}
        graph.add_node(af.AINode(kind, properties, f"n{number}", f"n{number}", f"j{chance.randrange(jobs)}"))
    made = list(graph.nodes)
    for target in made:
        before = [n for n in made if (n.job, int(n.name[1:])) < (target.job, int(target.name[1:]))]
        for position, source in enumerate(chance.sample(before, min(len(before), chance.randrange(4)))):
            graph.add_edge(af.DataEdge(source.instance_id, target.instance_id, position))
    names = sorted(graph.jobs)
    for _ in range(chance.randrange(6)):
        if len(names) > 1:
            source, target = sorted(chance.sample(names, 2))
            graph.add_edge(af.ControlEdge(source, target, chance.choice([None, "finished", "ended", "running"])))
    return graph


@pytest.mark.parametrize("seed", range(60))
def test_the_split_is_what_looking_at_every_pair_gives(seed: int) -> None:
    graph = random_graph(seed)
    assert check_graph(graph) == []
    jobs = split(graph)
    job_of = {node.instance_id: node.job for node in graph.nodes}
    assert list(jobs.sub_graphs) == list(graph.jobs)
    for name, part in jobs.sub_graphs.items():
        data = graph.data_edges
        assert [node.instance_id for node in part.nodes] == [id for id in job_of if job_of[id] == name]
        pairs = lambda edges: [(e.source, e.target, e.input) for e in edges]  # noqa: E731
        assert pairs(part.edges) == pairs(e for e in data if job_of[e.source] == name == job_of[e.target])
        assert pairs(part.inputs) == pairs(e for e in data if job_of[e.source] != name == job_of[e.target])
        assert set(part.outputs) == {e.source for e in data if job_of[e.source] == name != job_of[e.target]}
        assert len(part.outputs) == len(set(part.outputs))
        for edge in (*part.edges, *part.inputs):
            assert edge.output == ("out" if graph.nodes[edge.source].kind == "cmd_line" else None)
    between = {(job_of[e.source], job_of[e.target]) for e in graph.data_edges} - {(name, name) for name in graph.jobs}
    expected = {(source, target, None) for source, target in between}
    expected |= {(edge.source, edge.target, edge.when) for edge in graph.control_edges}
    assert sorted(map(str, expected)) == sorted(str((e.source, e.target, e.when)) for e in jobs.edges)
    assert {(e.source, e.target) for e in jobs.edges if e.data} == between
    for name, edges in jobs.upstream().items():
        assert edges == [edge for edge in jobs.edges if edge.target == name]


def test_a_split_graph_is_data() -> None:
    jobs = split(_without_functions(random_graph(1)))
    assert af.loads(af.dumps(jobs), expect=JobGraph) == jobs


def _without_functions(graph: af.AIGraph) -> af.AIGraph:
    for node in graph.nodes:
        node.properties = {key: value for key, value in node.properties.items() if key != "function"}
    return graph


EDGES = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=16)


@settings(deadline=None)
@given(EDGES)
def test_a_cycle_is_found_exactly_where_there_is_one(pairs: list[tuple[int, int]]) -> None:
    names = [str(number) for number in range(8)]
    edges = [(str(a), str(b)) for a, b in pairs]
    reachable = {name: {b for a, b in edges if a == name} for name in names}
    for _ in names:
        reachable = {name: found.union(*(reachable[each] for each in found)) for name, found in reachable.items()}
    path = find_cycle(names, edges)
    assert bool(path) == any(name in found for name, found in reachable.items())
    if path:
        assert path[0] == path[-1]
        assert len(set(path[:-1])) == len(path) - 1
        assert all(step in edges for step in pairwise(path))


def test_a_long_chain_of_jobs_is_no_deep_recursion() -> None:
    names = [str(number) for number in range(20_000)]
    edges = list(pairwise(names))
    assert find_cycle(names, edges) == []
    assert len(find_cycle(names, [*edges, (names[-1], names[0])])) == 20_001
