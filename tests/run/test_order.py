"""When jobs start: control edges, skipping, limits."""

from __future__ import annotations

import itertools
import json
import os

import pytest

CMD = '"*": {platform: local, engine: cmd_line}\n'


def states(record):
    return {name: job["state"] for name, job in record["jobs"].items()}


@pytest.mark.parametrize(
    ("when", "ends", "expected"),
    [
        ("finished", "true", "FINISHED"),
        ("finished", "false", "SKIPPED"),
        ("failed", "true", "SKIPPED"),
        ("failed", "false", "FINISHED"),
        ("ended", "true", "FINISHED"),
        ("ended", "false", "FINISHED"),
        ("running", "true", "FINISHED"),
        (None, "true", "FINISHED"),
        (None, "false", "SKIPPED"),
    ],
)
def test_a_control_edge_lets_its_job_start_or_skips_it_with_the_reason(project, run_json, when, ends, expected):
    project.jobs(
        f"""
        with af.job("first"): af.cmd("{ends}")
        with af.job("second"): af.cmd("true")
        af.run_after("second", "first", when={when!r})
        """,
        CMD + "first: {}\nsecond: {}\n",
    )
    record = run_json(project)
    assert states(record)["second"] == expected
    if expected == "SKIPPED":
        assert record["jobs"]["second"]["attempts"] == []
        assert "first" in record["jobs"]["second"]["reason"]


def test_skipping_goes_on_downstream_and_leaves_other_branches_alone(project, run_json):
    project.jobs(
        """
        for name, command in [("bad", "false"), ("child", "true"), ("grandchild", "true"), ("other", "true")]:
            with af.job(name): af.cmd(command)
        af.run_after("child", "bad")
        af.run_after("grandchild", "child")
        """,
        CMD + "bad: {}\nchild: {}\ngrandchild: {}\nother: {}\n",
    )
    assert states(run_json(project)) == {
        "bad": "FAILED", "child": "SKIPPED", "grandchild": "SKIPPED", "other": "FINISHED",
    }  # fmt: skip


def test_a_job_with_retries_left_has_not_failed_yet_for_those_who_wait(project, run_json):
    project.jobs(
        """
        with af.job("flaky"): af.cmd('cd "$AIFLOW_CHECKPOINT_DIR"; test -e x || { touch x; false; }')
        with af.job("rescue"): af.cmd("true")
        with af.job("after"): af.cmd("true")
        af.run_after("rescue", "flaky", when="failed")
        af.run_after("after", "flaky")
        """,
        CMD + "flaky: {retries: 1}\nrescue: {}\nafter: {}\n",
    )
    assert states(run_json(project)) == {"flaky": "FINISHED", "rescue": "SKIPPED", "after": "FINISHED"}


def test_a_job_after_a_stream_job_starts_when_that_runs(project, run_json):
    # The stream job ends only once the other one has written what it waits for: started in order, both end.
    project.jobs(
        """
        with af.job("serve"): af.cmd('while ! test -e "$AIFLOW_CHECKPOINT_DIR/../use/done"; do sleep 0.05; done')
        with af.job("use"): af.cmd('touch "$AIFLOW_CHECKPOINT_DIR/done"')
        af.run_after("use", "serve")
        """,
        CMD + "serve: {exec_mode: stream, timeout: 300}\nuse: {}\n",
    )
    assert states(run_json(project, "--jobs", "2")) == {"serve": "FINISHED", "use": "FINISHED"}


def test_stream_jobs_take_no_other_jobs_turn_away(project, run_json):
    wait = 'while ! test -e "$AIFLOW_CHECKPOINT_DIR/../use/done"; do sleep 0.05; done'
    project.jobs(
        f"""
        with af.job("one"): af.cmd('{wait}')
        with af.job("two"): af.cmd('{wait}')
        with af.job("use"): af.cmd('touch "$AIFLOW_CHECKPOINT_DIR/done"')
        af.run_after("use", ["one", "two"])
        """,
        CMD + "one: {exec_mode: stream, timeout: 300}\ntwo: {exec_mode: stream, timeout: 60}\nuse: {}\n",
    )
    assert set(states(run_json(project, "--jobs", "1")).values()) == {"FINISHED"}


def test_no_more_jobs_run_at_once_than_allowed(project, run_json):
    body = "\n".join(f'with af.job("j{n}"): af.cmd("true")' for n in range(8))
    project.jobs(body, CMD + "".join(f"j{n}: {{}}\n" for n in range(8)))
    record = run_json(project, "--jobs", "1")
    spans = sorted(
        (attempt["started_at"], attempt["ended_at"]) for job in record["jobs"].values() for attempt in job["attempts"]
    )
    assert len(spans) == 8
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def spans_of(record):
    """When each job ran: beginning and end."""
    return {name: (job["attempts"][-1]["started_at"], job["attempts"][-1]["ended_at"])
            for name, job in record["jobs"].items()}  # fmt: skip


