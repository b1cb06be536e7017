"""What the second plugin specification speaks in: requests, look-ups, events and outcomes of attempts."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from aiflow_ext.model.jsonable import Jsonable, register_type
from aiflow_ext.model.resources import Resources, Usage
from aiflow_ext.model.states import JobState


class Request(Jsonable):
    """Exactly what a platform is sent for one attempt, as pure data.

    Args:
        kind: how it is sent, for example ``exec``, ``kubernetes`` or ``http``.
        content: what is sent; a secret is its reference, a value that a server assigns is ``${server:...}``.
    """

    def __init__(self, kind: str, content: Mapping[str, Any]) -> None:
        self.kind, self.content = kind, dict(content)


@register_type
class Lookup(str, Enum):
    """What a platform knows of a native id.

    FOUND: it is there, or was and has ended. NEVER_STARTED: proof that it never ran. UNKNOWN: it is not there, and that
    it never started cannot be shown.
    """

    FOUND = "FOUND"
    NEVER_STARTED = "NEVER_STARTED"
    UNKNOWN = "UNKNOWN"

    __str__ = str.__str__


class Transition(NamedTuple):
    """A change of state of a job, or of an attempt of it: what an extension's ``on_transition`` receives. Frozen.

    Attributes:
        seq: number of the transition in its run, from 1 and without gaps; the same number again is the same transition.
        run_id, job: the run's id and the job's key.
        attempt: number of the attempt, from 1; None where the job itself changed (SKIPPED).
        state, previous: the new state and the one before.
        time: seconds since the epoch.
        native_id: the attempt's name on its platform; None before it has one.
        exit_code, signal: of the job's own process, once it has ended and where the platform tells them.
        reason: in words, where there is more to say.
        platform, engine: the job's.
        node: the machine that the attempt runs on; None: not known.
        started_at: when the attempt was RUNNING, in seconds since the epoch; None: it has not been.
    """

    seq: int
    run_id: str
    job: str
    attempt: int | None
    state: JobState
    previous: JobState
    time: float
    native_id: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    reason: str | None = None
    platform: str | None = None
    engine: str | None = None
    node: str | None = None
    started_at: float | None = None


class EndedAttempt(NamedTuple):
    """An attempt that has ended: what an extension's ``should_retry`` is asked about. Frozen.

    Attributes:
        run_id, job: the run's id and the job's key.
        number: number of the attempt, from 1.
        state: as which it ended; for ``should_retry`` FAILED or LOST.
        native_id: the attempt's name on its platform; None where it never got one.
        exit_code, signal: of the job's own process, where the platform tells them.
        reason: in words, where there is more to say.
        timed_out: whether it ran into its timeout.
        submitted_at, started_at, ended_at: seconds since the epoch; None where that did not happen.
        restarts: how often the platform itself has started it again.
        folder: its folder on this machine, with the files stdout and stderr once it has been cleaned up.
        out_of_memory: whether it failed because it needed more memory than it got.
        instance, node: what its platform ran it in (a pod, a container), and on which machine; None: not known.
        asked: the cores and the memory that it has asked for.
        usage: what it has used.
    """

    run_id: str
    job: str
    number: int
    state: JobState
    native_id: str | None
    exit_code: int | None
    signal: int | None
    reason: str | None
    timed_out: bool
    submitted_at: float | None
    started_at: float | None
    ended_at: float | None
    restarts: int
    folder: str
    out_of_memory: bool = False
    instance: str | None = None
    node: str | None = None
    asked: Resources = Resources()
    usage: Usage = Usage()


class EndedJob(NamedTuple):
    """A job of a run that has ended. Frozen.

    Attributes:
        name, platform, engine: as in the workflow.
        state: as which it ended.
        reason: in words, where there is more to say.
        attempts: all of them, in order; none if it was SKIPPED.
    """

    name: str
    platform: str
    engine: str
    state: JobState
    reason: str | None
    attempts: tuple[EndedAttempt, ...]


class EndedRun(NamedTuple):
    """A run that has ended: what an extension's ``on_run_end`` receives. Frozen.

    Attributes:
        run_id, workflow: the run's id and its workflow's name.
        state: as which it ended.
        started_at, ended_at: seconds since the epoch.
        jobs: all of them, in the workflow's order.
        known_until: the ``ended_at`` that the extension has last received of this run, which was then resumed; None
            the first time.
        traceparent: the variable TRACEPARENT (W3C Trace Context) of the process that has started the run; None: it had
            none.
    """

    run_id: str
    workflow: str
    state: JobState
    started_at: float
    ended_at: float
    jobs: tuple[EndedJob, ...]
    known_until: float | None = None
    traceparent: str | None = None


class AttemptEvent(Jsonable):
    """An event that a platform reports of an attempt. Late, repeated and missing events do no harm.

    Args:
        native_id: the attempt's name on its platform.
        state: the state it has reached.
        time: seconds since the epoch, by the platform's clock; None: unknown.
        exit_code: of the job's own process, where it ended by itself.
        signal: number of the signal that ended it, where one did.
        reason: in words, where there is more to say. After a stop, one that begins with ``stopped`` is kept: it says
            how the job was stopped.
        disruption: the end was the platform's doing (preemption, a drained node), not the job's.
        out_of_memory: it failed because it needed more memory than it got.
        restarts: how often the platform itself has started the job again.
        instance: what the platform runs it in, by the platform's name for it: a pod, a container; None: not known.
        node: the machine that it runs on; None: not known. What an earlier event has said of either stays.
        usage: what it has used; read of the event of its end. None: not known.
        cursor: give the last one to ``watch(since=)`` to go on from there; None where the platform has none.
    """

    def __init__(
        self,
        native_id: str,
        state: JobState,
        *,
        time: float | None = None,
        exit_code: int | None = None,
        signal: int | None = None,
        reason: str | None = None,
        disruption: bool = False,
        out_of_memory: bool = False,
        restarts: int = 0,
        instance: str | None = None,
        node: str | None = None,
        usage: Usage | None = None,
        cursor: str | None = None,
    ) -> None:
        self.native_id, self.state, self.time = native_id, state, time
        self.exit_code, self.signal, self.reason = exit_code, signal, reason
        self.disruption, self.restarts, self.cursor = disruption, restarts, cursor
        self.instance, self.node, self.out_of_memory = instance, node, out_of_memory
        self.usage = usage
