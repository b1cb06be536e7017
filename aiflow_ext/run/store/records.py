"""The records of a run, of its jobs and their attempts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aiflow_ext.model.attempt import Transition as Transition
from aiflow_ext.model.jsonable import Jsonable
from aiflow_ext.model.states import JobState

LONGEST_REASON = 2000  # characters of a reason that are recorded


class AttemptRecord(Jsonable):
    """One execution of a job. Its fields are the columns of the table ``attempts``, which ``schema`` describes.

    Attributes:
        job, number: the job's key and the attempt's number, from 1.
        native_id: its name on its platform; None before it has one.
        state: its state.
        step: the last recorded step of its submission: None, ``resources`` (they exist, and it may have been started),
            ``acknowledged``.
        submitted_at, started_at, ended_at: seconds since the epoch; None if that has not happened.
        exit_code, signal: of the job's own process; None if the platform does not report them.
        reason: in words, why it is in its state, as :func:`shortened` returns it; None: nothing to say.
        stop_requested: whether a stop of it was requested.
        unreachable: whether its platform does not answer at the moment.
        restarts: how often the platform itself has restarted it.
        instance, node: what its platform runs it in (a pod, a container), and on which machine; None: not known.
        folder: its folder on this machine, with the logs.
        gpus: the GPUs of this machine that it was given, as CUDA_VISIBLE_DEVICES names them; None: not handed out.
        cleaned: whether its platform has been cleaned up after it.
        out_of_memory: whether it failed because it needed more memory than it got.
        ready_at: when it was ready to serve other jobs, likewise; None: it is not, or serves none.
        not_ready: in words, why it was ended: it was not ready in time; None: it was not.
        unneeded: whether it was asked to end because the last job that it served has ended.
        cpu_asked, memory_asked: what its job asks for, in cores and bytes; None: it says nothing.
        peak_memory, cpu_seconds, usage_source, reserved_memory_seconds, reserved_core_seconds: as in
            :class:`~aiflow_ext.model.resources.Usage`.
        refused: whether an extension, or its plugin in ``generate``, refused it: no other attempt follows by itself.
    """

    job: str
    number: int
    folder: str
    native_id: str | None = None
    state: JobState = JobState.INIT
    step: str | None = None
    submitted_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    reason: str | None = None
    stop_requested: bool = False
    timed_out: bool = False
    disruption: bool = False
    unreachable: bool = False
    refused: bool = False
    out_of_memory: bool = False
    gpus: str | None = None
    restarts: int = 0
    instance: str | None = None
    node: str | None = None
    cleaned: bool = False
    ready_at: float | None = None
    not_ready: str | None = None
    unneeded: bool = False
    cpu_asked: float | None = None
    memory_asked: int | None = None
    peak_memory: int | None = None
    cpu_seconds: float | None = None
    usage_source: str | None = None
    reserved_memory_seconds: int | None = None
    reserved_core_seconds: float | None = None

    def __init__(self, job: str, number: int, folder: str) -> None:
        self.job, self.number, self.folder = job, number, folder
        vars(self).update(_DEFAULTS)

    def __repr__(self) -> str:
        return f"<attempt {self.number} of {self.job}: {self.state}>"

    @property
    def may_run(self) -> bool:
        """Whether it may have been started and has not ended, as far as is known."""
        return self.step is not None and not self.state.ended

    @property
    def wall_seconds(self) -> float | None:
        """How long it has run, in seconds; None: it has not begun, or not ended, as far as is known."""
        if self.started_at is None or self.ended_at is None:
            return None
        return self.ended_at - self.started_at

    @property
    def being_ended(self) -> bool:
        """Whether it was asked to end, for whatever reason."""
        return self.stop_requested or self.timed_out or self.unneeded or self.not_ready is not None

    def learn(self, **facts: Any) -> None:
        """Set these attributes, except those that are None (not known)."""
        for name, value in facts.items():
            if value is not None:
                setattr(self, name, shortened(value) if name in ("reason", "not_ready") else value)


# No dataclass: importing that module would cost a command that only reads records more time than this one does.
_DEFAULTS = {name: vars(AttemptRecord)[name] for name in AttemptRecord.__annotations__ if name in vars(AttemptRecord)}


def shortened(reason: str) -> str:
    """A reason as it is recorded: a server, a plugin or a job may give one of any length."""
    return reason if len(reason) <= LONGEST_REASON else f"{reason[: LONGEST_REASON - 4]} ..."


class JobRecord(Jsonable):
    """A job of a run: its attempts, and the state that follows from theirs.

    ``defaults``: which of ``platform`` and ``engine`` are defaults.
    """

    def __init__(self, name: str, platform: str, engine: str, defaults: Sequence[str] = ()) -> None:
        self.name, self.platform, self.engine, self.defaults = name, platform, engine, tuple(defaults)
        self.attempts: list[AttemptRecord] = []
        self.state = JobState.INIT
        self.reason: str | None = None

    def __repr__(self) -> str:
        return f"<job {self.name}: {self.state}>"

    @property
    def last(self) -> AttemptRecord | None:
        """The latest attempt, or None before the first."""
        return self.attempts[-1] if self.attempts else None

    @property
    def why(self) -> str | None:
        """In words, why it is in its state: the reason of the attempt that has brought it there, else its own; None:
        nothing to say."""
        told = self.last.reason if self.last is not None and self.last.state is self.state else None
        return told or self.reason or None

    def summary(self) -> dict[str, Any]:
        """The record as plain JSON, as it is in that of its run."""
        return {"name": self.name, "platform": self.platform, "engine": self.engine, "defaults": list(self.defaults),
                "state": str(self.state), "reason": self.reason,
                "attempts": [_attempt(attempt) for attempt in self.attempts]}  # fmt: skip


class Delivery(NamedTuple):
    """How many of a run's transitions were delivered to an extension.

    Attributes:
        extension: its name.
        offset: number of the last transition that was delivered to it; 0 for none.
        last: number of the run's last transition.
        problem: in words, what went wrong there; None where nothing did.
    """

    extension: str
    offset: int
    last: int
    problem: str | None


class Source(NamedTuple):
    """An attempt that has made artifacts."""

    job: str
    run: str
    attempt: int


class Input(NamedTuple):
    """An input that a job of a run reads from an earlier run.

    Attributes:
        job: the job that reads it.
        source: the attempt that has made it.
        behind: the attempts, of any run, from whose artifacts it was made.
    """

    job: str
    source: Source
    behind: tuple[Source, ...]

    def to_data(self) -> dict[str, Any]:
        """As it is stored."""
        return {"job": self.job, "source": list(self.source), "behind": [list(each) for each in self.behind]}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Input:
        """What :meth:`to_data` has made."""
        return cls(data["job"], Source(*data["source"]), tuple(Source(*each) for each in data["behind"]))


class Parameter(NamedTuple):
    """A parameter of a run: a property that these jobs have with this value."""

    name: str
    value: Any
    jobs: tuple[str, ...]

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Parameter:
        """As it is stored."""
        return cls(str(data["name"]), data["value"], tuple(map(str, data["jobs"])))


class RunRecord(Jsonable):
    """One execution of a workflow. ``state`` is RUNNING until every job has ended; ``inputs``: what its jobs read from
    earlier runs; ``provenance``: what it was made of (docs/json.md), empty for a run of an older version."""

    def __init__(self, run_id: str, workflow: str, project: str, folder: str, started_at: float) -> None:
        self.run_id, self.workflow, self.project, self.folder = run_id, workflow, project, folder
        self.started_at = started_at
        self.ended_at: float | None = None
        self.state = JobState.RUNNING
        self.jobs: dict[str, JobRecord] = {}
        self.deliveries: list[Delivery] = []  # of transitions to extensions, when this was read
        self.inputs: list[Input] = []
        self.provenance: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<run {self.run_id}: {self.state}, {len(self.jobs)} job{'s' * (len(self.jobs) != 1)}>"

    def _repr_html_(self) -> str:
        """In a notebook: its timeline and its jobs; with the graph, ``open_run(record)``."""
        from aiflow_ext.supervise.clock import Clock
        from aiflow_ext.view.notebook import run_html

        return run_html(self.summary(), now=Clock(self.folder).now())

    def unfinished(self) -> set[str]:
        """The keys of the jobs that have ended, and not as FINISHED."""
        return {name for name, job in self.jobs.items() if job.state.ended and job.state is not JobState.FINISHED}

    def live(self) -> list[AttemptRecord]:
        """The attempts that may be running."""
        return [job.last for job in self.jobs.values() if job.last is not None and job.last.may_run]

    def head(self) -> dict[str, Any]:
        """What :meth:`summary` has of the run itself, without its jobs."""
        return {"run": self.run_id, "workflow": self.workflow, "project": self.project, "folder": self.folder,
                "state": str(self.state), "started_at": self.started_at, "ended_at": self.ended_at,
                "provenance": self.provenance or None}  # fmt: skip

    def summary(self) -> dict[str, Any]:
        """The record as plain JSON, in the shape that docs/json.md describes."""
        return {**self.head(),
                "inputs": [{"job": each.job, "reads": each.source.job, "run": each.source.run,
                            "attempt": each.source.attempt} for each in self.inputs],
                "jobs": [job.summary() for job in self.jobs.values()], "extensions": [
                    {"name": each.extension, "delivered": each.offset, "last": each.last, "problem": each.problem}
                    for each in self.deliveries
                ]}  # fmt: skip


_NOT_SHOWN = ("job", "step", "cleaned", "not_ready", "unneeded")


def _attempt(attempt: AttemptRecord) -> dict[str, Any]:
    shown = {name: value for name, value in vars(attempt).items() if name not in _NOT_SHOWN}
    return {**shown, "state": str(attempt.state), "wall_seconds": attempt.wall_seconds}
