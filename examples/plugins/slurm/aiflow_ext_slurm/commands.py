"""Slurm's own programs, and what their failures mean."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from aiflow_ext.plugin import PlatformError, UnreachableError
from aiflow_ext.plugin.engines import find_program

LONGEST = 60.0  # seconds that one program may take; it tries for nine to reach a controller that is down
FIELDS = ("JobID", "Name", "State", "exit_code", "RestartCnt", "BatchHost", "StartTime", "EndTime", "Reason")
# What the programs say where the controller, the way to it or its authentication daemon gives no answer. All else that
# they say is an answer.
_AWAY = ("Unable to contact", "timed out", "Zero Bytes", "Connection refused", "standby mode", "Munge", "munge",
         "authentication", "resolve", "Communication connection", "Unexpected message", "temporarily",
         "establish a configuration source")  # fmt: skip


class Row(NamedTuple):
    """What squeue tells of a job.

    Attributes:
        job: its number.
        name: the native id of its attempt.
        state: as Slurm calls it: ``PENDING``.
        status: of the batch script, as ``wait`` gives it.
        restarts: how often Slurm has put it back into the queue.
        node: the first of its nodes; empty before it has one.
        began, ended: seconds since the epoch; None: it has not.
        reason: why it waits, or why it has ended, in a word of Slurm's.
    """

    job: str
    name: str
    state: str
    status: int
    restarts: int
    node: str
    began: float | None
    ended: float | None
    reason: str


def call(argv: Sequence[str], text: str = "", env: Mapping[str, str] | None = None) -> str:
    """Run a program of Slurm's and return what it prints.

    Args:
        argv: its name and its arguments.
        text: what it reads; nothing by default.
        env: its environment; by default this process's, without what would change the options.

    Raises:
        UnreachableError: Slurm gives no answer.
        PlatformError: it refuses, or its programs are not installed here.
    """
    program = find_program(argv[0])
    if program is None:
        raise PlatformError(f"there is no {argv[0]} on the PATH", hint="install Slurm's client programs here")
    try:
        done = subprocess.run([program, *argv[1:]], input=text, env=dict(environment() if env is None else env),
                              capture_output=True, text=True, errors="replace", timeout=LONGEST)  # fmt: skip
    except subprocess.TimeoutExpired:
        words = f"{argv[0]} has not ended within {LONGEST:g} s"
        raise UnreachableError(words, hint="scontrol ping says more") from None
    if done.returncode == 0:
        return done.stdout
    words = " ".join((done.stderr or done.stdout).replace("*", " ").split())[-500:] or f"exit code {done.returncode}"
    kind = UnreachableError if any(each in words for each in _AWAY) else PlatformError
    hint = "scontrol ping says whether Slurm can be reached from this machine"
    if "Zero Bytes" in words:
        hint = "do this machine and Slurm's controller have the same munge key, and does munged run here?"
    raise kind(f"{argv[0]} says: {words}", hint=hint)


def environment() -> dict[str, str]:
    """This process's variables, without those that change the options of Slurm's programs (``SBATCH_PARTITION``), or
    are those of a Slurm job in which it runs."""
    changes = ("SBATCH_", "SLURM_", "SQUEUE_", "SCANCEL_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(changes) or name == "SLURM_CONF"}
    return kept


def rows(name: str | None = None) -> list[Row]:
    """The user's jobs that Slurm knows; one that has ended it knows for its MinJobAge, five minutes by default.

    Args:
        name: of these only; by default all.

    Raises UnreachableError.
    """
    argv = ["squeue", "--me", "--noheader", "--states=all", f"--Format={','.join(f'{each}:|' for each in FIELDS)}"]
    env = {**environment(), "SLURM_TIME_FORMAT": "%s"}
    try:
        said = call([*argv, f"--name={name}"] if name else argv, env=env)
    except UnreachableError:
        raise
    except PlatformError as error:  # asked without a condition that it could refuse: it has no answer
        raise UnreachableError(str(error)) from error
    return list(_parsed(said))


def _parsed(said: str) -> Iterator[Row]:
    for line in said.splitlines():
        values = line.split("|")
        if len(values) >= len(FIELDS):
            job, name, state, status, restarts, node, began, ended, reason, *_ = (value.strip() for value in values)
            yield Row(job, name, state, int(_number(status) or 0), int(_number(restarts) or 0),
                      "" if node == "n/a" else node, _number(began), _number(ended), reason)  # fmt: skip


def _number(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() else None


def cancel(*arguments: str) -> None:
    """Call scancel; a job that has ended meanwhile is no mistake. Raises UnreachableError."""
    try:
        call(["scancel", *arguments])
    except UnreachableError:
        raise
    except PlatformError:
        pass  # an answer: the job has ended, or is just being changed; whoever cancels looks at what has become of it


def check(options: Sequence[str]) -> None:
    """Have Slurm say whether it would take a job with these options of sbatch; nothing is submitted.

    Raises UnreachableError, or PlatformError with its words.
    """
    call(["sbatch", "--test-only", *options], "#!/bin/sh\n")


def controllers() -> str:
    """Which controllers answer, by name and in Slurm's words."""
    try:
        return " ".join(call(["scontrol", "ping"]).split())
    except PlatformError as error:  # none does
        return error.problems[0].message
