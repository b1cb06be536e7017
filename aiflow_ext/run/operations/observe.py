"""The present state of a run, with a driver or without.

Most callers only read the records: only polling a platform needs the plan, and plugins.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiflow_ext.model.errors import AiflowError
from aiflow_ext.run.operations.parameters import add_differing
from aiflow_ext.run.store.find import left_out_if_damaged, open_run, stores
from aiflow_ext.run.store.lock import DriverLock, holder
from aiflow_ext.run.store.records import RunRecord
from aiflow_ext.run.store.store import Store

if TYPE_CHECKING:
    from aiflow_ext.run.planning.plan import Plan
    from aiflow_ext.run.planning.plan_codec import StoredPlan


class Observed:
    """A run of a store, with what is needed to poll its platforms. ``only``: the one job that is read of it."""

    def __init__(self, store: Store, run_id: str, only: str | None = None) -> None:
        self.store, self.run_id, self._only = store, run_id, only
        self.record: RunRecord
        self._version: int | None = None  # of the store when it was read; None: to be read again in any case
        self._read()

    @cached_property
    def stored(self) -> StoredPlan:
        """The run's plan; making a job of it imports its plugin."""
        from aiflow_ext.run.planning.plan_codec import StoredPlan
        from aiflow_ext.run.planning.snapshot import use_own_files

        data, options = self.store.plan(self.run_id)
        stored = StoredPlan(data, partial(self.store.planned, self.run_id), options)
        use_own_files(stored.desc, self.folder)
        return stored

    @property
    def plan(self) -> Plan:
        """The whole plan of the run."""
        return self.stored.whole()

    @property
    def folder(self) -> Path:
        return Path(self.record.folder)

    @property
    def driver(self) -> int | None:
        """The pid of the process that drives the run, or None."""
        return holder(self.folder)

    def refresh(self) -> None:
        """Read the records again; if the run has no driver, with the states that its platforms report."""
        self._read()
        if self.record.ended_at is not None or self.driver is not None:
            return
        if not self.record.live() and not self.store.start_intents(self.run_id):
            return
        from aiflow_ext.run.operations.refresh import bring_up_to_date

        try:
            lock = DriverLock(self.folder, looking=True)
        except (AiflowError, OSError):
            return  # a driver has just resumed it, or the folder cannot be written: only the records are read
        try:
            self._read()  # a driver may have ended since
            bring_up_to_date(self.record, self.store, self.stored)
        finally:
            self._version = None  # some answers hold only for now
            lock.release()

    def _read(self) -> None:
        """Read the records, if they have changed since the last time."""
        version = self.store.database.data_version()
        if version != self._version:
            self.record, self._version = self.store.run(self.run_id, self._only), version


def observe(run: str, project: str | None = None) -> Observed:
    """A run by its id. Raises ConfigError if there is no such run."""
    return Observed(*open_run(run, project))


def until_over(observed: Observed) -> Iterator[None]:
    """Read a run again, again and again, until it has ended or has no driver; the caller waits in between."""
    while True:
        driver = observed.driver  # asked first: what a driver has recorded before it ended is read then
        observed.refresh()
        if observed.record.ended_at is not None or driver is None:
            return
        yield


def list_runs(project: str | None = None, *, parameters: bool = False) -> list[dict[str, Any]]:
    """Every run of this user, or of one project, newest first; ``driver`` is the pid of its driver.

    With ``parameters`` each has its ``parameters`` by name, those that differ among the runs of its workflow.
    """
    found: list[dict[str, Any]] = []
    for store in stores(project):
        with contextlib.closing(store), left_out_if_damaged(project):
            runs = store.runs()
            for run in runs:
                run["driver"] = holder(Path(run["folder"])) if run["ended_at"] is None else None
            if parameters:
                add_differing(runs, store.parameters())
            found += runs
    return sorted(found, key=lambda run: -float(run["started_at"]))
