"""Every structural mistake of a graph, found at once, before anything else happens."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice, pairwise
from typing import cast

from aiflow_ext.model.cycles import find_cycle
from aiflow_ext.model.errors import Problem
from aiflow_ext.model.graph import AIGraph, AINode, OutputFile, outputs_of
from aiflow_ext.model.spelling import near
from aiflow_ext.model.states import ExecutionMode
from aiflow_ext.translate.patterns import is_pattern

_REPRS = ("AINode(properties=", "NodeOutput object at ", "OutputFile(path=")  # how repr begins, and nobody else
MOST_CYCLES = 10  # reported at once: each costs one more pass over the graph
MOST_HINTS = 10  # near names looked for: each costs a comparison with every name
WHEN = ("finished", "failed", "any_failed", "ended", "running")


def listed(names: Collection[str], most: int = 10) -> str:
    """The names, the first ``most`` of them where there are many."""
    shown = ", ".join(islice(names, most))
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def check_graph(graph: AIGraph) -> list[Problem]:
    """What is wrong with ``graph``; empty where it can be split."""
    problems: list[Problem] = []
    if not graph.jobs:
        problems.append(Problem(f"workflow {graph.name!r} has no job", graph.where, 'open one: with af.job("name"):'))
    for section in graph.jobs.values():
        if len(section.where) > 1:
            problems.append(
                Problem(
                    f"job {section.name!r} is opened {len(section.where)} times: {', '.join(section.where)}",
                    section.where[1],
                    "open each job once, with all its nodes in it, or give the second one a name of its own",
                )
            )
    for node in graph.nodes:
        if node.job is None:
            problems.append(Problem(f"{_title(node)} is in no job", node.where, 'put it under a: with af.job("name"):'))
        _check_node(node, problems)
    _check_data(graph, problems)
    _check_control(graph, problems)
    _check_cycles(graph, problems)
    return problems


def check_keys(
    unused: Collection[str], jobs: Collection[str], where: Callable[[str], str], others: Collection[str] = ()
) -> list[Problem]:
    """Config keys that fit no job: none of ``jobs``, which are the workflow's, nor ``others``, of other workflows."""
    problems: list[Problem] = []
    known = f"the workflow's jobs are {listed([*map(repr, jobs)])}" if jobs else "the workflow has no jobs"
    for key in unused:
        verb = "fits" if is_pattern(key) else "is called"
        hint = (near(key, jobs) or near(key, others) or known) if len(problems) < MOST_HINTS else None
        problems.append(Problem(f"no job of the workflow {verb} {key!r}", where(key), hint))
    return problems


def check_streams(graph: AIGraph, modes: Mapping[str, ExecutionMode]) -> list[Problem]:
    """Data edges that leave a STREAM job: its artifacts would never be complete."""
    problems = []
    for edge in graph.data_edges:
        source, target = graph.nodes[edge.source], graph.nodes[edge.target]
        if source.job != target.job and modes.get(str(source.job)) is ExecutionMode.STREAM:
            problems.append(
                Problem(
                    f"job {target.job!r} reads {_title(source)} of job {source.job!r}, which is a STREAM job and "
                    "never completes it",
                    target.where,
                    "make it a BATCH job, or let the reader find the data by itself and order the two with run_after",
                )
            )
    return problems


_ATTRIBUTES = vars(AINode()).keys()


def _title(node: AINode) -> str:
    return f"node {node.name!r} ({node.kind})"


def _check_node(node: AINode, problems: list[Problem]) -> None:
    """What af.python and af.cmd see to by themselves; af.node takes anything."""
    if type(node) is AINode and (extra := vars(node).keys() - _ATTRIBUTES):
        problems.append(
            Problem(
                f"{_title(node)} was given an attribute {min(extra)!r}, which nothing reads",
                node.where,
                "give the function an argument, or the job a key in workflow.yaml",
            )
        )
    if _holds_repr(node.properties):
        problems.append(
            Problem(
                f"{_title(node)} is given a text with the repr of a node in it (by repr, !r, or a list in an f-string)",
                node.where,
                'give it the node itself: af.python(function, node), af.cmd("cat {x}", x=node)',
            )
        )
    if node.kind == "python" and not callable(node.properties.get("function")):
        hint = "make it with af.python(function, ...)"
        problems.append(Problem(f"{_title(node)} has no function to call", node.where, hint))
    if outputs_of(node) is None:
        return
    if node.kind == "cmd_line" and not node.properties.get("command"):
        hint = 'make it with af.cmd("...")'
        problems.append(Problem(f"{_title(node)} has no command", node.where, hint))
    keywords: dict[str, str] = {}
    command = node.properties.get("command") if node.kind == "cmd_line" else None
    parts = [command] if isinstance(command, str) else [str(part) for part in command or ()]
    for keyword, value in node.properties.get("names", {}).items():
        if parts and not any(f"{{{keyword}}}" in part for part in parts):
            problems.append(
                Problem(
                    f"the command of node {node.name!r} in job {node.job!r} does not use its keyword {keyword!r}",
                    node.where,
                    f"write {{{keyword}}} where it belongs, or take the keyword away",
                )
            )
        if isinstance(value, OutputFile) and (other := keywords.setdefault(value.path, keyword)) != keyword:
            problems.append(
                Problem(
                    f"outputs {other!r} and {keyword!r} of {_title(node)} are both called {value.path!r}",
                    node.where,
                    "give each output a file name of its own",
                )
            )


