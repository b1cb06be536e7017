"""The state that the parts of a driver share: the run, its records, and the attempts that have not ended."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from aiflow_ext.host.extensions import Extensions, Hook
from aiflow_ext.run.driving.attempt import Attempt
from aiflow_ext.run.driving.commit import Committer
from aiflow_ext.run.driving.inbox import Inbox
from aiflow_ext.run.driving.listeners import Listeners
from aiflow_ext.run.driving.platform_inline import InlinePlatform
from aiflow_ext.run.planning.plan import Plan
from aiflow_ext.run.platforms.plugin_adapter import PluginAdapter, adapter_for
from aiflow_ext.run.store.ledger import Ledger
from aiflow_ext.run.store.records import RunRecord, Transition
from aiflow_ext.run.store.run_folder import RunFolder
from aiflow_ext.run.store.store import Store

if TYPE_CHECKING:
    from aiflow_ext.run.driving.platform_thread import PlatformThread


class DriverState:
    """The state of one driver, for its own thread only; ``post`` and ``call`` are for any thread.

    Attributes:
        plan, record, folder: of the run.
        had_ended: whether the run had ended before this driver.
        ledger: changes the records; the next ``committer.flush`` writes the changes.
        listeners: are notified of written changes.
        inbox: the tasks of the driver's thread.
        adapters: how the attempts of each job reach their platform, by job.
        platforms: those that have been called, by their adapters' ``key``.
        live: the attempts that have not ended, by native id, or by their folder before they have one.
        leaving: whether the driver leaves the run.
        end_requests: how often it was requested to stop the run or to leave it.
        impatient: whether everything must end now, without waiting for a platform that does not answer.
    """

    def __init__(
        self,
        plan: Plan,
        record: RunRecord,
        store: Store,
        extensions: Extensions | None,
        listener: Callable[[Transition], None] | None,
        had_ended: bool,
        traceparent: str | None,
    ) -> None:
        self.plan, self.record, self.had_ended = plan, record, had_ended
        self.folder = RunFolder(record)
        self.ledger = Ledger(record, store)
        self.inbox = Inbox()
        self._extensions = extensions
        limit = plan.extensions.timeout.total_seconds()
        self.listeners = Listeners(
            record, store, self.hooks("on_transition"), self.hooks("on_run_end"), traceparent, limit, listener,
            lambda: self.post(_look_again),
        )  # fmt: skip
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
        """Make the calling thread the driver's."""
        self._thread = threading.get_ident()

    def post(self, task: Callable[[], None]) -> None:
        """Run ``task`` in the driver's thread, later."""
        self.inbox.put(task)

    def call(self, function: Callable[[], bool]) -> bool:
        """Call ``function`` in the driver's thread; returns its result, or False if the driver has left the run."""
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
        """Whether the driver leaves the run: on request, or because the records cannot be written any more."""
        return self._left or self.committer.broken is not None

    def leave(self) -> None:
        """Start nothing more, and leave the jobs running."""
        self.end_requests += 1
        self._left = True

    # -- what an attempt waits for

    def unreachable(self, attempt: Attempt, reason: str) -> None:
        """Record and report that an attempt's platform does not answer."""
        if self.ledger.waits(attempt.record, reason, unreachable=True):
            self.listeners.tell_waiting(attempt.record)

    def reachable(self, attempt: Attempt) -> None:
        """Record and report that an attempt's platform answers again."""
        if self.ledger.reachable(attempt.record):
            attempt.reset_back_off()
            self.listeners.tell_waiting(attempt.record)

    def ask_later(self, attempt: Attempt, task: Callable[[], None]) -> None:
        """Call a platform again that has not answered, after a back-off pause."""
        self.inbox.later(attempt.back_off(), task)


def _look_again() -> None:
    """Does nothing; posting it wakes the driver, so that it checks what it waits for."""
