"""An attempt that a driver looks after, and the phase that it is in.

    CREATED --> ASKING --> SUBMITTING ------------------> SUBMITTED --> SWEEPING --> ENDED
                             |   ^  ^                         ^
                   no answer |   |  +------ WAITING           |
                             v   |             ^              |
                           LOOKING_UP ---------+--------------+
                                          not started       found

ASKING is left out where no extension decides, SWEEPING where no stop is under way. What an earlier driver has begun to
submit goes from CREATED to LOOKING_UP or WAITING. Every phase may be followed by ENDED. ``NEXT`` has all transitions.

The phase is the driver's alone, and only its thread changes it. What everybody is told, the record's ``state``, follows
from what the platform says: a job may be RUNNING before the call that submits it has returned.
"""

from __future__ import annotations

from enum import Enum, auto

from aiflow_ext.model.job import AbstractJobHandler, BaseJob
from aiflow_ext.run.driving.platform_inline import InlinePlatform
from aiflow_ext.run.driving.platform_thread import PlatformThread
from aiflow_ext.run.planning.plan import PlannedJob
from aiflow_ext.run.platforms.plugin_adapter import PluginAdapter
from aiflow_ext.run.store.records import AttemptRecord

GRACE = 10.0  # seconds between asking a job to end and ending it
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0  # seconds; each pause is twice as long as the one before


class Phase(Enum):
    """How far a driver has come with an attempt."""

    CREATED = auto()  # it has a record
    ASKING = auto()  # extensions are asked whether it may be submitted
    WAITING = auto()  # for a slot: it is submitted when another attempt has ended
    SUBMITTING = auto()  # the write-ahead steps are being taken, or follow after a pause
    LOOKING_UP = auto()  # its platform is asked whether it has been started
    SUBMITTED = auto()  # its platform has it, and tells what becomes of it
    SWEEPING = auto()  # its end is on record; a call that stops all that it started has not returned
    ENDED = auto()


_ENDS = (Phase.SWEEPING, Phase.ENDED)
NEXT: dict[Phase, tuple[Phase, ...]] = {
    Phase.CREATED: (Phase.ASKING, Phase.SUBMITTING, Phase.LOOKING_UP, Phase.WAITING, *_ENDS),
    Phase.ASKING: (Phase.SUBMITTING, *_ENDS),
    Phase.WAITING: (Phase.SUBMITTING, Phase.SUBMITTED, *_ENDS),  # SUBMITTED: its platform tells that it runs after all
    Phase.SUBMITTING: (Phase.SUBMITTED, Phase.LOOKING_UP, Phase.WAITING, *_ENDS),
    Phase.LOOKING_UP: (Phase.SUBMITTED, Phase.SUBMITTING, Phase.WAITING, *_ENDS),
    Phase.SUBMITTED: _ENDS,
    Phase.SWEEPING: (Phase.ENDED,),
    Phase.ENDED: (),
}


class Attempt:
    """What a driver knows of an attempt beside its record.

    Attributes:
        phase: how far it has come.
        job, handler: what its plugin made; None before that.
        stop_grace: seconds between asking it to end and ending it; None: nobody has asked for a stop. No phase of its
            own, as that may be asked in any of them: what has been submitted is stopped, what has not never starts.
        stops: how many calls that stop it have not returned.
        pause: the last pause before a platform that gave no answer was asked again, in seconds.
        no_answer: in words, why its own start got no answer the last time; None: it did, or was not tried.
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
        self.pause = FIRST_PAUSE
        self.no_answer: str | None = None

    @property
    def key(self) -> str:
        """What it is known by among the live ones: its native id, or its folder before it has one."""
        return self.record.native_id or self.record.folder

    @property
    def has_ended(self) -> bool:
        """Whether its end is on record."""
        return self.phase in _ENDS

    def enter(self, phase: Phase) -> None:
        """Go to ``phase``; nothing changes where it is there already. Raises RuntimeError where ``NEXT`` lacks it."""
        if phase is self.phase:
            return
        if phase not in NEXT[self.phase]:
            raise RuntimeError(f"attempt {self.key} cannot go from {self.phase.name} to {phase.name}")
        self.phase = phase

    def back_off(self) -> float:
        """Seconds until its platform, which has given no answer, is asked again."""
        self.pause = min(self.pause * 2, LONGEST_PAUSE)
        return self.pause

    def reset_back_off(self) -> None:
        """Its platform has given an answer."""
        self.pause = FIRST_PAUSE
