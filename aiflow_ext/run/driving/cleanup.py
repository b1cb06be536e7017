"""Cleans up on the platform after an attempt that has ended."""

from __future__ import annotations

import logging
from functools import partial

from aiflow_ext.model.errors import UnreachableError, named, text_of
from aiflow_ext.run.driving.attempt import Attempt
from aiflow_ext.run.driving.state import DriverState

_log = logging.getLogger("aiflow_ext")


class Cleanup:
    """Calls ``cleanup_job``. If that fails, the next driver and ``gc`` call it again.

    Attributes:
        running: how many attempts are not cleaned up yet.
    """

    def __init__(self, state: DriverState) -> None:
        self._state = state
        self.running = 0

    def begin(self, attempt: Attempt) -> None:
        """Clean up after an attempt, once its end is in the store."""
        self.running += 1
        clean = partial(attempt.platform.call, partial(self._clean, attempt))
        if self._state.ledger.holds(attempt.record):
            self._state.committer.after_flush(clean)
        else:
            clean()

    def _clean(self, attempt: Attempt) -> None:
        """In the platform's thread."""
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
        self._state.ask_later(attempt, lambda: attempt.platform.call(partial(self._clean, attempt)))

    def _ended(self, attempt: Attempt, *, cleaned: bool) -> None:
        self.running -= 1
        if cleaned:
            self._state.ledger.note(attempt.record, cleaned=True)
