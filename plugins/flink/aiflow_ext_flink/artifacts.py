"""The artifacts of a program on a cluster: aiflow-ext's runner brings and keeps them, and Flink is its command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import aiflow_ext.plugin as af
from aiflow_ext.plugin import ExecutionMode, Problem
from aiflow_ext.plugin.authoring import InputRef, OutputFile
from aiflow_ext_flink.program import Program


def names_of(program: Program) -> dict[str, InputRef | OutputFile]:
    """The artifacts that a program reads and writes, by keyword."""
    return {name: value for name, value in program.names.items() if isinstance(value, (InputRef, OutputFile))}


def payload(made: bytes, program: Program, command: Sequence[str]) -> str:
    """What the runner is given: the job's node as a command. It puts the paths of artifacts in.

    Args:
        made: the payload of the job's bundle.
        program: what it runs.
        command: that runs Flink, with the placeholders of artifacts.
    """
    found = af.loads(made.decode())
    (step,) = found["steps"]
    step["properties"] = {"command": list(command), "names": names_of(program)}
    return af.dumps(found)


def stream_problems(name: str, mode: ExecutionMode, program: Program) -> Iterator[Problem]:
    """An artifact that a STREAM job is to write. ``name`` is the job's."""
    if program.outputs and mode is ExecutionMode.STREAM:
        yield Problem(
            f"job {name!r}: {', '.join(sorted(program.outputs))} is to be an artifact of a STREAM job, whose attempts "
            "go on in the files of those before them",
            where=program.where,
            hint="let it write to a path or URL of your own, given as text, and name that in the job that reads it",
        )
