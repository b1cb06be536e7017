"""The platforms of a run that nobody drives, asked what has become of its attempts."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from aiflow_ext.model.attempt import AttemptEvent, Lookup
from aiflow_ext.model.collector import paused
from aiflow_ext.model.errors import AiflowError, StateError, named
from aiflow_ext.model.job import AbstractJobHandler, BaseJob
from aiflow_ext.run.attempt_job import job_again
from aiflow_ext.run.job_views import LiveJobs
from aiflow_ext.run.launch import Launcher, launcher_for
from aiflow_ext.run.ledger import Ledger, meaning
from aiflow_ext.run.observe import Observed
from aiflow_ext.run.promises import keep_promises, open_promises
from aiflow_ext.run.records import AttemptRecord
from aiflow_ext.run.silence import Silent
from aiflow_ext.run.stored import StoredPlan

_log = logging.getLogger("aiflow_ext")


@paused()
def bring_up_to_date(observed: Observed) -> None:
    """Have the records say what the platforms say of what has not ended. For who holds the run's lock."""
    ledger = Ledger(observed.record, observed.store)
    promised = [job.name for job, _, _ in open_promises(ledger)]
    with contextlib.suppress(AiflowError):  # one that cannot be had is told of below, alone
        observed.stored.holding([*promised, *(attempt.job for attempt in observed.live())])
    keep_promises(ledger, lambda attempt: _look_up(observed, attempt))
    ended: list[tuple[Launcher, AttemptRecord]] = []
    for attempt in observed.live():
        try:
            launcher, job = _generated(observed, attempt)
            if attempt.step == "resources" and launcher.lookup(job) is Lookup.NEVER_STARTED:
                # Nor will it be before a driver starts it: nothing more to ask for.
                attempt.step, attempt.unreachable, attempt.reason = None, False, None
                ledger.note(attempt)
                continue
            handler = launcher.attach(job)
            state = handler.state() if handler is not None else None
        except Exception as error:
            attempt.unreachable, attempt.reason = True, f"no answer: {named(error)}"
            continue
        if state is None:
            continue
        if state.ended:
            ended.append((launcher, attempt))
        else:
            ledger.move(attempt, state)
    note_ends(ledger, observed.stored, ended)
    with contextlib.suppress(StateError):
        if ledger.pending:
            ledger.flush()
        if observed.store.promised(observed.run_id):  # nobody is there to keep those that are left
            observed.store.drop_promises(observed.run_id)


def attached(observed: Observed, attempt: AttemptRecord) -> tuple[Launcher, BaseJob, AbstractJobHandler | None]:
    """An attempt's launcher, its job generated anew, and its handler. Raises what the platform raises."""
    launcher, job = _generated(observed, attempt)
    return launcher, job, launcher.attach(job)


def _look_up(observed: Observed, attempt: AttemptRecord) -> Lookup:
    launcher, job = _generated(observed, attempt)
    return launcher.lookup(job)


def _generated(observed: Observed, attempt: AttemptRecord) -> tuple[Launcher, BaseJob]:
    plan = observed.stored.holding([attempt.job])
    return launcher_for(plan.jobs[attempt.job], plan.desc), job_again(plan, observed.record, attempt)


def note_ends(ledger: Ledger, plan: StoredPlan, ended: Iterable[tuple[Launcher, AttemptRecord]]) -> None:
    """Note the ends of these attempts, as far as their platforms tell them now."""
    by_watch: dict[object, tuple[Launcher, dict[str, AttemptRecord]]] = {}
    for launcher, attempt in ended:
        by_watch.setdefault(launcher.key, (launcher, {}))[1][str(attempt.native_id)] = attempt
    for launcher, attempts in by_watch.values():
        try:
            for event in _events(launcher, _jobs(ledger, plan, attempts)):
                attempt = attempts[event.native_id]
                if not event.state.ended:
                    ledger.move(attempt, event.state, event.time)
                    continue
                timeout = plan.holding([attempt.job]).jobs[attempt.job].config.timeout
                state, reason = meaning(attempt, event.state, event.reason, timeout, event.time)
                ledger.move(attempt, state, event.time, exit_code=event.exit_code, signal=event.signal, reason=reason)
        except Exception as error:
            _log.debug("no ends are told: %s: %s", type(error).__name__, error)


def _jobs(ledger: Ledger, plan: StoredPlan, attempts: Mapping[str, AttemptRecord]) -> LiveJobs:
    """The jobs of these attempts, by native id."""

    def again(attempt: AttemptRecord) -> BaseJob:
        return job_again(plan.holding([attempt.job]), ledger.record, attempt)

    jobs = LiveJobs()
    for native_id, attempt in attempts.items():
        jobs.add(native_id, partial(again, attempt))
    return jobs


def _events(launcher: Launcher, jobs: LiveJobs) -> Iterator[AttemptEvent]:
    """What the platform's watch tells of these attempts from the beginning, until they have ended."""
    events = launcher.watch(jobs, None)
    if events is None:
        return
    for event in events:
        if event is None:
            return
        if isinstance(event, Silent):
            continue
        if event.native_id in jobs:
            if event.state.ended:
                jobs.discard(event.native_id)
            yield event
        if not jobs:
            return