MEETS = "touch {0}/$AIFLOW_JOB; while test $(ls {0} | wc -l) -lt {1}; do sleep 0.05; done"
FAR = """
import os
from aiflow_ext_local.cmd_line import LocalCmdLineJobPlugin
import aiflow_ext.plugin as af


class Far(af.AbstractPlatform):
    outlives_power_loss = False
    jobs_at_once = os.cpu_count() + 2

    @staticmethod
    def platform():
        return "far"


class FarPlugin(LocalCmdLineJobPlugin):
    def platform(self):
        return Far
"""


def test_each_platform_has_as_many_jobs_at_once_as_the_project_says(project, run_json, stranger, tmp_path):
    stranger("far", FAR, {"far.cmd_line": "FarPlugin"})
    (tmp_path / "met").mkdir()
    meets = MEETS.format(tmp_path / "met", 2)
    names = ("here", "there", "next-here", "next-there")
    body = "\n".join(f'with af.job("{name}"): af.cmd({meets if name in names[:2] else "true"!r})' for name in names)
    config = "".join(f"{name}: {{platform: {'far' if 'there' in name else 'local'}}}\n" for name in names)
    project.jobs(body, '"*": {engine: cmd_line, timeout: 300}\n' + config)
    project.write(project_yaml="jobs: {local: 1, far: 1}\n")
    record = run_json(project)
    assert set(states(record).values()) == {"FINISHED"}
    spans = spans_of(record)
    assert spans["here"][1] <= spans["next-here"][0]
    assert spans["there"][1] <= spans["next-there"][0]


def test_a_platform_says_itself_how_many_of_its_jobs_run_at_once(project, run_json, stranger, tmp_path):
    stranger("far", FAR, {"far.cmd_line": "FarPlugin"})
    (tmp_path / "met").mkdir()
    number = (os.cpu_count() or 1) + 2
    meets = MEETS.format(tmp_path / "met", number)
    body = f'for n in range({number}):\n    with af.job(f"j{{n}}"): af.cmd({meets!r})'
    config = "".join(f"j{n}: {{}}\n" for n in range(number))
    project.jobs(body, '"*": {platform: far, engine: cmd_line, timeout: 300}\n' + config)
    assert set(states(run_json(project)).values()) == {"FINISHED"}


def test_a_resume_keeps_the_projects_limits(project, cli, run_json):
    body = "\n".join(f'with af.job("j{n}"): af.cmd("false")' for n in range(3))
    project.jobs(body, CMD + "".join(f"j{n}: {{}}\n" for n in range(3))).write(project_yaml="jobs: {local: 1}\n")
    cli("run", project.root)
    project.write(project_yaml="")
    done = cli("resume", "latest", "--project", project.root, "--failed", "--json")
    record = {"jobs": {job["name"]: job for job in json.loads(done.stdout)["jobs"]}}
    spans = sorted(spans_of(record).values())
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ("{local: 0}", "'jobs.local' must be 1 or more"),
        ("{local: many}", "'jobs.local' must be"),
        ("{locl: 2}", "'jobs.locl' is read for no job: there is no such platform"),
        ("4", "'jobs' must be"),
    ],
)
def test_limits_that_are_none_are_named_with_their_line(project, cli, limits, words):
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n").write(project_yaml=f"jobs: {limits}\n")
    done = cli("run", project.root)
    assert done.returncode == 3
    assert words in done.stderr
    assert "project.yaml:1" in done.stderr


def test_fail_fast_starts_nothing_after_the_first_failure(project, run_json):
    project.jobs(
        'with af.job("bad"): af.cmd("false")\nwith af.job("next"): af.cmd("true")',
        CMD + "bad: {}\nnext: {}\n",
    )
    record = run_json(project, "--jobs", "1", "--fail-fast")
    assert states(record) == {"bad": "FAILED", "next": "SKIPPED"}
    assert record["exit"] == 1


def test_a_hundred_jobs_in_layers_all_finish(project, run_json):
    lines = []
    for layer in range(5):
        for number in range(20):
            lines.append(f'with af.job("l{layer}n{number}"): af.cmd("true")')
            if layer:
                lines.append(f'af.run_after("l{layer}n{number}", ["l{layer - 1}n{number}", "l{layer - 1}n0"])')
    config = "".join(f"l{layer}n{number}: {{}}\n" for layer in range(5) for number in range(20))
    project.jobs("\n".join(lines), CMD + config)
    record = run_json(project, "--jobs", "8")
    assert set(states(record).values()) == {"FINISHED"}
