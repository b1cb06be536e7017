"""What an end that a platform tells is on record as."""

from __future__ import annotations

import pytest

from aiflow_ext.model.states import JobState
from aiflow_ext.run.ledger import meaning
from aiflow_ext.run.records import AttemptRecord


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
    found, reason = meaning(attempt, told, "its own words", 600.0, at)
    assert (found, attempt.timed_out) == (state, timed_out)
    assert reason == ("it ran into its timeout of 600 s" if timed_out else "its own words")
