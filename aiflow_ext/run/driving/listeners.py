"""Who is told of a run's transitions: one listener in the driver's thread, and every extension beside it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from aiflow_ext.host.extensions import Hook
from aiflow_ext.run.driving.notify import Notifier
from aiflow_ext.run.store.records import AttemptRecord, RunRecord, Transition
from aiflow_ext.run.store.store import Store

_log = logging.getLogger("aiflow_ext")
_PARTING = 1.0  # seconds that a driver which lets go of its run waits for extensions at most


class Listeners:
    """Tells of what has been written down.

    Args:
        record, store: of the run.
        hooks: the extensions' ``on_transition``.
        limit: seconds that a call of one may take before it is told of, and that the run's end waits for those behind.
        listener: called with every Transition, in order, in the driver's thread.
        caught_up: called in an extension's thread when it is worth looking again at whether any is still behind.

    Attributes:
        waits: called with the record of an attempt where something else is known of what it waits for: its ``reason``,
            and whether its platform is ``unreachable``.
    """

    def __init__(
        self,
        record: RunRecord,
        store: Store,
        hooks: Sequence[Hook],
        limit: float,
        listener: Callable[[Transition], None] | None,
        caught_up: Callable[[], None],
    ) -> None:
        self._record, self._store, self.limit, self.listener = record, store, limit, listener
        self.waits: Callable[[AttemptRecord], None] | None = None
        self._notifiers = [Notifier(hook, store, record.run_id, caught_up) for hook in hooks]

    @property
    def pace(self) -> float | None:
        """Seconds between two looks at whether a call takes too long; None where there is nobody to look at."""
        return max(0.05, min(self.limit / 4, 1.0)) if self._notifiers else None

    def start(self) -> None:
        """Begin to tell the extensions, first of what a driver that was killed may not have told them."""
        for notifier in self._notifiers:
            notifier.start(self._store.transitions.last_seq(self._record.run_id))

    def tell(self, transitions: Sequence[Transition]) -> None:
        """Tell of these, which have just been flushed."""
        if transitions:
            for notifier in self._notifiers:
                notifier.wake(transitions[-1].seq)
        if self.listener is not None:
            for transition in transitions:
                self.listener(transition)

    def tell_waiting(self, attempt: AttemptRecord) -> None:
        """Tell whoever watches why an attempt does not go on, or that it may again."""
        if self.waits is not None:
            self.waits(attempt)

    def look(self) -> None:
        """Say so where a call takes too long."""
        for notifier in self._notifiers:
            notifier.look(self.limit)

    def awaited(self, deadline: float) -> float | None:
        """Until when to wait for extensions that are behind, at most until ``deadline``; None: for none any more."""
        for notifier in self._notifiers:
            notifier.is_awaited = True
        now = time.monotonic()
        moments = [each.until(self.limit, deadline) for each in self._notifiers if each.behind]
        return max((moment for moment in moments if moment > now), default=None)

    def part(self) -> None:
        """Wait a moment for extensions that are all but there: the driver lets go of the run."""
        deadline = time.monotonic() + _PARTING
        while self.awaited(deadline) is not None:
            time.sleep(0.01)

    def close(self, *, ended: bool = False) -> None:
        """Tell the extensions of nothing more; say so, where the run has ``ended``, for whom that comes too early."""
        for notifier in self._notifiers:
            behind = notifier.behind
            notifier.close()
            if behind and ended:
                words = f"it was told of {notifier.told} of the run's {notifier.last} transitions"
                problem = notifier.overdue(self.limit) or notifier.problem
                notifier.note(f"{problem}; {words}" if problem else words)
                _log.warning("%s: %s; to have it told of the others: aiflow-ext resume %s", notifier.hook.where,
                             notifier.problem, self._record.run_id)  # fmt: skip
        if self._notifiers and ended:
            self._record.deliveries = self._store.deliveries.of_run(self._record.run_id)
