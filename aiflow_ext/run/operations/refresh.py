"""The records of a run that nobody drives, brought up to date with what its platforms say."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

from aiflow_ext.host import secrets
from aiflow_ext.model.attempt import AttemptEvent, Lookup
from aiflow_ext.model.collector import paused
from aiflow_ext.model.errors import AiflowError, StateError, named
from aiflow_ext.model.job import AbstractJobHandler, BaseJob
from aiflow_ext.run.driving.start_intents import open_start_intents, settle_start_intents
from aiflow_ext.run.planning.attempt_job import job_again
from aiflow_ext.run.planning.job_views import LiveJobs
from aiflow_ext.run.planning.plan_codec import StoredPlan
from aiflow_ext.run.platforms.platform_events import PlatformEvent
from aiflow_ext.run.platforms.plugin_adapter import PluginAdapter, adapter_for
from aiflow_ext.run.store.ledger import Ledger
from aiflow_ext.run.store.reconcile import Answer, Became, proves_presence, reconcile
from aiflow_ext.run.store.records import AttemptRecord, RunRecord
from aiflow_ext.run.store.store import Store

_log = logging.getLogger("aiflow_ext")


class Asked(NamedTuple):
    """An attempt, its job generated again, by what its platform is asked, and what it said."""

    attempt: AttemptRecord
    adapter: PluginAdapter
    job: BaseJob
    answer: Answer = Answer()


@paused()
def bring_up_to_date(record: RunRecord, store: Store, plan: StoredPlan) -> None:
    """Have the records say what the platforms say of what has not ended. For who holds the run's lock."""
    ledger = Ledger(record, store)
    intended = [job.name for job, _, _ in open_start_intents(ledger)]
    with contextlib.suppress(AiflowError):  # one that cannot be had is told of below, alone
        plan.holding([*intended, *(attempt.job for attempt in record.live())])
    settle_start_intents(ledger, lambda attempt: _look_up(plan, record, attempt))
    ended: list[Asked] = []
    for attempt in record.live():
        try:
            adapter, job = generated(plan, record, attempt)
            answer = _ask(attempt, adapter, job)
        except Exception as error:
            ledger.show_unreachable(attempt, f"no answer: {named(error)}")
            continue
        if answer.state is not None and answer.state.ended:
            ended.append(Asked(attempt, adapter, job, answer))
        else:
            _note(ledger, plan, attempt, answer)
    for asked in note_ends(ledger, plan, ended):
        _note(ledger, plan, asked.attempt, asked.answer)
    with contextlib.suppress(StateError):
        if ledger.pending:
            ledger.flush()
        if store.start_intents(record.run_id):  # nobody is there to keep those that are left
            store.drop_start_intents(record.run_id)


def attached(
    plan: StoredPlan, record: RunRecord, attempt: AttemptRecord
) -> tuple[PluginAdapter, BaseJob, AbstractJobHandler | None]:
    """An attempt's adapter, its job generated again, and its handler. Raises what the platform raises."""
    adapter, job = generated(plan, record, attempt)
    return adapter, job, adapter.attach(job)


def generated(plan: StoredPlan, record: RunRecord, attempt: AttemptRecord) -> tuple[PluginAdapter, BaseJob]:
    """An attempt's adapter, and its job generated again. Raises what the plugin raises."""
    held = plan.holding([attempt.job])
    secrets.use(held.host)
    return adapter_for(held.jobs[attempt.job], held.desc), job_again(held, record, attempt)


def note_ends(ledger: Ledger, plan: StoredPlan, ended: Iterable[Asked]) -> list[Asked]:
    """Note the ends of these attempts, as far as their platforms tell them now. Returns those whose platform has no
    watch to tell them."""
    by_watch: dict[object, list[Asked]] = {}
    for asked in ended:
        by_watch.setdefault(asked.adapter.key, []).append(asked)
    unwatched: list[Asked] = []
    for group in by_watch.values():
        attempts = {str(asked.attempt.native_id): asked.attempt for asked in group}
        jobs = LiveJobs()
        for asked in group:
            jobs.add(str(asked.attempt.native_id), partial(_job_of, asked))
        try:
            events = group[0].adapter.watch(jobs, None)
            if events is None:
                unwatched += group
                continue
            for event in _until_ended(events, jobs):
                _note(ledger, plan, attempts[event.native_id], Answer(event=event))
        except Exception as error:
            _log.debug("no ends are told: %s: %s", type(error).__name__, error)
    return unwatched


def note_stopped(ledger: Ledger, plan: StoredPlan, stopped: Iterable[Asked]) -> None:
    """Note the ends of attempts that were stopped just now, whatever their platforms tell of them."""
    stopped = list(stopped)
    note_ends(ledger, plan, stopped)
    for asked in stopped:
        if not asked.attempt.state.ended:
            _note(ledger, plan, asked.attempt, Answer(stopped=True))


def _ask(attempt: AttemptRecord, adapter: PluginAdapter, job: BaseJob) -> Answer:
    """What the platform says of an attempt. Raises what the platform raises.

    Most handlers show that the attempt is there, so that it need not be looked up, too.
    """
    lookup = adapter.lookup(job) if attempt.step == "resources" else None
    if lookup not in (None, Lookup.FOUND):
        return Answer(lookup=lookup)
    handler = adapter.attach(job)
    state = handler.state() if handler is not None else None
    if lookup is None and not proves_presence(state):
        lookup = adapter.lookup(job)
    return Answer(state=state, lookup=lookup)


def _note(ledger: Ledger, plan: StoredPlan, attempt: AttemptRecord, answer: Answer) -> None:
    timeout = plan.holding([attempt.job]).jobs[attempt.job].config.timeout
    decision = reconcile(attempt, answer, timeout)
    if decision.became is Became.ENDED:
        ledger.end(attempt, decision)
    elif decision.became is Became.NOT_STARTED:  # nor will it be before a driver starts it
        ledger.rewind(attempt)
    elif decision.became is Became.GOES_ON:
        ledger.reachable(attempt)
        ledger.follow(attempt, decision)


def _look_up(plan: StoredPlan, record: RunRecord, attempt: AttemptRecord) -> Lookup:
    adapter, job = generated(plan, record, attempt)
    return adapter.lookup(job)


def _job_of(asked: Asked) -> BaseJob:
    return asked.job


def _until_ended(events: Iterable[PlatformEvent | None], jobs: LiveJobs) -> Iterator[AttemptEvent]:
    """What a watch tells of these jobs from the beginning, until they have ended or it has nothing more to tell."""
    for event in events:
        if event is None:
            return
        if not isinstance(event, AttemptEvent):
            continue
        if event.native_id in jobs:
            if event.state.ended:
                jobs.discard(event.native_id)
            yield event
        if not jobs:
            return
