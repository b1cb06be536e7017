"""The interpreter that a job is reproduced by: which one it is, and whether it can open what the job was given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import aiflow_ext
from aiflow_ext.api.then_and_here import LOCAL, Difference
from aiflow_ext.engines.bundle import codes_of
from aiflow_ext.engines.programs import find_program
from aiflow_ext.model.artifact_record import ArtifactRecord
from aiflow_ext.model.code import Pickled
from aiflow_ext.model.errors import DataError, PlatformError, Problem
from aiflow_ext.model.graph import AISubGraph
from aiflow_ext.model.ran_with import RanWith
from aiflow_ext.run.operations.past_attempt import PastAttempt

PATIENCE = 60.0  # seconds for an interpreter to start
# By our own modules, whatever the interpreter has installed; what is installed is read without their folder.
_ASK = """
import json, os, sys
before = list(sys.path)
sys.path.insert(0, sys.argv[1])
from aiflow_ext.engines.ran_with import ran_with
sys.path[:] = before
print(json.dumps(ran_with()._asdict()))
"""
_OURS = os.path.dirname(os.path.dirname(aiflow_ext.__file__))


class Chosen(NamedTuple):
    """An interpreter: its path, and where it is not the one that the job's config names."""

    path: str
    differences: list[Difference]


def chosen(python: str | None, past: PastAttempt) -> Chosen:
    """The interpreter for an attempt.

    Args:
        python: the one that the user names; None: the one of the job's config, where the attempt was on this machine
            and that is there, else this process's, also for one that was in its client's process.
        past: the attempt.

    Raises PlatformError where ``python`` is not there.
    """
    if python is not None:
        found = _found(python)
        if found is None:
            raise PlatformError(f"there is no interpreter {python!r}", hint="give its full path: --python PATH")
        return Chosen(found, [])
    named = past.planned.config.python
    if named is None or past.platform != LOCAL:
        return Chosen(sys.executable, [])
    found = _found(named)
    if found is None:
        return Chosen(sys.executable, [Difference("interpreter", named, sys.executable)])
    return Chosen(found, [])


def _found(python: str) -> str | None:
    if os.sep not in python:
        return find_program(python)
    path = os.path.abspath(os.path.expanduser(python))
    return path if os.access(path, os.X_OK) and os.path.isfile(path) else None


def facts_of(python: str, env: Mapping[str, str]) -> RanWith:
    """What an interpreter tells of itself, started with these variables. Raises PlatformError where it cannot be
    started."""
    try:
        asked = subprocess.run([python, "-c", _ASK, _OURS], env=dict(env), stdin=subprocess.DEVNULL, cwd="/",
                               capture_output=True, timeout=PATIENCE, check=True)  # fmt: skip
        return RanWith.from_data(json.loads(asked.stdout))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        said = (getattr(error, "stderr", None) or b"").decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise PlatformError(f"{python} cannot be started as the job's Python: {said or error}",
                            hint="name another one: --python PATH") from error  # fmt: skip


def check_pickles(graph: AISubGraph, inputs: Iterable[tuple[str, ArtifactRecord]], facts: RanWith, python: str) -> None:
    """Raise DataError for functions and inputs that another Python has pickled, and this one cannot open.

    Args:
        graph: the job's.
        inputs: its inputs, by name.
        facts: of the interpreter.
        python: its path.
    """
    here = ".".join(str(facts.python).split(".")[:2])
    by = {name: record.python for name, record in inputs}
    for node in graph.nodes:
        by |= {code.what: code.python for code in codes_of(node.properties) if isinstance(code, Pickled)}
    wrong = {what: version for what, version in by.items() if version not in ("", here)}
    if not wrong:
        return
    problems = []
    for what, version in wrong.items():
        there = find_program(f"python{version}")
        hint = f"--python {there}" if there else f"name an interpreter of Python {version}: --python PATH"
        words = f"{what} was pickled by Python {version}, and {python} is Python {here}, which cannot open it"
        problems.append(Problem(words, hint=hint))
    raise DataError(problems=problems)
