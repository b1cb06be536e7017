"""Who is told of a run's transitions: every extension, at least once each and in order, and one listener."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiflow_ext.host.extensions import Extensions
from aiflow_ext.run.ledger import Ledger
from aiflow_ext.run.records import AttemptRecord, Transition


class Teller:
    """Tells of what the ledger has written down, and has it note how far the extensions have been told.

    Attributes:
        listener: called with every Transition, in order, after the extensions.
        waits: called with the record of an attempt where something else is known of what it waits for: its ``reason``,
            and whether its platform is ``unreachable``.
    """

    def __init__(
        self, ledger: Ledger, extensions: Extensions | None, listener: Callable[[Transition], None] | None
    ) -> None:
        self._ledger, self.listener = ledger, listener
        self.waits: Callable[[AttemptRecord], None] | None = None
        self._extensions = extensions if extensions is not None and extensions.listening else None

    @property
    def one_by_one(self) -> bool:
        """Whether each transition is to be written down by itself, so that a kill makes at most one be told again."""
        return self._ledger.told is not None

    def catch_up(self) -> None:
        """Tell the extensions what a driver that was killed may not have told them."""
        if self._extensions is None:
            return
        store, run_id = self._ledger.store, self._ledger.record.run_id
        self._ledger.told = store.told(run_id)
        for transition in store.transitions(run_id, self._ledger.told):
            self._extensions.on_transition(transition)
            self._ledger.told = transition.seq
            self._ledger.note_told()  # before the next: a kill makes no other than the last repeat

    def tell(self, transitions: Sequence[Transition]) -> None:
        """Tell of these, which have just been flushed."""
        for number, transition in enumerate(transitions):
            if self._extensions is not None and self._ledger.told is not None:
                if number:  # else the one before was noted with the flush
                    self._ledger.note_told()
                self._extensions.on_transition(transition)
                self._ledger.told = transition.seq
            if self.listener is not None:
                self.listener(transition)

    def tell_waiting(self, attempt: AttemptRecord) -> None:
        """Tell whoever watches why an attempt does not go on, or that it may again."""
        if self.waits is not None:
            self.waits(attempt)
