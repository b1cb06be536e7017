"""What the parts of a driver share: the run, where what changes is written, and the attempts that have not ended."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence

from aiflow_ext.host.extensions import Extensions, Hook
from aiflow_ext.run.driving.attempt import Attempt
from aiflow_ext.run.driving.commit import Committer
from aiflow_ext.run.driving.inbox import Inbox
from aiflow_ext.run.driving.listeners import Listeners
from aiflow_ext.run.driving.platform_inline import InlinePlatform
from aiflow_ext.run.driving.platform_thread import PlatformThread
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.platforms.plugin_adapter import PluginAdapter, adapter_for
from aiflow_ext.run.store.ledger import Ledger
from aiflow_ext.run.store.records import RunRecord, Transition
from aiflow_ext.run.store.run_folder import RunFolder
from aiflow_ext.run.store.store import Store


class DriverState:
    """The state of one driver, for its own thread alone; only ``post`` and ``call`` are for any thread.

    Attributes:
        plan, record, folder: of the run.
        had_ended: whether the run had come to its end before this driver.
        ledger: changes the records; what it has changed is written with the next ``committer.flush``.
        listeners: who is told of what has been written.
        inbox: the tasks of the driver's thread.
        adapters: how the attempts of each job reach their platform, by job.
        platforms: those that have been called, by their adapters' ``key``.
        live: the attempts that have not ended, by native id, or by their folder before they have one.
        leaving: whether the driver lets go of the run.
        end_requests: how often somebody has asked it to stop the run or to leave it.
        impatient: whether all is to end now: a platform without an answer is not waited for.
    """

    def __init__(
        self,
        plan: Plan,
        record: RunRecord,
        store: Store,
        extensions: Extensions | None,
        listener: Callable[[Transition], None] | None,
        had_ended: bool,
    ) -> None:
        self.plan, self.record, self.had_ended = plan, record, had_ended
        self.folder = RunFolder(record)
        self.ledger = Ledger(record, store)
        self.inbox = Inbox()
        self._extensions = extensions
        limit = plan.extensions.timeout.total_seconds()
        self.listeners = Listeners(
            record, store, self.hooks("on_transition"), limit, listener, lambda: self.post(_look_again)
        )
        self.committer = Committer(self.ledger, self.listeners, self.inbox)
        self.adapters: dict[str, PluginAdapter] = {
            name: adapter_for(planned, plan.desc) for name, planned in plan.jobs.items()
        }
        self.platforms: dict[object, PlatformThread | InlinePlatform] = {}
        self.live: dict[str, Attempt] = {}
        self.end_requests = 0
        self.impatient = False
        self._left = False
        self._thread = 0

    def hooks(self, name: str) -> Sequence[Hook]:
        """The extensions' hooks of this name."""
        return self._extensions.hooks(name) if self._extensions is not None else ()

    # -- threads

    def own(self) -> None:
        """The calling thread is the driver's from now on."""
        self._thread = threading.get_ident()

    def post(self, task: Callable[[], None]) -> None:
        """Have ``task`` done in the driver's thread."""
        self.inbox.put(task)

    def call(self, function: Callable[[], bool]) -> bool:
        """What ``function`` returns, called in the driver's thread; False where the driver has let go of the run."""
        if threading.get_ident() == self._thread:
            return function()
        answers: queue.SimpleQueue[bool] = queue.SimpleQueue()

        def task() -> None:
            answer = False
            try:
                answer = function()
            finally:
                answers.put(answer)

        self.post(task)
        while True:
            try:
                return answers.get(timeout=0.5)
            except queue.Empty:
                if self.leaving:
                    return False

    # -- letting go

    @property
    def leaving(self) -> bool:
        """Whether the driver lets go of the run: it was told to, or the records cannot be written any more."""
        return self._left or self.committer.broken is not None

    def leave(self) -> None:
        """Start nothing more, and leave what runs to itself."""
        self.end_requests += 1
        self._left = True

    # -- what an attempt waits for

    def unreachable(self, attempt: Attempt, reason: str) -> None:
        """Its platform gives no answer: note it and tell of it."""
        if self.ledger.waits(attempt.record, reason, unreachable=True):
            self.listeners.tell_waiting(attempt.record)

    def reachable(self, attempt: Attempt) -> None:
        """Its platform has given an answer."""
        if self.ledger.reachable(attempt.record):
            attempt.reset_back_off()
            self.listeners.tell_waiting(attempt.record)

    def ask_later(self, attempt: Attempt, task: Callable[[], None]) -> None:
        """Ask a platform again that has given no answer, after a pause that grows."""
        self.inbox.later(attempt.back_off(), task)


def _look_again() -> None:
    """What is posted to have the driver look again at what it waits for."""
