"""Jobs that run because others have failed: `when="any_failed"` and `af.on_failure`."""

from __future__ import annotations

import json
import os

import pytest

import aiflow_ext as af

KINDS = '"*": {platform: local}\n'
STEPS = """
import os, sys
from pathlib import Path

def fine(): return "fine"
def bad(): raise ValueError("no data today")
def until_cured():
    if not Path(os.environ["CURE"]).exists(): raise ValueError("not cured")
def alert():
    import aiflow_ext as af
    return af.current_job().failed_jobs
"""


def states(record):
    return {name: str(job.state) for name, job in record.jobs.items()}


def test_one_failure_is_enough_and_the_job_learns_which_and_why_and_the_run_has_failed(project) -> None:
    body = """
    with af.job("a"): af.python(fine)
    with af.job("b"): af.python(bad)
    with af.job("c"): af.python(fine)
    with af.job("alert"): af.python(alert)
    af.run_after("c", "b")
    af.run_after("alert", ["a", "b", "c"], when="any_failed")
    """
    project.jobs(body, KINDS, STEPS)
    record = af.run_project(project.root)
    assert states(record) == {"a": "FINISHED", "b": "FAILED", "c": "SKIPPED", "alert": "FINISHED"}
    assert str(record.state) == "FAILED"
    told = af.open_run(record).jobs["alert"].result
    assert told == [{"job": "b", "state": "FAILED", "reason": "ValueError: no data today"}]


def test_where_nothing_fails_it_is_skipped_with_the_reason_and_the_run_has_finished(project) -> None:
    body = """
    with af.job("a"): af.python(fine)
    with af.job("alert"): af.python(alert)
    af.run_after("alert", "a", when="any_failed")
    """
    project.jobs(body, KINDS, STEPS)
    alert = af.run_project(project.root, check=True).jobs["alert"]
    assert (str(alert.state), alert.reason) == ("SKIPPED", "waits for a to fail; none has")


def test_on_failure_waits_for_any_job_that_is_not_after_it_and_does_not_wait_for_the_others_to_end(project, tmp_path):
    body = """
    with af.job("slow"): af.cmd("cat {gate}", gate=GATE)
    with af.job("b"): af.python(bad)
    with af.job("alert"): af.cmd("echo go > {gate}; echo $AIFLOW_FAILED_JOBS", gate=GATE)
    with af.job("after"): af.python(fine)
    af.run_after("after", "alert")
    af.on_failure("alert")
    """.replace("GATE", repr(str(tmp_path / "gate")))
    os.mkfifo(tmp_path / "gate")
    project.jobs(body, KINDS, STEPS)
    record = af.run_project(project.root)
    assert states(record) == {"slow": "FINISHED", "b": "FAILED", "alert": "FINISHED", "after": "FINISHED"}
    assert [each["job"] for each in json.loads(af.open_run(record).logs("alert"))] == ["b"]


def test_two_handlers_do_not_wait_for_each_other_and_a_named_upstream_is_the_only_one(project) -> None:
    body = """
    with af.job("a"): af.python(bad)
    with af.job("b"): af.python(fine)
    with af.job("one"): af.python(fine)
    with af.job("two"): af.python(fine)
    with af.job("of_b"): af.python(fine)
    af.on_failure("one")
    af.on_failure("two")
    af.on_failure("of_b", "b")
    """
    project.jobs(body, KINDS, STEPS)
    found = states(af.run_project(project.root))
    assert (found["one"], found["two"], found["of_b"]) == ("FINISHED", "FINISHED", "SKIPPED")


def test_however_long_the_reasons_of_many_jobs_are_the_job_starts_and_learns_of_the_first(project) -> None:
    body = """
    failing = [f"bad{number}" for number in range(50)]
    for name in failing:
        with af.job(name): af.python(wordy)
    with af.job("alert"): af.cmd("echo $AIFLOW_FAILED_JOBS")
    af.run_after("alert", failing, when="ended")
    """
    project.jobs(body, KINDS, f"{STEPS}\ndef wordy(): raise ValueError('\U0001f6d1' * 400)\n")
    record = af.run_project(project.root, in_process=True)  # for its speed; the limit of a variable is the kernel's
    assert (str(record.jobs["alert"].state), record.jobs["alert"].reason) == ("FINISHED", None)
    told = json.loads(af.open_run(record).logs("alert"))
    assert [each["job"] for each in told] == [f"bad{number}" for number in range(len(told))]
    assert len(told) >= 20


@pytest.mark.parametrize("in_process", [False, True])
def test_fail_fast_starts_nothing_more_but_what_waits_for_the_failure(project, in_process: bool) -> None:
    body = """
    with af.job("a"): af.python(bad)
    with af.job("b"): af.python(fine)
    with af.job("alert"): af.python(fine)
    with af.job("later"): af.python(fine)
    af.run_after("b", "a", when="ended")
    af.run_after("later", "alert")
    af.on_failure("alert", "a")
    """
    project.jobs(body, KINDS, STEPS)
    record = af.run_project(project.root, fail_fast=True, in_process=in_process)
    assert states(record) == {"a": "FAILED", "b": "SKIPPED", "alert": "FINISHED", "later": "SKIPPED"}


@pytest.mark.parametrize("update", [False, True])
def test_only_the_last_attempt_counts_and_a_resume_tells_a_failure_again(project, tmp_path, update: bool) -> None:
    body = """
    with af.job("a"): af.python(until_cured)
    with af.job("alert"): af.python(alert)
    af.on_failure("alert")
    """
    project.jobs(body, f"{KINDS}a: {{retries: 1, env: {{CURE: {tmp_path}/cure}}}}\n", STEPS)
    run = af.open_run(af.run_project(project.root))
    assert (run.jobs["a"].attempts, run.jobs["alert"].attempts) == (2, 1)
    run.resume(failed=True, update=update)
    assert run.jobs["alert"].attempts == 2
    (tmp_path / "cure").touch()
    run.resume(failed=True, update=update)
    assert (str(run.state), str(run.jobs["alert"].state), run.jobs["alert"].attempts) == ("FINISHED", "SKIPPED", 2)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('af.on_failure("alrt")', "af.on_failure names a job 'alrt' that the workflow lacks"),
        ('af.on_failure("alert", "b")', "names a job 'b' that the workflow lacks"),
        ("af.on_failure(3)", "af.on_failure takes the name of a job"),
        ('af.run_after("alert", "a", when="any_fail")', "did you mean 'any_failed'"),
        ('af.run_after("a", "alert"); af.on_failure("alert")', "there is no job whose failure 'alert' could wait for"),
    ],
)
def test_a_mistake_is_named_with_its_line(project, cli, line: str, words: str) -> None:
    project.jobs(f'with af.job("a"): af.python(fine)\nwith af.job("alert"): af.python(alert)\n{line}', KINDS, STEPS)
    refused = cli("render", project.root)
    assert refused.returncode == 3
    assert "workflow.py:8" in refused.stderr
    assert words in refused.stderr
