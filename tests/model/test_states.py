"""The state machine: a partial order that late, repeated and missing events cannot break."""

from __future__ import annotations

from itertools import permutations, product

from aiflow_ext import JobState

INIT, SUBMITTING, QUEUED, RUNNING, FINISHED, FAILED, STOPPED, LOST, SKIPPED = JobState


def test_it_is_a_strict_partial_order() -> None:
    for a, b, c in product(JobState, repeat=3):
        assert not a.may_become(a)
        assert not (a.may_become(b) and b.may_become(a))
        if a.may_become(b) and b.may_become(c):
            assert a.may_become(c), (a, b, c)


def test_the_way_of_an_attempt_only_goes_forward() -> None:
    way = [INIT, SUBMITTING, QUEUED, RUNNING]
    for place, state in enumerate(way):
        assert [later for later in way if state.may_become(later)] == way[place + 1 :]
        assert all(state.may_become(end) for end in (FINISHED, FAILED, STOPPED, LOST))


def test_an_end_is_the_end_but_lost_may_be_corrected_to_the_true_one() -> None:
    for end in (FINISHED, FAILED, STOPPED, SKIPPED):
        assert end.ended
        assert not any(end.may_become(state) for state in JobState)
    assert LOST.ended
    assert [state for state in JobState if LOST.may_become(state)] == [FINISHED, FAILED, STOPPED]


def test_only_a_job_that_has_not_begun_is_skipped() -> None:
    assert [state for state in JobState if state.may_become(SKIPPED)] == [INIT]


def test_events_in_any_order_lead_to_the_same_end() -> None:
    for order in permutations([SUBMITTING, QUEUED, RUNNING, LOST, FAILED]):
        state = INIT
        for told in (*order, *order):
            state = told if state.may_become(told) else state
        assert state is FAILED


def test_a_state_is_its_word() -> None:
    assert (str(RUNNING), f"{RUNNING}", JobState("RUNNING")) == ("RUNNING", "RUNNING", RUNNING)
