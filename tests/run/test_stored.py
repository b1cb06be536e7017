"""A plan that was stored: as much of it is made again as is asked for."""

from __future__ import annotations

import pytest

from aiflow_ext.run.planning.make_plan import make_plan
from aiflow_ext.run.planning.plan_codec import StoredPlan, plan_to_data


@pytest.fixture
def data(project):
    """The plan of a chain of jobs, each of which reads what the one before wrote."""
    project.jobs(
        'with af.job("one"): one = af.python(number)\n'
        'with af.job("two"): two = af.python(after, one)\n'
        'with af.job("three"): af.python(after, two)\n'
        'with af.job("alone"): af.cmd("true")',
        '"*": {platform: local, engine: python}\none: {}\ntwo: {}\nthree: {}\nalone: {engine: cmd_line}\n',
        steps="def number():\n    return 1\n\n\ndef after(number):\n    return number + 1\n",
    )
    return plan_to_data(make_plan(project.root))


@pytest.fixture
def stored(data):
    asked = []

    def jobs(names):
        asked.append(None if names is None else set(names))
        return {name: job for name, job in data["jobs"].items() if names is None or name in names}

    made = StoredPlan(data, jobs)
    made.asked = asked
    return made


def inputs(plan, job):
    return plan.context(job, "r", "/runs/r").inputs


def test_a_job_is_had_with_what_it_reads_in_whatever_order_jobs_are_asked_for(stored, data):
    whole = StoredPlan(data, lambda names: data["jobs"]).whole()
    for job in ("three", "two", "one"):
        assert inputs(stored.holding([job]), job) == inputs(whole, job)
    assert len(inputs(whole, "three")) == 1


def test_of_a_job_that_reads_nothing_it_alone_is_loaded(stored):
    assert list(stored.holding(["alone"]).jobs) == ["alone"]
    stored.holding(["alone"])
    assert [names for names in stored.asked if names] == [{"alone"}]


def test_the_whole_plan_has_the_workflows_order_whatever_was_asked_for_before(stored, data):
    stored.holding(["three"])
    assert list(stored.whole().jobs) == list(data["jobs"])
