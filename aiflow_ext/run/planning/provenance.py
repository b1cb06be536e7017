"""What a run was made of: its parameters, the layers of its config, the digest of its code, and versions."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from aiflow_ext import __version__
from aiflow_ext.model.errors import CodeError
from aiflow_ext.model.jsonable import finite
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.planning.snapshot import OWN, needs_files
from aiflow_ext.translate.files import ProjectFiles, files_of, mode_of

# A --set of variables: it may hold a secret that somebody has written out.
_VARIABLES = re.compile(r"\benv\b")


def provenance_of(plan: Plan) -> dict[str, Any]:
    """A plan's provenance, as plain JSON in the shape that docs/json.md describes."""
    return {
        "parameters": finite(list(_parameters(plan))),
        "layers": [_without_variables(layer) for layer in plan.layers],
        "code": code_digest(plan),
        "versions": versions_of(plan),
    }


def _parameters(plan: Plan) -> Iterable[dict[str, Any]]:
    """The workflow's own, and the jobs' properties; jobs that have the same value from the same place are named
    together."""
    yield from ({**each, "from": _place(plan, each["from"])} for each in plan.parameters)
    found: dict[tuple[str, str | None], list[dict[str, Any]]] = {}  # by the name, and the place as the job has it
    for name, job in plan.jobs.items():
        properties = job.settings.get("properties")
        for key, value in properties.items() if isinstance(properties, Mapping) else ():
            place = job.where("properties", key)
            entries = found.setdefault((str(key), place), [])
            entry = next((each for each in entries if _is_same(each["value"], value)), None)
            if entry is None:
                entry = {"name": str(key), "value": value, "from": _place(plan, place), "jobs": []}
                entries.append(entry)
            entry["jobs"].append(name)
    for entries in found.values():
        yield from entries


def _is_same(one: Any, other: Any) -> bool:
    """Whether two values are the same in JSON, where 1, 1.0 and true are not."""
    return type(one) is type(other) and (
        json.dumps(one, default=str) == json.dumps(other, default=str)
        if isinstance(one, (Mapping, list, tuple))
        else bool(one == other)
    )


def _place(plan: Plan, place: str | None) -> str | None:
    """``file:line`` as seen from the project's folder, where it is in there; anything else as it is."""
    if place is None or place.startswith("-"):
        return place
    path = os.path.abspath(place)
    return os.path.relpath(path, plan.desc.root) if path.startswith(f"{plan.desc.root}{os.sep}") else place


def _without_variables(layer: str) -> str:
    key, equals, value = layer.partition("=")
    return f"{key}=..." if equals and layer.startswith("--set") and _VARIABLES.search(key + value) else layer


def code_digest(plan: Plan) -> str | None:
    """The sha256 of the names, modes and contents of all files that a run keeps of its project; None where they cannot
    be read."""
    sha256 = _sha256()
    try:
        if any(needs_files(job.sub_graph) for job in plan.jobs.values()):
            return digest_of(files_of(plan.desc))
        whole = sha256()
        for name in OWN:
            path = Path(plan.desc.root, name)
            if os.path.isfile(path):
                whole.update(_line(f"{name}\0{mode_of(path):o}\0{sha256(path.read_bytes()).hexdigest()}"))
    except (CodeError, OSError):  # a plugin that needs no archive works all the same
        return None
    return str(whole.hexdigest())


def digest_of(files: ProjectFiles) -> str:
    """The sha256 of the names, modes and contents of a project's files. Raises OSError."""
    whole = _sha256()()
    for name, path in files.files:
        whole.update(_line(f"{name}\0{mode_of(path):o}\0{files.digest(name, path)}"))
    for name, target in files.links:
        whole.update(_line(f"{name}\0link\0{target}"))
    return str(whole.hexdigest())


def _sha256() -> Callable[..., Any]:
    """As hashlib's, by CPython's own code where it is there: hashlib loads OpenSSL, 4 MiB of which a run needs nothing
    else."""
    for module in ("_sha2", "_sha256"):  # from 3.12 on, before
        try:
            found: Callable[..., Any] = importlib.import_module(module).sha256
            return found
        except (ImportError, AttributeError):
            continue
    import hashlib

    return hashlib.sha256


def _line(text: str) -> bytes:
    return f"{text}\n".encode("utf-8", "surrogateescape")


def versions_of(plan: Plan) -> dict[str, str]:
    """The versions of Python, of aiflow-ext, and of each distribution whose plugin runs a job, by name."""
    found = {"python": ".".join(map(str, sys.version_info[:3])), "aiflow-ext": __version__}
    for job in plan.jobs.values():
        found[job.resolved.record.distribution] = job.resolved.record.version
    return found
