"""What is decided of an attempt, from its record and what its platform says."""

from __future__ import annotations

import contextlib

import pytest

from aiflow_ext.model.attempt import AttemptEvent, Lookup
from aiflow_ext.model.config import BaseJobConfig
from aiflow_ext.model.states import JobState
from aiflow_ext.run.driving.retries import MOST_NOT_BEGUN, Retries
from aiflow_ext.run.store.ledger import Ledger
from aiflow_ext.run.store.reconcile import Answer, Became, end_of, reconcile
from aiflow_ext.run.store.records import AttemptRecord, JobRecord, RunRecord
from aiflow_ext.run.store.store import Store


@pytest.mark.parametrize(
    ("told", "at", "state", "timed_out"),
    [
        (JobState.FINISHED, 150.0, JobState.FINISHED, False),  # known only once the time was up: a driver was away
        (JobState.FAILED, 150.0, JobState.FAILED, False),
        (JobState.FAILED, 701.0, JobState.FAILED, True),
        (JobState.FINISHED, 701.0, JobState.FAILED, True),  # what it exits with when it is ended is no matter
        (JobState.FAILED, None, JobState.FAILED, True),
    ],
)
def test_a_job_that_ended_in_time_has_not_run_into_its_timeout_however_late_that_is_known(told, at, state, timed_out):
    attempt = AttemptRecord("a", 1, "folder")
    attempt.started_at, attempt.timed_out = 100.0, True
    decision = reconcile(attempt, Answer(AttemptEvent("id", told, time=at, reason="its own words")), 600.0)
    assert (decision.state, decision.facts["timed_out"]) == (state, timed_out)
    assert decision.facts["reason"] == ("it ran into its timeout of 600 s" if timed_out else "its own words")


RUNNING, LOST, FAILED, STOPPED = JobState.RUNNING, JobState.LOST, JobState.FAILED, JobState.STOPPED


@pytest.mark.parametrize(
    ("step", "answer", "became", "state"),
    [
        (None, Answer(), Became.NOT_STARTED, None),
        ("resources", Answer(), Became.UNKNOWN, None),
        ("resources", Answer(lookup=Lookup.NEVER_STARTED), Became.NOT_STARTED, None),
        ("acknowledged", Answer(lookup=Lookup.NEVER_STARTED), Became.NOT_STARTED, None),  # its platform has lost it
        ("acknowledged", Answer(lookup=Lookup.UNKNOWN), Became.ENDED, LOST),
        ("resources", Answer(lookup=Lookup.UNKNOWN), Became.ENDED, LOST),
        ("resources", Answer(lookup=Lookup.UNKNOWN, failure="refused"), Became.ENDED, FAILED),
        ("resources", Answer(lookup=Lookup.FOUND, failure="refused"), Became.GOES_ON, None),
        ("acknowledged", Answer(no_answer="no route"), Became.UNKNOWN, None),  # no answer is not absence
        ("acknowledged", Answer(no_answer="no route", failure="refused"), Became.UNKNOWN, None),
        ("acknowledged", Answer(state=RUNNING), Became.GOES_ON, RUNNING),
        ("acknowledged", Answer(state=JobState.SUBMITTING, lookup=Lookup.UNKNOWN), Became.ENDED, LOST),
        ("acknowledged", Answer(state=FAILED), Became.ENDED, FAILED),
        ("acknowledged", Answer(stopped=True), Became.ENDED, STOPPED),
    ],
)
def test_what_became_of_an_attempt_follows_from_its_record_and_what_its_platform_says(step, answer, became, state):
    attempt = AttemptRecord("a", 1, "folder")
    attempt.native_id, attempt.state, attempt.step = "id", JobState.SUBMITTING, step
    decision = reconcile(attempt, answer)
    assert (decision.became, decision.state) == (became, state)


def test_what_was_seen_to_run_is_lost_whatever_its_platform_says_of_its_start():
    attempt = AttemptRecord("a", 1, "folder")
    attempt.native_id, attempt.state, attempt.step, attempt.started_at = "id", RUNNING, "acknowledged", 100.0
    assert reconcile(attempt, Answer(lookup=Lookup.NEVER_STARTED)).state is LOST


@pytest.mark.parametrize(("told", "state"), [(JobState.FINISHED, STOPPED), (FAILED, STOPPED), (LOST, LOST)])
def test_an_end_after_a_stop_that_somebody_asked_for_is_stopped_but_lost_stays_lost(told, state):
    attempt = AttemptRecord("a", 1, "folder")
    attempt.state, attempt.step, attempt.stop_requested = RUNNING, "acknowledged", True
    assert reconcile(attempt, Answer(AttemptEvent("id", told))).state is state


def test_disruptions_before_a_job_has_begun_are_bounded_and_those_of_one_that_ran_are_not():
    job, config = JobRecord("a", "local", "cmd_line"), BaseJobConfig()
    delays = []
    for number in range(1, MOST_NOT_BEGUN + 2):
        attempt = AttemptRecord("a", number, "folder")
        attempt.state, attempt.disruption = FAILED, True
        job.attempts.append(attempt)
        delays.append(Retries().delay(job, attempt, config))
    assert [number for number, delay in enumerate(delays, 1) if delay is None] == [MOST_NOT_BEGUN]
    job.attempts[-2].started_at = 100.0
    assert Retries().delay(job, job.attempts[-2], config) is not None


@pytest.mark.parametrize(("by_user", "verdict"), [(False, JobState.FINISHED), (True, JobState.STOPPED)])
def test_a_server_that_had_not_started_when_no_job_needed_it_is_no_stop_of_the_run(tmp_path, by_user, verdict):
    record = RunRecord("r", "w", str(tmp_path), str(tmp_path / "r"), 1.0)
    record.jobs = {name: JobRecord(name, "local", "cmd_line") for name in ("serve", "ask")}
    with contextlib.closing(Store(tmp_path / ".aiflow")) as store:
        store.add_run(record, {"jobs": {name: {} for name in record.jobs}}, {})
        ledger = Ledger(record, store)
        attempt = ledger.attempt(record.jobs["serve"], str(tmp_path / "r/jobs/serve/1"))
        ledger.note(attempt, unneeded=True, stop_requested=by_user)
        ledger.end(attempt, end_of(attempt, STOPPED))
        ledger.skip(record.jobs["ask"], "waits for good to be failed; it is FINISHED")
        ledger.flush()
        ledger.close()
    assert (record.jobs["serve"].state, record.state) == (STOPPED, verdict)