def _holds_repr(value: object) -> bool:
    """Whether a text in ``value`` holds what ``repr`` says of a node or an output, which is never what was meant."""
    if isinstance(value, str):
        return any(words in value for words in _REPRS)
    if type(value) in (list, tuple):
        return any(map(_holds_repr, cast("Iterable[object]", value)))
    return type(value) is dict and any(map(_holds_repr, value.values()))


def _check_data(graph: AIGraph, problems: list[Problem]) -> None:
    for edge in graph.data_edges:
        target = graph.nodes.get(edge.target)
        source = graph.nodes.get(edge.source)
        if source is None or target is None:
            lost, found = (edge.source, target) if source is None else (edge.target, source)
            problems.append(
                Problem(
                    f"{_title(found) if found else 'an edge'} is tied to {lost}, which is not in this graph",
                    found.where if found else None,
                    "use only nodes made in the same call of the workflow function",
                )
            )
            continue
        outputs = outputs_of(source)
        if outputs is None:
            if edge.output is not None:
                problems.append(
                    Problem(
                        f"{_title(source)} has one value and no output {edge.output!r}",
                        target.where,
                        "pass the node itself, and take the part that you need where it arrives",
                    )
                )
            continue
        if edge.output is not None and edge.output not in outputs:
            hint = near(edge.output, outputs) or f"its outputs are {', '.join(map(repr, outputs)) or 'none'}"
            problems.append(Problem(f"{_title(source)} has no output {edge.output!r}", target.where, hint))
        elif not outputs:
            problems.append(
                Problem(
                    f"{_title(target)} reads {_title(source)}, which writes no file",
                    target.where,
                    'declare one in the command: af.cmd("... > {out}", out=af.output("name"))'
                    if source.kind == "cmd_line"
                    else f'declare one: af.{source.kind}(..., out=af.output("name"))',
                )
            )
        elif edge.output is None and len(outputs) > 1:
            problems.append(
                Problem(
                    f"{_title(target)} reads {_title(source)}, which has several outputs",
                    target.where,
                    "say which: " + " or ".join(f"node[{name!r}]" for name in outputs),
                )
            )


def _check_control(graph: AIGraph, problems: list[Problem]) -> None:
    for edge in graph.control_edges:
        for name in (edge.source, edge.target):
            if name not in graph.jobs:
                hint = None
                if len(problems) < MOST_HINTS:
                    hint = near(str(name), graph.jobs) or f"the jobs are {listed([*map(repr, graph.jobs)]) or 'none'}"
                problems.append(Problem(f"run_after names a job {name!r} that the workflow lacks", edge.where, hint))
        if edge.when is not None and edge.when not in WHEN:
            hint = near(str(edge.when), WHEN) or f"it is one of {', '.join(WHEN)}"
            problems.append(Problem(f"when={edge.when!r} is no condition", edge.where, hint))
        if edge.source == edge.target:
            problems.append(Problem(f"job {edge.source!r} cannot wait for itself", edge.where))


def _check_cycles(graph: AIGraph, problems: list[Problem]) -> None:
    """Circles of jobs, by data and control edges together; and of nodes inside a job, which only a plugin can make."""
    job_of = {str(node.instance_id): node.job for node in graph.nodes}
    between: dict[tuple[str, str], str | None] = {}
    inside: dict[tuple[str, str], str | None] = {}
    for data in graph.data_edges:
        source, target = job_of.get(data.source), job_of.get(data.target)
        if source is not None and target is not None:
            where = graph.nodes[data.target].where
            if source == target:
                inside.setdefault((data.source, data.target), where)
            else:
                between.setdefault((source, target), where)
    for control in graph.control_edges:
        if control.source in graph.jobs and control.target in graph.jobs and control.source != control.target:
            between.setdefault((control.source, control.target), control.where)
    for what, names, edges in (("jobs", list(graph.jobs), between), ("nodes", list(job_of), inside)):
        left, reported = list(edges), 0
        while reported < MOST_CYCLES and (path := find_cycle(names, left)):
            reported += 1
            said = ", ".join(f"{a} -> {b} ({edges[a, b]})" for a, b in pairwise(path))
            problems.append(
                Problem(
                    f"the {what} wait for each other in a circle: {' -> '.join(path)}",
                    edges[path[0], path[1]] or graph.where,
                    f"take one of these edges away: {said}",
                )
            )
            gone = set(path)
            names = [name for name in names if name not in gone]
            left = [(a, b) for a, b in left if a not in gone and b not in gone]
