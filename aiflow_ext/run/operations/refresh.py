"""Refreshes the records of a run without a driver: its platforms are polled for the states of its attempts."""

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
from aiflow_ext.run.planning.serving import ready_of
from aiflow_ext.run.platforms.platform_events import PlatformEvent, checked
from aiflow_ext.run.platforms.plugin_adapter import PluginAdapter, adapter_for
from aiflow_ext.run.store.in_process import settle as settle_in_process
from aiflow_ext.run.store.ledger import Ledger
from aiflow_ext.run.store.reconcile import Answer, Became, proves_presence, reconcile
from aiflow_ext.run.store.records import AttemptRecord, RunRecord
from aiflow_ext.run.store.store import Store

_log = logging.getLogger("aiflow_ext")


class PolledAttempt(NamedTuple):
    """An attempt, its adapter and its job, generated again, and the platform's answer."""

    attempt: AttemptRecord
    adapter: PluginAdapter
    job: BaseJob
    answer: Answer = Answer()


@paused()
def bring_up_to_date(record: RunRecord, store: Store, plan: StoredPlan) -> None:
    """Record the present states of attempts that have not ended. The caller holds the run's lock."""
    ledger = Ledger(record, store)
    settle_in_process(ledger)
    intended = [job.name for job, _, _ in open_start_intents(ledger)]
    with contextlib.suppress(AiflowError):  # a job that cannot be generated is reported below, by itself
        plan.holding([*intended, *(attempt.job for attempt in record.live())])
    settle_start_intents(ledger, lambda attempt: _look_up(plan, record, attempt))
    ended: list[PolledAttempt] = []
    for attempt in record.live():
        try:
            adapter, job = generated(plan, record, attempt)
            answer = _ask(attempt, adapter, job)
        except Exception as error:
            ledger.show_unreachable(attempt, f"no answer: {named(error)}")
            continue
        if answer.state is not None and answer.state.ended:
            ended.append(PolledAttempt(attempt, adapter, job, answer))
        else:
            _note(ledger, plan, attempt, answer)
    for polled in note_ends(ledger, plan, ended):
        _note(ledger, plan, polled.attempt, polled.answer)
    with contextlib.suppress(StateError):
        if ledger.pending:
            ledger.flush()
        if store.start_intents(record.run_id):  # there is no driver that needs those that are left
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


def note_ends(ledger: Ledger, plan: StoredPlan, ended: Iterable[PolledAttempt]) -> list[PolledAttempt]:
    """Record the ends of these attempts, as far as their platforms report them now. Returns those whose platform has no
    watch."""
    by_watch: dict[object, list[PolledAttempt]] = {}
    for polled in ended:
        by_watch.setdefault(polled.adapter.key, []).append(polled)
    unwatched: list[PolledAttempt] = []
    for group in by_watch.values():
        attempts = {str(polled.attempt.native_id): polled.attempt for polled in group}
        jobs = LiveJobs()
        for polled in group:
            jobs.add(str(polled.attempt.native_id), partial(_job_of, polled))
        try:
            events = group[0].adapter.watch(jobs, None)
            if events is None:
                unwatched += group
                continue
            for event in _until_ended(events, jobs):
                _note(ledger, plan, attempts[event.native_id], Answer(event=event))
        except Exception as error:
            _log.debug("no ends are reported: %s: %s", type(error).__name__, error)
    return unwatched


def note_stopped(ledger: Ledger, plan: StoredPlan, stopped: Iterable[PolledAttempt]) -> None:
    """Record the ends of attempts that were stopped just now, also of those whose platforms report no end."""
    stopped = list(stopped)
    note_ends(ledger, plan, stopped)
    for polled in stopped:
        if not polled.attempt.state.ended:
            _note(ledger, plan, polled.attempt, Answer(stopped=True))


def _ask(attempt: AttemptRecord, adapter: PluginAdapter, job: BaseJob) -> Answer:
    """The platform's answer for an attempt. Raises what the platform raises.

    Most handlers prove that the attempt exists, so that no look-up is needed.
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
    config = plan.holding([attempt.job]).jobs[attempt.job].config
    decision = reconcile(attempt, answer, config.timeout, serves=ready_of(config) is not None)
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


def _job_of(polled: PolledAttempt) -> BaseJob:
    return polled.job


def _until_ended(events: Iterable[PlatformEvent | None], jobs: LiveJobs) -> Iterator[AttemptEvent]:
    """The events of these jobs from a new watch, until all have ended or the watch has no more events now."""
    for event in map(checked, events):
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
