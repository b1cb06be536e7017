"""A run as it is now, whether somebody drives it or not."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from aiflow_ext.model.attempt import AttemptEvent, Lookup
from aiflow_ext.model.errors import AiflowError, StateError
from aiflow_ext.model.job import AbstractJobHandler, BaseJob
from aiflow_ext.run.find import open_run, stores
from aiflow_ext.run.launch import Launcher, launcher_for
from aiflow_ext.run.ledger import Ledger, meaning
from aiflow_ext.run.lock import DriverLock, holder
from aiflow_ext.run.plan import Plan, generate
from aiflow_ext.run.promises import keep_promises
from aiflow_ext.run.records import AttemptRecord, RunRecord
from aiflow_ext.run.snapshot import use_own_files
from aiflow_ext.run.store import Store
from aiflow_ext.run.stored import plan_from_data

_log = logging.getLogger("aiflow_ext")


class Observed:
    """A run of a store, with what is needed to ask its platforms."""

    def __init__(self, store: Store, run_id: str) -> None:
        self.store, self.run_id = store, run_id
        self.record: RunRecord = store.run(run_id)
        self._plan: Plan | None = None

    @property
    def plan(self) -> Plan:
        """The run's stored plan; loading it imports the plugins that it needs."""
        if self._plan is None:
            self._plan = plan_from_data(self.store.plan(self.run_id)[0])
            use_own_files(self._plan, self.folder)
        return self._plan

    @property
    def folder(self) -> Path:
        return Path(self.record.folder)

    @property
    def driver(self) -> int | None:
        """The pid of the process that drives the run, or None."""
        return holder(self.folder)

    def refresh(self) -> None:
        """Read the records again; where nobody drives the run, with what its platforms say of what has not ended."""
        self.record = self.store.run(self.run_id)
        if self.record.ended_at is not None or self.driver is not None:
            return
        if not self.live() and not self.store.promised(self.run_id):
            return
        try:
            lock = DriverLock(self.folder, looking=True)
        except (AiflowError, OSError):
            return  # somebody took it up just now, or the folder cannot be written: the records are what there is
        try:
            self.record = self.store.run(self.run_id)  # a driver may have ended since it was read
            self._ask()
        finally:
            lock.release()

    def live(self) -> list[AttemptRecord]:
        """The attempts that may be running."""
        return [
            job.last
            for job in self.record.jobs.values()
            if job.last is not None and not job.last.state.ended and job.last.step is not None
        ]

    def attached(self, attempt: AttemptRecord) -> tuple[Launcher, BaseJob, AbstractJobHandler | None]:
        """An attempt's launcher, its job generated anew, and its handler. Raises what the platform raises."""
        launcher, job = self._generated(attempt)
        return launcher, job, launcher.attach(job)

    def _generated(self, attempt: AttemptRecord) -> tuple[Launcher, BaseJob]:
        planned = self.plan.jobs[attempt.job]
        context = self.plan.context(attempt.job, self.run_id, self.folder, attempt.number)
        context.native_id = attempt.native_id
        return launcher_for(planned, self.plan.desc), generate(self.plan, planned, context)

    def _look_up(self, attempt: AttemptRecord) -> Lookup:
        launcher, job = self._generated(attempt)
        return launcher.lookup(job)

    def _ask(self) -> None:
        ledger = Ledger(self.record, self.store)
        keep_promises(ledger, self._look_up)
        live = self.live()
        ended: list[tuple[Launcher, AttemptRecord]] = []
        for attempt in live:
            try:
                launcher, _, handler = self.attached(attempt)
                state = handler.state() if handler is not None else None
            except Exception as error:
                attempt.unreachable, attempt.reason = True, f"no answer: {type(error).__name__}: {error}"
                continue
            if state is None:
                continue
            if state.ended:
                ended.append((launcher, attempt))
            else:
                ledger.move(attempt, state)
        note_ends(ledger, self.plan, ended)
        with contextlib.suppress(StateError):
            ledger.flush()
            self.store.drop_promises(self.run_id)  # nobody is there to keep the others


def note_ends(ledger: Ledger, plan: Plan, ended: Iterable[tuple[Launcher, AttemptRecord]]) -> None:
    """Note the ends of these attempts, as far as their platforms tell them now."""
    by_watch: dict[object, tuple[Launcher, dict[str, AttemptRecord]]] = {}
    for launcher, attempt in ended:
        by_watch.setdefault(launcher.key, (launcher, {}))[1][str(attempt.native_id)] = attempt
    for launcher, attempts in by_watch.values():
        try:
            for event in _events(launcher, set(attempts)):
                attempt = attempts[event.native_id]
                if not event.state.ended:
                    ledger.move(attempt, event.state, event.time)
                    continue
                timeout = plan.jobs[attempt.job].config.timeout
                state, reason = meaning(attempt, event.state, event.reason, timeout, event.time)
                ledger.move(attempt, state, event.time, exit_code=event.exit_code, signal=event.signal, reason=reason)
        except Exception as error:
            _log.debug("no ends are told: %s: %s", type(error).__name__, error)


def _events(launcher: Launcher, native_ids: set[str]) -> Iterator[AttemptEvent]:
    """What the platform's watch tells of these attempts from the beginning, until they have ended."""
    events = launcher.watch(native_ids, None)
    if events is None:
        return
    missing = set(native_ids)
    for event in events:
        if event is None:
            return
        if event.native_id in missing:
            if event.state.ended:
                missing.discard(event.native_id)
            yield event
        if not missing:
            return


def observe(run: str, project: str | None = None) -> Observed:
    """A run by its id. Raises ConfigError where there is no such run."""
    return Observed(*open_run(run, project))


def list_runs(project: str | None = None) -> list[dict[str, Any]]:
    """Every run of this user, or of one project, newest first; ``driver`` is the pid of who drives it."""
    found = [run for store in stores(project) for run in store.runs()]
    for run in found:
        run["driver"] = holder(Path(run["folder"])) if run["ended_at"] is None else None
    return sorted(found, key=lambda run: -float(run["started_at"]))
