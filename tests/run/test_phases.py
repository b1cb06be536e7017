"""The phases of an attempt: what a driver may do with it next."""

from __future__ import annotations

import pytest

from aiflow_ext.run.driving import attempt as attempts
from aiflow_ext.run.driving.attempt import NEXT, Attempt, Phase
from aiflow_ext.run.store.records import AttemptRecord


def reachable(phase: Phase) -> set[Phase]:
    found: set[Phase] = set()
    ahead = {phase}
    while ahead:
        ahead = {following for each in ahead for following in NEXT[each]} - found
        found |= ahead
    return found


@pytest.fixture
def attempt():
    return Attempt(AttemptRecord("train", 1, "/attempts/train/1"), None, None, None)


@pytest.mark.parametrize("phase", [each for each in Phase if each is not Phase.ENDED])
def test_every_phase_leads_to_an_end_and_to_none_that_is_over(phase):
    assert Phase.ENDED in reachable(phase)
    assert phase not in {Phase.CREATED, Phase.DECIDING, Phase.SWEEPING} & reachable(phase)


def test_what_has_been_submitted_is_not_submitted_again_before_it_was_looked_up(attempt):
    attempt.enter(Phase.SUBMITTING)
    attempt.enter(Phase.SUBMITTED)
    for phase in (Phase.CREATED, Phase.DECIDING, Phase.WAITING, Phase.SUBMITTING):
        with pytest.raises(RuntimeError, match=f"/attempts/train/1 cannot go from SUBMITTED to {phase.name}"):
            attempt.enter(phase)
    attempt.enter(Phase.SUBMITTED)
    assert attempt.phase is Phase.SUBMITTED


def test_an_attempt_that_has_ended_stays_so(attempt):
    attempt.enter(Phase.ENDED)
    for phase in set(Phase) - {Phase.ENDED}:
        with pytest.raises(RuntimeError, match=f"from ENDED to {phase.name}"):
            attempt.enter(phase)
    assert attempt.has_ended


def test_the_drawing_names_every_phase():
    assert all(phase.name in str(attempts.__doc__) for phase in Phase)
