"""A run as the pictures need it: its jobs, their attempts, and what they wait for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from aiflow_ext.model.states import JobState
from aiflow_ext.view.words import state_of


class Attempt(NamedTuple):
    """One execution of a job.

    Attributes:
        number: from 1.
        state: its state.
        submitted_at, started_at, ended_at: seconds since the epoch; None if that has not happened, or is not known.
        reason: in words, why it is in its state; None: nothing to say.
    """

    number: int
    state: JobState
    submitted_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    reason: str | None = None


class Job(NamedTuple):
    """One job.

    Attributes:
        name: its key in the workflow.
        state: its state; INIT while it waits, and in a workflow that does not run.
        where: its platform and engine: ``kubernetes.python``.
        reason: in words, why it is in its state.
        attempts: in order.
    """

    name: str
    state: JobState = JobState.INIT
    where: str = ""
    reason: str | None = None
    attempts: tuple[Attempt, ...] = ()


class Edge(NamedTuple):
    """Job ``target`` waits for job ``source``.

    Attributes:
        until: what it waits for: ``finished``, ``failed``, ``any_failed``, ``ended``, ``running`` or ``ready``.
        data: whether it reads what ``source`` has made.
    """

    source: str
    target: str
    until: str = "finished"
    data: bool = False


def jobs_of(summary: Mapping[str, Any]) -> list[Job]:
    """The jobs of a run that is given in the shape of ``aiflow-ext status --json`` (docs/json.md)."""
    return [
        Job(
            each["name"],
            state_of(each["state"]),
            f"{each['platform']}.{each['engine']}",
            each["reason"] or (each["attempts"][-1]["reason"] if each["attempts"] else None),
            tuple(_attempt(attempt) for attempt in each["attempts"]),
        )
        for each in summary["jobs"]
    ]


def _attempt(attempt: Mapping[str, Any]) -> Attempt:
    return Attempt(
        attempt["number"],
        state_of(attempt["state"]),
        attempt["submitted_at"],
        attempt["started_at"],
        attempt["ended_at"],
        attempt["reason"],
    )
