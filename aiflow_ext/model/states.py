"""The states of an attempt, and the two modes of a job."""

from __future__ import annotations

from enum import Enum

from aiflow_ext.model.jsonable import register_type


@register_type
class ExecutionMode(str, Enum):
    """BATCH: the job ends by itself. STREAM: it runs until somebody stops it."""

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

    def may_become(self, new: JobState) -> bool:
        """Whether an attempt in this state can go to ``new``; late and repeated events cannot move it back."""
        if self is JobState.LOST:
            return new in (JobState.FINISHED, JobState.FAILED, JobState.STOPPED)
        if self.ended:
            return False
        if new is JobState.SKIPPED:
            return self is JobState.INIT
        return new.ended or _ORDER.index(new) > _ORDER.index(self)


_ORDER = (JobState.INIT, JobState.SUBMITTING, JobState.QUEUED, JobState.RUNNING)
_ENDS = frozenset((JobState.FINISHED, JobState.FAILED, JobState.STOPPED, JobState.LOST, JobState.SKIPPED))
