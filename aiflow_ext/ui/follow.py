"""Runs followed: what a page is told when it begins to look, and whatever has changed since."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from aiflow_ext.model.errors import ConfigError
from aiflow_ext.run.store.changes import RunState, changed_since, jobs_now, live_jobs, state_of
from aiflow_ext.run.store.lock import holder, is_stopped
from aiflow_ext.run.store.records import AttemptRecord, JobRecord
from aiflow_ext.supervise.clock import Clock
from aiflow_ext.ui.runs import Runs, drivers_of

LOOK = 0.25  # seconds between two looks at a run
LOOK_AT_LIVE = 1.0  # seconds between two looks at what is recorded of live jobs without a change of their states
LOOK_AT_ALL = 0.4  # seconds between two looks at all runs
_FLAGS = ("unreachable", "stop_requested", "timed_out", "disruption", "out_of_memory")

Event = tuple[str, dict[str, Any]]


class RunFollower:
    """One page that looks at one run. Not for use by several threads at once.

    Most looks read a counter in shared memory. What has changed is read by the numbers of transitions: the whole record
    is read once, and whenever the run itself ends, is resumed or gets another driver.
    """

    def __init__(self, runs: Runs, run_id: str) -> None:
        self._runs, self._run_id, self._store = runs, run_id, runs.open_store(run_id)
        self._version: int | None = None
        self._seq = 0
        self._known: tuple[RunState, int | None] | None = None  # the run's own state and its driver
        self._looked_at_live = 0.0
        self._unread = False  # whether live jobs may have changed since they were read

    def look(self) -> list[Event]:
        """What has changed since the last look: ``run``, with all jobs, or ``jobs`` with some. Raises ConfigError where
        the run was removed."""
        driver = holder(self._folder) if self._known is not None else None
        version = self._store.database.data_version()
        if self._known is None or version != self._version or driver != self._known[1]:
            self._version = version
            state = state_of(self._store.database, self._run_id)
            if state is None:
                raise ConfigError(f"run {self._run_id} was removed")
            if self._known is None or (state, driver) != self._known:
                return [self._whole(state)]
            self._unread = True
        found = self._changed() if self._unread else []
        if self._known[0].ended_at is None and driver is None:
            self._runs.ask_platforms(self._run_id)
        return found

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _whole(self, state: RunState) -> Event:
        self._seq = self._store.transitions.last_seq(self._run_id)  # first: what comes meanwhile is told twice
        try:
            record = self._store.run(self._run_id)
        except KeyError:
            raise ConfigError(f"run {self._run_id} was removed") from None
        self._folder = Path(record.folder)
        self._clock = Clock(record.folder)
        driver = holder(self._folder)
        self._known, self._unread, self._looked_at_live = (state, driver), False, time.monotonic()
        return "run", {
            "run": {**record.head(), "driver": driver, "stopped": driver is not None and is_stopped(driver)},
            "now": self._clock.now(),
            "jobs": [row_of(job) for job in record.jobs.values()],
        }

    def _changed(self) -> list[Event]:
        self._seq, names = changed_since(self._store.database, self._run_id, self._seq)
        if time.monotonic() - self._looked_at_live >= LOOK_AT_LIVE:
            names |= live_jobs(self._store.database, self._run_id)
            self._looked_at_live, self._unread = time.monotonic(), False
        if not names:
            return []
        rows = [row_of(job) for job in jobs_now(self._store.database, self._run_id, names)]
        return [("jobs", {"now": self._clock.now(), "jobs": rows})]


class ListFollower:
    """One page that looks at the list of runs. Not for use by several threads at once."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._traces: tuple[object, ...] | None = None
        self._found: list[dict[str, Any]] = []
        self._drivers: tuple[int | None, ...] = ()
        self._not_before = 0.0

    def look(self) -> list[Event]:
        """The whole list, where anything has changed since the last look."""
        if time.monotonic() < self._not_before:
            return []
        traces, drivers = self._runs.traces(), drivers_of(self._found)
        if (traces, drivers) == (self._traces, self._drivers):
            return []
        began = time.monotonic()
        self._found = self._runs.listed()
        self._traces, self._drivers = traces, drivers_of(self._found)
        now = time.monotonic()
        self._not_before = now + 10 * (now - began)  # a long list takes no more than a tenth of a processor
        return [("runs", {"now": time.time(), "runs": self._found})]

    def close(self) -> None:
        """Nothing is open."""


def row_of(job: JobRecord) -> list[Any]:
    """A job in the order in which ``jobOf`` of hooks.js reads it; an attempt likewise."""
    last = job.last
    flags = [each for each in _FLAGS if last is not None and getattr(last, each)]
    attempts = [_attempt(each) for each in job.attempts]
    node = None if last is None else last.node
    return [job.name, job.platform, job.engine, str(job.state), job.why, node, flags, attempts]


def _attempt(attempt: AttemptRecord) -> list[Any]:
    return [attempt.number, str(attempt.state), attempt.submitted_at, attempt.started_at, attempt.ended_at]
