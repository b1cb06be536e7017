"""Cleans up on the platform after an attempt that has ended."""

from __future__ import annotations

import logging
from functools import partial

from aiflow_ext.model.errors import UnreachableError, named, text_of
from aiflow_ext.run.driving.attempt import Attempt
from aiflow_ext.run.driving.state import DriverState

_log = logging.getLogger("aiflow_ext")
PATIENCE = 600.0  # seconds in which one of the cleanups must return that a run still waits for at its end
NOT_RETURNED = "cleanup_job has not returned"


class Cleanup:
    """Calls ``cleanup_job``. If that fails, the next driver and ``gc`` call it again.

    Attributes:
        open: the attempts that are not cleaned up yet, each with what it waits for, in words.
        gave_up: whether the run does not wait for those that were left.
    """

    def __init__(self, state: DriverState) -> None:
        self._state = state
        self.open: dict[Attempt, str] = {}
        self.gave_up = False
        self._is_last = False

    def begin(self, attempt: Attempt) -> None:
        """Clean up after an attempt, once its end is in the store."""
        self.open[attempt] = NOT_RETURNED
        clean = partial(self._call, attempt)
        if self._state.ledger.holds(attempt.record):
            self._state.committer.after_flush(clean)
        else:
            clean()

    def await_last(self) -> None:
        """Note that the run waits for nothing but cleanups. It gives them up once none has returned for ``PATIENCE``
        seconds. Idempotent."""
        if not self._is_last:
            self._is_last = True
            self._give_up_unless_fewer_than(len(self.open) + 1)

    def _give_up_unless_fewer_than(self, before: int) -> None:
        """Give up, unless fewer are open than ``before``; then look again later."""
        if len(self.open) < before:
            again = partial(self._give_up_unless_fewer_than, len(self.open))
            self._state.inbox.later(PATIENCE, again)
            return
        self.gave_up = bool(self.open)
        for attempt, words in self.open.items():
            _log.warning("the run ends without a cleanup after %s, whose logs may be incomplete: %s; "
                         "aiflow-ext gc cleans up later", attempt.record.native_id, words)  # fmt: skip
        self.open.clear()

    def _call(self, attempt: Attempt) -> None:
        attempt.platform.call(attempt, partial(self._clean, attempt), may_wait=True)

    def _clean(self, attempt: Attempt) -> None:
        """In a thread of the platform."""
        assert attempt.job is not None
        post = self._state.post
        try:
            attempt.adapter.cleanup(attempt.job)
        except UnreachableError as error:
            words = text_of(error)
            post(lambda: self._clean_later(attempt, words))
        except Exception as error:
            _log.warning("cleaning up after %s: %s", attempt.record.native_id, named(error))
            post(lambda: self._ended(attempt, cleaned=False))
        else:
            post(lambda: self._ended(attempt, cleaned=True))

    def _clean_later(self, attempt: Attempt, words: str) -> None:
        if self._state.impatient:
            self._ended(attempt, cleaned=False)
            return
        if attempt.pause < 1.0:
            _log.warning("cleaning up after %s waits: %s", attempt.record.native_id, words)
        self.open[attempt] = words
        self._state.ask_later(attempt, partial(self._call, attempt))

    def _ended(self, attempt: Attempt, *, cleaned: bool) -> None:
        self.open.pop(attempt, None)
        if cleaned:
            self._state.ledger.note(attempt.record, cleaned=True)
