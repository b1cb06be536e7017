"""The receivers of a run's transitions and of its end: a listener in the driver's thread, extensions in their own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from aiflow_ext.host.extensions import Hook
from aiflow_ext.run.store.records import AttemptRecord, RunRecord, Transition
from aiflow_ext.run.store.store import Store

if TYPE_CHECKING:
    from aiflow_ext.run.driving.notify import Notifier
    from aiflow_ext.run.driving.notify_end import RunEnd

_log = logging.getLogger("aiflow_ext")
_PARTING = 0.5  # seconds that a driver which lets go of its run waits for extensions at most


class Listeners:
    """Notifies the receivers of transitions that have been recorded.

    Args:
        record, store: of the run.
        hooks: the extensions' ``on_transition``.
        end_hooks: the extensions' ``on_run_end``.
        traceparent: as :class:`~aiflow_ext.model.attempt.EndedRun`'s.
        limit: seconds that a call of one may take before it is reported, and that the run's end waits for deliveries.
        listener: called with every Transition, in order, in the driver's thread.
        caught_up: called in an extension's thread when everything may have been delivered.

    Attributes:
        waits: called with the record of an attempt when what it waits for changes: its ``reason``, or whether its
            platform is ``unreachable``.
    """

    def __init__(
        self,
        record: RunRecord,
        store: Store,
        hooks: Sequence[Hook],
        end_hooks: Sequence[Hook],
        traceparent: str | None,
        limit: float,
        listener: Callable[[Transition], None] | None,
        caught_up: Callable[[], None],
    ) -> None:
        self._record, self._store, self.limit, self.listener = record, store, limit, listener
        self.waits: Callable[[AttemptRecord], None] | None = None
        self._notifiers: list[Notifier] = []
        self._end_hooks, self._traceparent, self._caught_up = end_hooks, traceparent, caught_up
        self._ends: list[RunEnd] = []
        if hooks:
            from aiflow_ext.run.driving.notify import Notifier

            self._notifiers = [Notifier(hook, store, record, caught_up) for hook in hooks]

    @property
    def pace(self) -> float | None:
        """Seconds between two checks for calls that take too long; None without extensions."""
        return max(0.05, min(self.limit / 4, 1.0)) if self._notifiers else None

    def start(self) -> None:
        """Start the deliveries, first of what a driver that was killed may not have delivered."""
        for notifier in self._notifiers:
            notifier.start(self._store.transitions.last_seq(self._record.run_id))

    def tell(self, transitions: Sequence[Transition]) -> None:
        """Notify of these transitions, which have just been flushed."""
        if transitions:
            for notifier in self._notifiers:
                notifier.wake(transitions[-1].seq)
        if self.listener is not None:
            for transition in transitions:
                self.listener(transition)

    def run_ended(self) -> None:
        """Deliver the run's end, which is recorded."""
        if self._end_hooks:
            from aiflow_ext.run.driving.notify_end import RunEnd

            before = {each.hook.extension: each for each in self._notifiers}
            self._ends = [
                RunEnd(hook, self._store, self._record, self._traceparent, before.get(hook.extension), self._caught_up)
                for hook in self._end_hooks
            ]

    def tell_waiting(self, attempt: AttemptRecord) -> None:
        """Report why an attempt does not go on, or that it may again."""
        if self.waits is not None:
            self.waits(attempt)

    def look(self) -> None:
        """Report calls that take too long."""
        for notifier in self._notifiers:
            notifier.look(self.limit)

    def awaited(self, deadline: float) -> float | None:
        """Until when to wait for extensions, at most until ``deadline`` (``time.monotonic()``); None: do not wait."""
        for notifier in self._notifiers:
            notifier.is_awaited = True
        now = time.monotonic()
        receivers: list[Notifier | RunEnd] = [*self._notifiers, *self._ends]
        moments = [each.until(self.limit, deadline) for each in receivers if each.behind]
        return max((moment for moment in moments if moment > now), default=None)

    def part(self) -> None:
        """Wait at most a second for extensions: the driver exits and leaves the run."""
        deadline = time.monotonic() + _PARTING
        while self.awaited(deadline) is not None:
            time.sleep(0.01)

    def close(self, *, ended: bool = False) -> None:
        """Deliver nothing more; if the run has ``ended``, report extensions that have not received everything."""
        for notifier in self._notifiers:
            behind = notifier.behind
            notifier.close()
            if behind and ended:
                words = f"it has received {notifier.delivered} of the run's {notifier.last} transitions"
                problem = notifier.overdue(self.limit) or notifier.problem
                notifier.note(f"{problem}; {words}" if problem else words)
                _log.warning("%s: %s; to deliver the others: aiflow-ext resume %s", notifier.hook.where,
                             notifier.problem, self._record.run_id)  # fmt: skip
        for end in self._ends:
            end.close(self.limit)
        if (self._notifiers or self._ends) and ended:
            self._record.deliveries = self._store.deliveries.of_run(self._record.run_id)
