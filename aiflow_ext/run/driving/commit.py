"""Commits a driver's changes of records, and notifies the listeners afterwards."""

from __future__ import annotations

from collections.abc import Callable

from aiflow_ext.model.errors import Problem, StateError
from aiflow_ext.run.driving.inbox import Inbox
from aiflow_ext.run.driving.listeners import Listeners
from aiflow_ext.run.store.ledger import Ledger


class Committer:
    """Writes the ledger's changes to the store, each batch in one transaction.

    Attributes:
        broken: why nothing can be written any more; None while it can. The driver then leaves the run: jobs go on, and
            a later driver finds out what became of them.
    """

    def __init__(self, ledger: Ledger, listeners: Listeners, inbox: Inbox) -> None:
        self._ledger, self._listeners, self._inbox = ledger, listeners, inbox
        self._after_flush: list[Callable[[], None]] = []
        self.broken: StateError | None = None

    def flush(self, *, durable: bool = False) -> bool:
        """Write the changes and notify the listeners; returns False if they cannot be written.

        ``durable``: return only once a power loss cannot undo it.
        """
        if self.broken is not None:
            return False
        if not self._ledger.pending:
            return True
        try:
            transitions = self._ledger.flush(durable=durable)
        except StateError as error:
            self.break_off(error)
            return False
        self._listeners.tell(transitions)
        for task in self._after_flush:
            self._inbox.when_idle(task)
        self._after_flush.clear()
        return True

    def after_flush(self, task: Callable[[], None]) -> None:
        """Run ``task`` once all changes until now are in the store, and the driver is idle."""
        self._after_flush.append(task)

    def break_off(self, error: StateError) -> None:
        """Record why nothing can be written any more, and leave the run."""
        if self.broken is None:
            first, *more = error.problems
            after = f"what runs goes on; take the run up again with: aiflow-ext resume {self._ledger.record.run_id}"
            hint = f"{first.hint}; {after}" if first.hint else after
            self.broken = StateError(problems=[Problem(first.message, first.where, hint), *more])
