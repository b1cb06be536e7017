"""An attempt that a driver looks after."""

from __future__ import annotations

from aiflow_ext.model.job import AbstractJobHandler, BaseJob
from aiflow_ext.run.driving.platform_inline import InlinePlatform
from aiflow_ext.run.driving.platform_thread import PlatformThread
from aiflow_ext.run.planning.plan import PlannedJob
from aiflow_ext.run.platforms.plugin_adapter import PluginAdapter
from aiflow_ext.run.store.records import AttemptRecord

GRACE = 10.0  # seconds between asking a job to end and ending it


class Attempt:
    """What a driver knows of an attempt beside its record.

    Attributes:
        job, handler: what its plugin made; None before that.
        prepared: whether what the platform needs has been made already.
        behind: whether it has no turn yet: another one has to end first.
        held: whether the platform has it already, and starts it then.
        parked: whether it is to be submitted then.
        asking: whether extensions are being asked if it may be submitted.
        stopping, grace: whether it is to end, and in how many seconds.
        stops: calls that are ending it and have not returned.
        is_final: whether it ended in a run that had ended before: no retry, and no other consequence, follows.
        pause: seconds until a platform without an answer is asked again.
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
        self.prepared = self.behind = self.held = self.parked = self.stopping = self.is_final = False
        self.asking = False
        self.grace = GRACE
        self.stops = 0
        self.pause = 0.25
        self.no_answer: str | None = None
