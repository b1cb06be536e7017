"""An attempt as the driver sees it, and its phase.

    CREATED --> DECIDING --> SUBMITTING ------------------> SUBMITTED --> SWEEPING --> ENDED
                               |   ^  ^                         ^
                     no answer |   |  +------ WAITING           |
                               v   |             ^              |
                             LOOKING_UP ---------+--------------+
                                            not started       found, or reported as lost

DECIDING is skipped if no extension has ``before_submit``, SWEEPING if no stop is under way. An attempt that an earlier
driver has begun to submit goes from CREATED to LOOKING_UP or WAITING. Every phase may be followed by ENDED. ``NEXT``
has all transitions. A submitted attempt that is reported as lost before it was seen to run is looked up once more:
if it never started, it is submitted again.

The phase is internal to the driver, and only its thread changes it. The public ``state`` in the record follows the
platform's events: a job may be RUNNING before the call that submits it has returned.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from aiflow_ext.model.job import AbstractJobHandler, BaseJob
from aiflow_ext.run.driving.platform_inline import InlinePlatform
from aiflow_ext.run.planning.plan import PlannedJob
from aiflow_ext.run.platforms.plugin_adapter import PluginAdapter
from aiflow_ext.run.store.reconcile import Decision
from aiflow_ext.run.store.records import AttemptRecord

if TYPE_CHECKING:
    from aiflow_ext.run.driving.platform_thread import PlatformThread

GRACE = 10.0  # seconds between SIGTERM, or the platform's equivalent, and the kill
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0  # seconds; each pause is twice as long as the one before


class Phase(Enum):
    """The phase of an attempt in a driver."""

    __hash__ = object.__hash__  # that of Enum hashes the name, in Python; each phase is one object

    CREATED = auto()  # it has a record
    DECIDING = auto()  # extensions decide whether it may be submitted
    WAITING = auto()  # for a slot: it is submitted when another attempt has ended
    SUBMITTING = auto()  # the write-ahead steps are being taken, or follow after a pause
    LOOKING_UP = auto()  # its platform is asked whether it has been started
    SUBMITTED = auto()  # its platform has it, and reports its events
    SWEEPING = auto()  # its end is recorded; a call that stops all its processes has not returned
    ENDED = auto()


_ENDS = (Phase.SWEEPING, Phase.ENDED)
NEXT: dict[Phase, tuple[Phase, ...]] = {
    Phase.CREATED: (Phase.DECIDING, Phase.SUBMITTING, Phase.LOOKING_UP, Phase.WAITING, *_ENDS),
    Phase.DECIDING: (Phase.SUBMITTING, *_ENDS),
    Phase.WAITING: (Phase.SUBMITTING, Phase.SUBMITTED, *_ENDS),  # SUBMITTED: it turns out to run
    Phase.SUBMITTING: (Phase.SUBMITTED, Phase.LOOKING_UP, Phase.WAITING, *_ENDS),
    Phase.LOOKING_UP: (Phase.SUBMITTED, Phase.SUBMITTING, Phase.WAITING, *_ENDS),
    Phase.SUBMITTED: (Phase.LOOKING_UP, *_ENDS),  # reported as lost before it was seen to run
    Phase.SWEEPING: (Phase.ENDED,),
    Phase.ENDED: (),
}


class Attempt:
    """What a driver knows of an attempt beside its record.

    Attributes:
        phase: its phase.
        job, handler: made by its plugin; None before that.
        stop_grace: the grace period of a requested stop, in seconds; None: no stop was requested. Not a phase, as a
            stop may be requested in any of them: a submitted attempt is stopped, another one never starts.
        stops: how many calls that stop it have not returned.
        stopping: in words, why it is being stopped and why that has failed so far; None: it is not.
        stops_later: whether it is to be stopped again after a pause.
        pause: the last back-off pause, in seconds.
        lost: the end that its watch has reported while its platform is asked by name whether it was started.
        no_answer: in words, why its submission got no answer the last time; None: it got one, or was not tried.
    """

    def __init__(
        self,
        record: AttemptRecord,
        planned: PlannedJob,
        adapter: PluginAdapter,
        platform: PlatformThread | InlinePlatform,
    ) -> None:
        self.record, self.planned, self.adapter, self.platform = record, planned, adapter, platform
        self.phase = Phase.ENDED if record.state.ended else Phase.CREATED
        self.job: BaseJob | None = None
        self.handler: AbstractJobHandler | None = None
        self.stop_grace: float | None = None
        self.stops = 0
        self.stopping: str | None = None
        self.stops_later = False
        self.pause = FIRST_PAUSE
        self.lost: Decision | None = None
        self.no_answer: str | None = None

    @property
    def key(self) -> str:
        """Its key among the live attempts: its native id, or its folder before it has one."""
        return self.record.native_id or self.record.folder

    @property
    def has_ended(self) -> bool:
        """Whether its end is recorded."""
        return self.phase in _ENDS

    @property
    def may_be_submitted_again(self) -> bool:
        """Whether it was (or is being) submitted and never seen to run, so that it is submitted again if it never
        started."""
        submitted = self.phase in (Phase.SUBMITTING, Phase.LOOKING_UP, Phase.SUBMITTED)
        unseen = self.record.started_at is None and self.stop_grace is None
        return submitted and unseen and not self.adapter.answers_at_once

    def enter(self, phase: Phase) -> None:
        """Change to ``phase``; idempotent. Raises RuntimeError for a transition that ``NEXT`` lacks."""
        if phase is self.phase:
            return
        if phase not in NEXT[self.phase]:
            raise RuntimeError(f"attempt {self.key} cannot go from {self.phase.name} to {phase.name}")
        self.phase = phase

    def back_off(self) -> float:
        """Increase the back-off; returns the seconds until its platform, which has not answered, is called again."""
        self.pause = min(self.pause * 2, LONGEST_PAUSE)
        return self.pause

    def reset_back_off(self) -> None:
        """Reset the back-off: its platform has answered."""
        self.pause = FIRST_PAUSE
