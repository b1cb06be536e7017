"""The states of an attempt, and the two modes of a job."""

from __future__ import annotations

from enum import Enum

from aiflow_ext.model.errors import JOB_FAILED, OK, STOPPED
from aiflow_ext.model.jsonable import register_type


@register_type
class ExecutionMode(str, Enum):
    """BATCH: the job ends by itself. STREAM: it runs until it is stopped."""

    BATCH = "BATCH"
    STREAM = "STREAM"

    __str__ = str.__str__


@register_type
class JobState(str, Enum):
    """Where an attempt is. The order is the only way through: no state is ever left for an earlier one.

    INIT -> SUBMITTING -> QUEUED -> RUNNING -> one of FINISHED, FAILED, STOPPED, LOST. SKIPPED is a job's alone: it has
    no attempt. LOST may be corrected to the true end.
    """

    INIT = "INIT"
    SUBMITTING = "SUBMITTING"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"
    LOST = "LOST"
    SKIPPED = "SKIPPED"

    __str__ = str.__str__

    @property
    def ended(self) -> bool:
        """Whether nothing more happens after this state (LOST alone may be corrected)."""
        return self in _ENDS

    @property
    def failed(self) -> bool:
        """Whether it is an end that was neither meant nor a success: what ``retries`` and ``when: failed`` are for."""
        return self in _FAILURES

    @property
    def exit_code(self) -> int:
        """What a command ends with whose run has come to this state."""
        return JOB_FAILED if self.failed else STOPPED if self is JobState.STOPPED else OK

    def may_become(self, new: JobState) -> bool:
        """Whether an attempt in this state can go to ``new``; late and repeated events cannot move it back."""
        return new in _NEXT[self]


# What a state is, for all who ask: the rest of the code names only the states that it is about.
_ORDER = (JobState.INIT, JobState.SUBMITTING, JobState.QUEUED, JobState.RUNNING)
_FAILURES = frozenset((JobState.FAILED, JobState.LOST))
_TRUE_ENDS = frozenset((JobState.FINISHED, JobState.FAILED, JobState.STOPPED))
ATTEMPT_ENDS = _TRUE_ENDS | {JobState.LOST}
_ENDS = ATTEMPT_ENDS | {JobState.SKIPPED}
_NEXT = {
    **dict.fromkeys(_TRUE_ENDS | {JobState.SKIPPED}, frozenset[JobState]()),
    **{state: ATTEMPT_ENDS | {*_ORDER[place + 1 :]} for place, state in enumerate(_ORDER)},
    JobState.INIT: _ENDS | frozenset(_ORDER[1:]),
    JobState.LOST: _TRUE_ENDS,
}
