"""What differs between two runs, or between a run and its project as it is now: config, graph, code, versions, results.

The answer is data, in the shape that docs/json.md describes. Nothing is changed, and no job's code is run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aiflow_ext.model.errors import AiflowError, CodeError, shown_path
from aiflow_ext.model.jsonable import decode, encode
from aiflow_ext.model.project import ProjectDesc
from aiflow_ext.run.operations.observe import Observed
from aiflow_ext.run.operations.origins import Place, origins
from aiflow_ext.run.operations.outputs import kept_of
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.planning.provenance import versions_of
from aiflow_ext.run.planning.snapshot import CONFIG, OWN, copy_of, names_in
from aiflow_ext.translate.files import files_of, mode_of

LONGEST_FILE = 1 << 20  # bytes of a file whose lines are compared
_MISSING = object()


class Side(NamedTuple):
    """One of the two that are compared.

    Attributes:
        label: what it is called: the run's id, or the project's folder.
        settings: by job, its config as it was written.
        where: of a job and a path in its config, ``file:line`` or the option that it is from, where that is known.
        edges: between jobs: source, target, when, and whether it is of data.
        steps: by job, its nodes and the edges between them, as plain JSON.
        code: the folder that has the files.
        files: their names in it.
        parameters: the workflow's own, by name: the value, and where it is from.
        versions: by name.
        results: by job and name, the sha256; None: not to be compared.
    """

    label: str
    settings: Mapping[str, Mapping[str, Any]]
    where: Place
    edges: frozenset[tuple[str, str, str | None, bool]]
    steps: Mapping[str, Any]
    code: Path | None
    files: frozenset[str]
    parameters: Mapping[str, tuple[Any, str]]
    versions: Mapping[str, str]
    results: Mapping[tuple[str, str], str] | None


def side_of_run(observed: Observed) -> Side:
    """A run of a store. Its plugins need not be installed; without them its results are not compared."""
    record = observed.record
    stored = observed.store.planned(observed.run_id)
    _, options = observed.store.plan(observed.run_id)
    settings = {name: decode(each["settings"]) for name, each in stored.items()}
    edges = [edge for each in stored.values() for edge in decode(each["edges"])]
    code = copy_of(observed.folder)
    files = frozenset[str]() if code is None else frozenset(names_in(ProjectDesc(root=str(code), include=["*"])))
    results: dict[tuple[str, str], str] | None = None
    try:
        results = {(place.job, place.name): kept.sha256 for place, kept in kept_of(observed.plan, record)}
    except AiflowError:
        pass  # a plugin is not installed any more, or refuses what is stored
    return Side(
        record.run_id, settings, origins(record, code, options, settings), frozenset(map(_edge, edges)),
        {name: _without_places(each["graph"]) for name, each in stored.items()}, code, files,
        _parameters(record.provenance.get("parameters", ())), record.provenance.get("versions", {}), results,
    )  # fmt: skip


def side_of_plan(plan: Plan) -> Side:
    """A project as it was planned just now; it has no results."""
    graphs = {name: job.sub_graph.to_json() for name, job in plan.jobs.items()}
    try:
        found = files_of(plan.desc)
        names = frozenset(name for name, _ in (*found.files, *found.links))
    except CodeError:
        names = frozenset()
    return Side(
        shown_path(plan.desc.root), {name: job.settings for name, job in plan.jobs.items()},
        lambda job, path: plan.jobs[job].where(*path) if job in plan.jobs else None,
        frozenset(_edge(edge) for job in plan.jobs.values() for edge in job.edges),
        {name: _without_places(encode({key: graph[key] for key in graph if key != "config"}))
         for name, graph in graphs.items()},
        Path(plan.desc.root), names, _parameters(plan.parameters), versions_of(plan), None,
    )  # fmt: skip


def differences(one: Side, other: Side) -> dict[str, Any]:
    """What differs; each list and mapping of it is empty where nothing does. ``same``: whether that is so of all."""
    graph = _graph(one, other)
    found = {
        "parameters": [
            {"name": name, "values": [value for value, _ in both], "where": [place for _, place in both]}
            for name in dict.fromkeys([*one.parameters, *other.parameters])
            if (both := [side.parameters.get(name, (None, None)) for side in (one, other)]) and both[0][0] != both[1][0]
        ],
        "config": _config(one, other),
        "graph": graph,
        "code": list(_code(one, other)),
        "versions": {
            name: [one.versions.get(name), other.versions.get(name)]
            for name in (dict.fromkeys([*one.versions, *other.versions]) if one.versions and other.versions else ())
            if one.versions.get(name) != other.versions.get(name)
        },
        "results": _results(one, other),
    }
    same = not any(graph.values()) and not any(each for key, each in found.items() if key != "graph")
    return {"runs": [one.label, other.label], "same": same, **found}


def _parameters(recorded: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Any, str]]:
    return {each["name"]: (each["value"], each["from"]) for each in recorded if not each["jobs"]}


def _edge(edge: Any) -> tuple[str, str, str | None, bool]:
    return edge.source, edge.target, edge.when, edge.data


def _without_places(data: Any) -> Any:
    """Encoded data without the lines that made it, which change with every line above them."""
    if isinstance(data, dict):
        return {key: _without_places(value) for key, value in data.items() if key != "where"}
    return [_without_places(each) for each in data] if isinstance(data, list) else data


def _config(one: Side, other: Side) -> list[dict[str, Any]]:
    """The keys that differ, in the jobs that both have; jobs in which one differs in the same way are put together."""
    found: dict[str, dict[str, Any]] = {}
    for job in one.settings:
        if job not in other.settings:
            continue
        sides = [dict(_flat(side.settings[job])) for side in (one, other)]
        for path in dict.fromkeys([*sides[0], *sides[1]]):
            values = [each.get(path, _MISSING) for each in sides]
            if values[0] == values[1] and type(values[0]) is type(values[1]):
                continue
            where = [
                side.where(job, path) if value is not _MISSING else None
                for side, value in zip((one, other), values, strict=True)
            ]
            entry = {
                "key": ".".join(map(str, path)),
                "values": [None if value is _MISSING else value for value in values],
                "where": where,
            }
            found.setdefault(json.dumps(entry, default=str), {"jobs": [], **entry})["jobs"].append(job)
    return list(found.values())


def _flat(value: Mapping[Any, Any], path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from _flat(inner, (*path, key))
        else:
            yield (*path, key), inner


def _graph(one: Side, other: Side) -> dict[str, list[Any]]:
    both = [job for job in one.steps if job in other.steps]
    return {
        "removed": [job for job in one.steps if job not in other.steps],
        "added": [job for job in other.steps if job not in one.steps],
        "changed": [
            job
            for job in both
            if _text(one.steps[job]) != _text(other.steps[job])
            and not _same(one.steps[job], other.steps[job], _moved(one, other, job))
        ],
        "edges_removed": [_shown(edge) for edge in sorted(one.edges - other.edges, key=str)],
        "edges_added": [_shown(edge) for edge in sorted(other.edges - one.edges, key=str)],
    }


def _moved(one: Side, other: Side, job: str) -> Container[tuple[str, str]]:
    """The values of each property of a job in the two sides, where they differ: a step that took them has not changed,
    its config has."""
    values = [dict(_nested(side.settings[job].get("properties"))) for side in (one, other)]
    return {
        (text, there)
        for path, text in values[0].items()
        if (there := values[1].get(path)) is not None and text != there
    }


def _nested(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield (*path, key), _text(inner)
            yield from _nested(inner, (*path, key))


def _same(one: Any, other: Any, moved: Container[tuple[str, str]]) -> bool:
    """Whether plain JSON is the same, but for values that have ``moved`` with the config."""
    if type(one) is type(other) is dict and one.keys() == other.keys():
        if all(_same(value, other[key], moved) for key, value in one.items()):
            return True
    elif type(one) is type(other) is list and len(one) == len(other):
        if all(_same(*pair, moved) for pair in zip(one, other, strict=True)):
            return True
    elif type(one) is type(other) and one == other:
        return True
    return (_text(one), _text(other)) in moved


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _shown(edge: tuple[str, str, str | None, bool]) -> dict[str, Any]:
    return dict(zip(("source", "target", "when", "data"), edge, strict=True))


def _code(one: Side, other: Side) -> Iterator[dict[str, Any]]:
    """The files that differ, each with a unified diff of its lines; None where it has none to show."""
    if one.code is None or other.code is None:
        return
    names = one.files | other.files
    if CONFIG in (one.code.name, other.code.name):  # a run whose jobs need no files keeps these alone
        names &= {*OWN}
    for name in sorted(names):
        before, after = (
            _content(folder / name) if name in files else ("missing", b"")
            for folder, files in ((one.code, one.files), (other.code, other.files))
        )
        if before != after:
            yield {"file": name, "diff": _unified(name, before[1], after[1])}


def _content(path: Path) -> tuple[Any, ...]:
    """What jobs see of a file: its mode, or that it is a link, and its bytes, or a digest of many; where it is a link,
    where to."""
    if path.is_symlink():
        return "link", os.path.relpath(os.path.realpath(path), os.path.realpath(path.parent)).encode()
    try:
        if path.stat().st_size <= LONGEST_FILE:
            return mode_of(path), path.read_bytes()
        import hashlib

        with open(path, "rb") as file:
            whole = hashlib.sha256()
            while chunk := file.read(1 << 20):
                whole.update(chunk)
        return mode_of(path), None, whole.digest()
    except OSError as error:
        return "unreadable", None, str(error.strerror)


def _unified(name: str, before: bytes | None, after: bytes | None) -> str | None:
    import difflib

    if before is None or after is None or b"\0" in before + after:
        return None
    try:
        one, other = (text.decode().splitlines(keepends=True) for text in (before, after))
    except UnicodeDecodeError:
        return None
    made = []
    for line in difflib.unified_diff(one, other, f"a/{name}", f"b/{name}"):
        made.append(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n")
    return "".join(made) or None


def _results(one: Side, other: Side) -> list[dict[str, Any]]:
    if one.results is None or other.results is None:
        return []
    found = []
    for job, name in dict.fromkeys([*one.results, *other.results]):
        both = [one.results.get((job, name)), other.results.get((job, name))]
        if both[0] != both[1]:
            found.append({"job": job, "name": name, "sha256": both})
    return found
