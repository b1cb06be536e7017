"""Decides what became of an attempt, from its record and its platform's answer; no other module does.

A driver that resumes a run, ``status`` and ``stop`` query platforms in different ways, and all call :func:`reconcile`.
Nothing is changed here: the ledger records the decision.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

from aiflow_ext.model.attempt import AttemptEvent, Lookup
from aiflow_ext.model.resources import Usage
from aiflow_ext.model.states import JobState
from aiflow_ext.run.store.records import AttemptRecord
from aiflow_ext.run.store.row_types import LATEST

UNNEEDED = "no job needs it any more"  # why a job that served others has ended
_MOST = 1 << 31  # of exit codes, signals and restarts; SQLite takes no number of more than 64 bits
_MOST_BYTES = 1 << 62  # likewise, of bytes, and of bytes times seconds
_LONGEST_SOURCE = 100  # characters of what an attempt's usage was measured by
_PRESENT = (JobState.QUEUED, JobState.RUNNING)  # a handler that returns one of these, or an end, has found the attempt


class Answer(NamedTuple):
    """A platform's answer about an attempt. Each part is None if it was not requested, or not known.

    Attributes:
        event: of its watch.
        state: of its handler.
        lookup: the look-up of its native id.
        no_answer: in words, why the platform does not answer.
        failure: in words, what this process's own call of ``submit_job`` raised: it is not called again.
        stopped: whether a call that stops the attempt has returned.
    """

    event: AttemptEvent | None = None
    state: JobState | None = None
    lookup: Lookup | None = None
    no_answer: str | None = None
    failure: str | None = None
    stopped: bool = False


class Became(Enum):
    """NOT_STARTED: nothing was started, its submission continues with the first missing step. GOES_ON: its platform has
    it. ENDED: it has ended. UNKNOWN: its platform has to be queried, or queried again."""

    NOT_STARTED = "NOT_STARTED"
    GOES_ON = "GOES_ON"
    ENDED = "ENDED"
    UNKNOWN = "UNKNOWN"


class Decision(NamedTuple):
    """What became of an attempt.

    Attributes:
        became: one of the four.
        state: its state; None: not known.
        at: when, in seconds since the epoch; None: not known.
        facts: what else is known, by the names of the record's attributes; None: not known.
    """

    became: Became
    state: JobState | None = None
    at: float | None = None
    facts: dict[str, Any] = {}  # noqa: RUF012 - never changed


def reconcile(
    attempt: AttemptRecord, answer: Answer, timeout: float | None = None, *, serves: bool = False
) -> Decision:
    """What became of an attempt.

    Args:
        attempt: its record, which is not changed.
        answer: its platform's answer; the watch counts first, then the handler, then the look-up.
        timeout: the job's, in seconds; None: it has none.
        serves: whether the job serves others: one that has ended before it was ready has FAILED.

    ============================================ =====================================================================
    nothing was requested                        ENDED or NOT_STARTED if the record says so, else UNKNOWN
    no answer                                    UNKNOWN
    an event, or a handler's state that shows it GOES_ON, or ENDED by :func:`end_of`
    its stop has returned, and nothing else      ENDED as STOPPED
    FOUND                                        GOES_ON
    else, and this process's own start failed    ENDED as FAILED
    NEVER_STARTED, and it was never seen RUNNING NOT_STARTED, also if it is acknowledged
    NEVER_STARTED or UNKNOWN                     ENDED as LOST: the platform answers, and does not have it
    ============================================ =====================================================================
    """
    if answer.event is not None:
        return _by_event(attempt, answer.event, timeout, serves)
    if answer.no_answer is not None:
        return Decision(Became.UNKNOWN, facts={"reason": answer.no_answer})
    if answer.state is not None and answer.state.ended:
        return end_of(attempt, answer.state, timeout=timeout, serves=serves)
    if answer.stopped:
        return end_of(attempt, JobState.STOPPED, timeout=timeout, reason="stopped")
    if answer.state in _PRESENT or answer.lookup is Lookup.FOUND:
        return Decision(Became.GOES_ON, answer.state)
    if answer.failure is not None:
        return end_of(attempt, JobState.FAILED, timeout=timeout, reason=answer.failure)
    if answer.lookup is None:
        return _recorded(attempt)
    if answer.lookup is Lookup.NEVER_STARTED and attempt.step is not None and attempt.started_at is None:
        return Decision(Became.NOT_STARTED)
    then = "had been started" if attempt.step == "acknowledged" else (
        "was about to be started when the driver ended, and that it never started cannot be shown"
    )  # fmt: skip
    words = f"the platform answers, and {attempt.native_id} is not there; it {then}"
    return end_of(attempt, JobState.LOST, timeout=timeout, reason=words)


def proves_presence(state: JobState | None) -> bool:
    """Whether a handler's answer proves that the attempt is, or was, on its platform; else ``lookup`` is needed."""
    return state is not None and (state in _PRESENT or state.ended)


