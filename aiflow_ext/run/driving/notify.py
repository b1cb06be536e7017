"""Delivers a run's transitions to an extension, beside the driver: each at least once, in order, at its own pace."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from aiflow_ext.host.extensions import Hook, call, words_of
from aiflow_ext.model.attempt import Transition
from aiflow_ext.model.errors import StateError
from aiflow_ext.run.store.records import RunRecord
from aiflow_ext.run.store.store import Store

_log = logging.getLogger("aiflow_ext")
_PAGE = 100  # transitions read at once: an extension that is behind costs no more memory than that


class Notifier:
    """Delivers recorded transitions to one extension, in a thread of its own.

    It reads the transitions from the store, and records its offset there after each delivery: after a kill, the next
    driver repeats at most one.

    Args:
        hook: the extension's ``on_transition``.
        store: the store, for the caller's thread; this thread opens its own.
        record: of the run; its driver changes it.
        caught_up: called in this thread when everything has been delivered, after ``is_awaited`` was set.

    Attributes:
        last: number of the last recorded transition.
        delivered: number of the last transition that was delivered.
        is_awaited: whether the driver waits for the extension.
        problem: in words, what is wrong with the extension; None while nothing is.
    """

    def __init__(self, hook: Hook, store: Store, record: RunRecord, caught_up: Callable[[], None]) -> None:
        self.hook, self.run_id, self._store, self._caught_up = hook, record.run_id, store, caught_up
        self._jobs = record.jobs
        self.last = self.delivered = 0
        self.is_awaited = False
        self.problem: str | None = None
        self._calling: tuple[Transition, float] | None = None  # what is being delivered, and since when
        self._overdue = False
        self._raised = 0
        self._woken = threading.Event()
        self._changing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"aiflow-extension-{hook.extension}")

    def start(self, last: int) -> None:
        """Begin with the transitions that an earlier driver has not delivered, up to number ``last``."""
        self.delivered, self.last = self._store.deliveries.offset(self.run_id, self.hook.extension), last
        self._store.deliveries.set_offset(self.run_id, self.hook.extension, self.delivered)
        self._thread.start()
        self._woken.set()

    def wake(self, last: int) -> None:
        """Deliver transitions up to number ``last``, which are recorded."""
        self.last = last
        self._woken.set()

    def close(self) -> None:
        """Deliver nothing more. A call that has not returned is abandoned: nothing can end it."""
        with self._changing:
            self._closed = True
        self._woken.set()

    @property
    def behind(self) -> bool:
        """Whether there are transitions that are still to be delivered."""
        return self.delivered < self.last and self._thread.is_alive()

    def until(self, limit: float, deadline: float) -> float:
        """The latest time, of ``time.monotonic()``, to wait for it: ``deadline``, or the current call's limit."""
        calling = self._calling
        if calling is None:
            return deadline
        return min(calling[1] + limit, deadline)

    def overdue(self, limit: float) -> str | None:
        """A message if the current call takes longer than ``limit`` seconds; else None."""
        calling = self._calling
        if calling is None or time.monotonic() - calling[1] < limit:
            return None
        event, _ = calling
        return (
            f"on_transition has not returned for more than {limit:g} s (number {event.seq}: {event.job} {event.state})"
        )

    def look(self, limit: float) -> None:
        """Report, once, a call that takes longer than ``limit`` seconds."""
        if not self._overdue and (words := self.overdue(limit)) is not None:
            self._overdue = True
            self.note(words)
            _log.warning("%s: %s; the run goes on, and the rest is delivered once it returns", self.hook.where, words)

    def note(self, problem: str) -> None:
        """Record what is wrong with the extension."""
        self.problem = problem
        with self._changing, contextlib.suppress(StateError):  # the driver gets and reports that error itself
            self._store.deliveries.set_offset(self.run_id, self.hook.extension, self.delivered, problem)

    # -- in its own thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            store = Store(self._store.path.parent, create=False)
            try:
                while self._next():
                    for event in store.transitions.of_run(self.run_id, self.delivered, _PAGE):
                        self._deliver(event)
                        with self._changing:
                            if self._closed:  # another driver may have the run by now
                                return
                            store.deliveries.set_offset(self.run_id, self.hook.extension, event.seq, self.problem)
                            self.delivered = event.seq
            finally:
                store.close()
        except Exception as error:  # of the store
            _log.warning("%s: nothing more is delivered to it: %s", self.hook.where, error)
            self.problem = f"nothing more is delivered to it: {error}"
        finally:
            self._caught_up()

    def _next(self) -> bool:
        """Wait until there is something to deliver; False once it is closed."""
        while not self._closed:
            if self.delivered < self.last:
                return True
            if self.is_awaited:
                self._caught_up()
            self._woken.wait()
            self._woken.clear()
        return False

    def _complete(self, event: Transition) -> Transition:
        """The transition with what the records of its job and its attempt say."""
        job = self._jobs.get(event.job)
        if job is None:  # the workflow has it no more
            return event
        event = event._replace(platform=job.platform, engine=job.engine)
        if event.attempt is None or event.attempt > len(job.attempts):
            return event
        attempt = job.attempts[event.attempt - 1]
        return event._replace(node=attempt.node, started_at=attempt.started_at)

    def _deliver(self, event: Transition) -> None:
        self._calling = event, time.monotonic()
        try:
            call(self.hook, self._complete(event))
            if self._overdue:
                self.problem = None
        except BaseException as error:  # SystemExit and KeyboardInterrupt too: they end nothing here
            self._raised += 1
            times = f", {self._raised} times so far" if self._raised > 1 else ""
            self.problem = f"on_transition raised {words_of(error)} (number {event.seq}{times})"
            _log.warning("%s: %s", self.hook.where, self.problem, exc_info=error if self._raised == 1 else None)
        finally:
            _, since = self._calling
            self._calling = None
        if self._overdue:
            self._overdue = False
            _log.warning("%s: on_transition has returned after %.0f s; the rest is delivered now",
                         self.hook.where, time.monotonic() - since)  # fmt: skip
