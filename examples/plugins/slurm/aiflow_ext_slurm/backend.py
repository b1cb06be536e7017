"""An attempt on the cluster: a batch job whose name is the native id, and a folder that nodes and client share.

Slurm gives out numbers and takes any name twice, so that a submission that was repeated, after a client was killed in
the middle of it, may make two batch jobs. The first one that begins takes the attempt: it makes the symbolic link
``claim``, which the file server grants to one alone. Any other one ends at once.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import aiflow_ext.plugin as af
from aiflow_ext.plugin.engines import Backoff, exit_script, poll, read_log_file
from aiflow_ext_slurm import commands, states

POLLS = (0.25, 15.0, 1.3)  # seconds between two of a run: at first, at most, and by how much they grow
DIES = 60.0  # seconds in which Slurm ends a job that was sent SIGKILL


class SlurmHandler(af.AbstractJobHandler):
    """An attempt, by its native id and its folder, in any process."""

    def __init__(self, native_id: str, folder: str) -> None:
        self.native_id, self.folder = native_id, folder

    def state(self) -> af.JobState:
        before = states.known(self.folder)
        return states.event_of(self.native_id, self.folder, commands.rows(self.native_id), before).state

    def wait(self, timeout: float | None = None) -> af.JobState:
        state = self.state()
        for _ in poll(timeout, Backoff(*POLLS)):
            state = self.state()
            if state.ended:
                break
        return state

    def logs(self, stream: str = "stdout", offset: int = 0) -> bytes:
        return read_log_file(self.folder, stream, offset) or b""

    def stop(self, grace: float = 10.0) -> bool:
        stop(self.native_id, self.folder, grace)
        return True


def script(native_id: str, folder: str, argv: list[str]) -> str:
    """The batch script of an attempt.

    Before Slurm ends a job (at its time limit, for a preemption, by scancel) it sends SIGTERM to the batch script
    alone, which passes it on. A stop signals all processes itself. It is a script for bash: other shells have what runs
    beside them ignore SIGINT.
    """
    there, claim, stopped = (shlex.quote(each) for each in (folder, states.CLAIM, f"{folder}/{states.STOP}"))
    told = shlex.quote(f"{folder}/{states.TOLD}")
    return (
        f"#!/bin/bash\n# {native_id}\n"
        f"cd {there} || exit 1\n"
        f'ln -s "$SLURM_JOB_ID" {claim} 2>/dev/null\n'
        f"taken=$(readlink {claim}) || exit 1\n"
        '[ "$taken" = "$SLURM_JOB_ID" ] || exit 0\n'
        f"rm -f {states.EXIT} {states.TOLD}\n"
        "cd work || exit 1\n"
        "unset taken\n"
        "(\ntrap : TERM\ntrap - INT QUIT\n"
        f"{exit_script(argv, f'{folder}/{states.EXIT}').partition(chr(10))[2]}"
        ") &\n"
        "job=$!\n"
        f"pass_on() {{ trap : TERM; [ -e {stopped} ] || {{ : > {told}; kill -s TERM 0; }}; }}\n"
        "trap pass_on TERM\n"
        'while kill -0 "$job" 2>/dev/null; do wait "$job"; done\n'
        'wait "$job"\n'
    )


def submit(native_id: str, folder: str, argv: list[str], text: str, env: Mapping[str, str]) -> None:
    """Submit the attempt, unless Slurm has it.

    Args:
        native_id: its native id.
        folder: its folder.
        argv: the call of sbatch.
        text: the batch script.
        env: the job's variables, with the values of secrets; they are added to this process's.
    """
    if lookup(native_id, folder) is not af.Lookup.FOUND:
        number = commands.call(argv, text, {**commands.environment(), **env})
        Path(folder, states.JOB).write_text(number.partition(";")[0])


def lookup(native_id: str, folder: str) -> af.Lookup:
    """Whether Slurm has the attempt, or it has begun; else nothing of it can be running, and nothing has run."""
    found = bool(commands.rows(native_id)) or states.claim_of(folder) is not None
    return af.Lookup.FOUND if found else af.Lookup.NEVER_STARTED


def watch(
    jobs: Mapping[str, af.BaseJob], folder_of: Callable[[af.BaseJob], str | None]
) -> Iterator[af.AttemptEvent | None]:
    """The events of all attempts, from one call of squeue each time; None in between.

    Args:
        jobs: by native id; may grow and shrink.
        folder_of: gives the folder of a job's attempt; None for a job of another plugin.
    """
    folders: dict[str, str | None] = {}
    told: dict[str, tuple[object, ...]] = {}
    pauses, due = Backoff(*POLLS), 0.0
    while True:
        for native_id in [each for each in list(jobs) if each not in folders]:
            if (job := jobs.get(native_id)) is not None:
                folders[native_id] = folder_of(job)
                pauses.reset()
                due = 0.0
        ours = {native_id: folder for native_id in jobs if (folder := folders.get(native_id)) is not None}
        if ours and time.monotonic() >= due:
            before = {native_id: states.known(folder) for native_id, folder in ours.items()}
            of_name: dict[str, list[commands.Row]] = {}
            for row in commands.rows():
                of_name.setdefault(row.name, []).append(row)
            for native_id, folder in ours.items():
                event = states.event_of(native_id, folder, of_name.get(native_id, []), before[native_id])
                news = (event.state, event.reason, event.restarts, event.node)
                if event.state is not af.JobState.SUBMITTING and told.get(native_id) != news:
                    told[native_id] = news
                    pauses.reset()
                    yield event
            due = time.monotonic() + pauses.next()
        yield None
        time.sleep(min(0.1, max(0.0, due - time.monotonic())) if ours else 0.1)


def stop(native_id: str, folder: str, grace: float) -> None:
    """End the attempt with all that it has started: SIGTERM, the grace period in seconds, SIGKILL.

    Raises UnreachableError.
    """
    if os.path.isdir(folder):
        try:
            os.symlink(states.STOPPED, f"{folder}/{states.CLAIM}")  # from now on it cannot begin
        except FileExistsError:
            if not os.path.exists(f"{folder}/{states.EXIT}"):
                Path(folder, states.STOP).touch()
    live = _live(native_id)
    if live and states.claim_of(folder) not in (None, states.STOPPED):
        commands.cancel("--signal=TERM", "--full", *live)
        live = _left(native_id, grace)
    if live:
        commands.cancel("--signal=KILL", "--batch", *live)  # with its script all that a job has started goes, at once
        commands.cancel(*live)
        live = _left(native_id, DIES)
    if live:
        raise af.UnreachableError(f"Slurm has not ended {', '.join(live)} within {DIES:g} s after SIGKILL",
                                  hint="scontrol show job says what it waits for")  # fmt: skip


def _live(native_id: str) -> list[str]:
    """The numbers of the jobs of that name that have not ended."""
    return [row.job for row in commands.rows(native_id) if states.active(row)]


def _left(native_id: str, seconds: float) -> list[str]:
    """Those that have not ended after these seconds."""
    live: list[str] = []
    for _ in poll(seconds):
        live = _live(native_id)
        if not live:
            break
    return live
