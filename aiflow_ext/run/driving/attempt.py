"""An attempt that a driver looks after."""

from __future__ import annotations

from aiflow_ext.model.job import AbstractJobHandler, BaseJob
from aiflow_ext.run.driving.platform_inline import InlinePlatform
from aiflow_ext.run.driving.platform_thread import PlatformThread
from aiflow_ext.run.planning.plan import PlannedJob
from aiflow_ext.run.platforms.plugin_adapter import PluginAdapter
from aiflow_ext.run.store.records import AttemptRecord

GRACE = 10.0  # seconds between asking a job to end and ending it
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0  # seconds; each pause is twice as long as the one before


class Attempt:
    """What a driver knows of an attempt beside its record.

    Attributes:
        job, handler: what its plugin made; None before that.
        prepared: whether what the platform needs has been made already.
        parked: whether it is submitted as soon as another one has ended.
        asking: whether extensions are being asked if it may be submitted.
        stopping, grace: whether it is to end, and in how many seconds.
        stops: calls that are ending it and have not returned.
        is_final: whether it ended in a run that had ended before: no retry, and no other consequence, follows.
        pause: the last pause before a platform that gave no answer was asked again, in seconds.
        no_answer: in words, why its own start got no answer the last time; None: it did, or was not tried.
    """

    def __init__(
        self,
        record: AttemptRecord,
        planned: PlannedJob,
        adapter: PluginAdapter,
        thread: PlatformThread | InlinePlatform,
    ) -> None:
        self.record, self.planned, self.adapter, self.thread = record, planned, adapter, thread
        self.job: BaseJob | None = None
        self.handler: AbstractJobHandler | None = None
        self.prepared = self.parked = self.asking = self.stopping = self.is_final = False
        self.grace = GRACE
        self.stops = 0
        self.pause = FIRST_PAUSE
        self.no_answer: str | None = None

    @property
    def key(self) -> str:
        """What it is known by among the live ones: its native id, or its folder before it has one."""
        return self.record.native_id or self.record.folder

    def back_off(self) -> float:
        """Seconds until its platform, which has given no answer, is asked again."""
        self.pause = min(self.pause * 2, LONGEST_PAUSE)
        return self.pause

    def reset_back_off(self) -> None:
        """Its platform has given an answer."""
        self.pause = FIRST_PAUSE
