"""What Slurm and the attempt's files say of an attempt, as an event.

Slurm forgets a job some minutes after its end, and keeps no exit code of a job that it does not know any more. So the
batch script leaves in the attempt's folder ``claim``, a symbolic link that names the Slurm job that has begun;
``exit``, the exit code of the command; and ``told``, if Slurm told it to end.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from aiflow_ext.plugin import AttemptEvent, JobState
from aiflow_ext.plugin.engines import AWAY, AWAY_CODE, OUT_OF_MEMORY, UNFINISHED, read_whole
from aiflow_ext_slurm.commands import Row

CLAIM, EXIT, REASON, TOLD, JOB, STOP = "claim", "exit", "reason", "told", "job", "stop"
STOPPED = "stopped"  # the claim of an attempt that was stopped before it began
BEGUN = {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
# The ends, with what they mean where Slurm, and not the job, has caused them.
ENDS = {
    "COMPLETED": "",
    "FAILED": "",
    "CANCELLED": "cancelled by scancel, not by this run",
    "DEADLINE": "Slurm ended it at its deadline",
    "TIMEOUT": "Slurm ended it at its time limit: raise time, or the partition's limit",
    "OUT_OF_MEMORY": f"{OUT_OF_MEMORY}Slurm ended it for the memory that it used: give it more, memory: SIZE",
    "PREEMPTED": "preempted by Slurm",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node did not boot",
    "LAUNCH_FAILED": "its node could not start it",
    "REVOKED": "another cluster of the federation runs it",
}
DISRUPTIONS = {"PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "LAUNCH_FAILED", "REVOKED"}


def claim_of(folder: str) -> str | None:
    """The number of the Slurm job that has begun the attempt, or STOPPED; None: none has."""
    try:
        return os.readlink(f"{folder}/{CLAIM}")
    except FileNotFoundError:
        return None


def active(row: Row) -> bool:
    """Whether a job may still begin or go on."""
    return row.state not in ENDS


def known(folder: str) -> tuple[str | None, str | None]:
    """The claim, and the number of the job that was submitted: what Slurm must know if it is asked now, or has
    forgotten."""
    return claim_of(folder), _text(folder, JOB)


def event_of(native_id: str, folder: str, rows: Sequence[Row], before: tuple[str | None, str | None]) -> AttemptEvent:
    """What has become of an attempt.

    Args:
        native_id: its native id.
        folder: its folder.
        rows: what Slurm tells of the jobs of that name: one, unless a submission was repeated.
        before: what was ``known`` before Slurm was asked.

    The state SUBMITTING says that there is nothing to tell yet.
    """
    claim = claim_of(folder)
    live = [row for row in rows if active(row)]
    if claim is None or claim == STOPPED:  # nothing has begun
        if live:
            return AttemptEvent(native_id, JobState.QUEUED, reason=_waits(live[0]))
        if claim == STOPPED:
            return AttemptEvent(native_id, JobState.STOPPED, reason="stopped before it began")
        return _never_began(native_id, folder, rows, before[1])
    row = next((row for row in rows if row.job == claim), None)
    if row is None and claim != before[0]:
        return AttemptEvent(native_id, JobState.SUBMITTING)  # it began after Slurm had answered
    if row is None:
        return _own_end(native_id, folder, None) or AttemptEvent(native_id, JobState.LOST, reason=(
            f"Slurm does not know its job {claim} any more, and that has left no exit code"))  # fmt: skip
    if active(row):
        state = JobState.RUNNING if row.state in BEGUN else JobState.QUEUED
        reason = "suspended by Slurm" if row.state in ("SUSPENDED", "STOPPED") else None
        if state is JobState.QUEUED:
            reason = _waits(row)
        return AttemptEvent(native_id, state, time=row.began, node=row.node or None, instance=row.job, reason=reason,
                            restarts=row.restarts)  # fmt: skip
    return _end(native_id, folder, row)


def _waits(row: Row) -> str | None:
    return None if row.reason in ("", "None") else f"Slurm says: {row.reason}"


def _never_began(native_id: str, folder: str, rows: Sequence[Row], submitted: str | None) -> AttemptEvent:
    if not rows and submitted is None:
        return AttemptEvent(native_id, JobState.SUBMITTING)
    if not rows:
        words = f"Slurm does not know its job {submitted}, which never began"
        return AttemptEvent(native_id, JobState.LOST, reason=words)
    row = rows[-1]
    code, number = _status(row)
    words = ENDS[row.state] or (f"on {row.node} it could not begin in {folder}: have nodes that folder, too? (folder: "
                                "names another one)")  # fmt: skip
    disruption = row.state in DISRUPTIONS or (row.state == "FAILED" and number is not None)
    return AttemptEvent(native_id, JobState.FAILED, time=row.ended, node=row.node or None, instance=row.job,
                        exit_code=code or None, reason=f"never began: {words}", disruption=disruption)  # fmt: skip


def _end(native_id: str, folder: str, row: Row) -> AttemptEvent:
    event = _own_end(native_id, folder, row)
    if event is None:  # the script itself was ended: only Slurm knows how
        code, number = _status(row)
        state = JobState.FINISHED if row.state == "COMPLETED" and code == 0 else JobState.FAILED
        words = f"ended by {signal.Signals(number).name}" if number in set(signal.Signals) else f"exit code {code}"
        event = AttemptEvent(native_id, state, exit_code=code, signal=number,
                             reason=words if state is JobState.FAILED else None)  # fmt: skip
    if _text(folder, STOP) is not None:  # a job may end well on SIGTERM
        event.state = JobState.STOPPED if event.state is JobState.FINISHED else event.state
    elif ENDS[row.state] and (event.state is JobState.FAILED or _text(folder, TOLD) is not None):
        # Slurm has ended it, whatever the job made of the signal: one that saves its work and exits with 0 is not done.
        event.state, event.reason = JobState.FAILED, ENDS[row.state]
        event.disruption = row.state in DISRUPTIONS
        event.out_of_memory = row.state == "OUT_OF_MEMORY"
    event.time, event.node, event.instance, event.restarts = row.ended, row.node or None, row.job, row.restarts
    return event


def _own_end(native_id: str, folder: str, row: Row | None) -> AttemptEvent | None:
    """The end by the exit code that the script has recorded; None: it has recorded none."""
    text = _text(folder, EXIT)
    if text is None or not text.isdigit():
        return None
    code, said = int(text), _text(folder, REASON) or ""
    unfinished = said == UNFINISHED
    if code == 0 and unfinished:
        return AttemptEvent(native_id, JobState.FAILED, exit_code=0, reason="the process ended before its last step")
    if code == 0:
        return AttemptEvent(native_id, JobState.FINISHED, exit_code=0)
    return AttemptEvent(native_id, JobState.FAILED, exit_code=code,
                        reason=said if said and not unfinished else f"exit code {code}",
                        disruption=code == AWAY_CODE and said.startswith(AWAY),
                        out_of_memory=said.startswith(OUT_OF_MEMORY))  # fmt: skip


def _status(row: Row) -> tuple[int | None, int | None]:
    """Exit code and signal of the batch script."""
    number = row.status & 0x7F
    return (None, number) if number else (row.status >> 8, None)


def _text(folder: str, name: str) -> str | None:
    try:
        return read_whole(Path(folder, name), 4096).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return None