def end_of(
    attempt: AttemptRecord,
    state: JobState,
    *,
    at: float | None = None,
    timeout: float | None = None,
    serves: bool = False,
    **facts: Any,
) -> Decision:
    """The end as it is recorded: its cause counts, a timeout first, then why its driver has ended it, then a stop.

    Args:
        attempt: its record.
        state: the end as it is reported.
        at: its time, in seconds since the epoch; None: not known. An attempt that ended before its timeout has ended by
            itself, whenever that became known.
        timeout: the job's, in seconds; None: it has none.
        serves: as of :func:`reconcile`.
        facts: what else is reported, by the names of the record's attributes.
    """
    timed_out = attempt.timed_out
    if timed_out and timeout and at is not None and attempt.started_at is not None:
        timed_out = at - attempt.started_at >= timeout
    if timed_out:
        state, facts["reason"] = JobState.FAILED, f"it ran into its timeout of {timeout or 0:g} s"
    elif attempt.not_ready is not None and state is not JobState.LOST:
        state, facts["reason"] = JobState.FAILED, attempt.not_ready
    elif attempt.unneeded and attempt.started_at is not None and state is not JobState.LOST:
        state, facts["reason"] = JobState.FINISHED, UNNEEDED
    elif attempt.unneeded and state is not JobState.LOST:
        state, facts["reason"] = JobState.STOPPED, f"{UNNEEDED}, and it had not started"
    elif attempt.stop_requested and state is not JobState.LOST:
        how = facts.get("reason") or ""
        state, facts["reason"] = JobState.STOPPED, how if how.startswith("stopped ") else "stopped"
    elif serves and state is JobState.FINISHED and attempt.ready_at is None:
        state, facts["reason"] = JobState.FAILED, "it ended before it was ready"
    if timed_out or state is not JobState.FAILED:
        facts.pop("out_of_memory", None)
    return Decision(Became.ENDED, state, at, {**facts, "timed_out": timed_out})


def _by_event(attempt: AttemptRecord, event: AttemptEvent, timeout: float | None, serves: bool) -> Decision:
    facts = {"reason": _text(event.reason), "restarts": max(attempt.restarts, _number(event.restarts) or 0),
             "instance": _text(event.instance), "node": _text(event.node)}  # fmt: skip
    at = _moment(event.time)
    if event.state.ended:
        return end_of(
            attempt, event.state, at=at, timeout=timeout, serves=serves, exit_code=_number(event.exit_code),
            signal=_number(event.signal), disruption=bool(event.disruption) or None, **used(event.usage),
            out_of_memory=bool(event.out_of_memory) or None, **facts,
        )  # fmt: skip
    return Decision(Became.GOES_ON, event.state, at, facts)


# What is no such value counts as not known: a platform's mistake, or a job's word for it, must not damage the store.


def used(usage: Any) -> dict[str, Any]:
    """What an attempt has used, by the names of the record's attributes; what is no such number is left out."""
    if not isinstance(usage, Usage):
        return {}
    return {
        "peak_memory": _amount(usage.peak_memory),
        "cpu_seconds": _moment(usage.cpu_seconds),
        "usage_source": None if usage.source is None else str(usage.source)[:_LONGEST_SOURCE],
        "reserved_memory_seconds": _amount(usage.reserved_memory_seconds),
        "reserved_core_seconds": _moment(usage.reserved_core_seconds),
    }


def asked(config: Any) -> dict[str, Any]:
    """What a job's config asks for, by the names of the record's attributes.

    An author's own type may lack these keys, or have its own of these names: what is no such number is not known.
    """
    return {
        "cpu_asked": _moment(getattr(config, "cpu", None)),
        "memory_asked": _amount(getattr(config, "memory", None)),
    }


def _amount(given: Any) -> int | None:
    return int(given) if isinstance(given, int) and 0 <= given < _MOST_BYTES else None


def _moment(given: Any) -> float | None:
    return given if isinstance(given, (int, float)) and 0 <= given <= LATEST else None


def _number(given: Any) -> int | None:
    return int(given) if isinstance(given, int) and abs(given) < _MOST else None


def _text(given: Any) -> str | None:
    return None if given is None else str(given)


def _recorded(attempt: AttemptRecord) -> Decision:
    """The decision from the record only."""
    if attempt.state.ended:
        return Decision(Became.ENDED, attempt.state)
    return Decision(Became.UNKNOWN if attempt.may_run else Became.NOT_STARTED)
