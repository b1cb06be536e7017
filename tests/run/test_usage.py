"""What attempts ask for and what they use, from the platform to the record, the table and JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from nine_methods import plugin_of_nine_methods
from own_watch import plugin_that_watches

MIB = 1 << 20
JOBS = 'with af.job("eats"): af.python(eat)\nwith af.job("rests"): af.cmd("sleep 0.2")'
STEPS = """
    import time

    def eat():
        eaten = bytearray(150 << 20)
        until = time.process_time() + 0.4
        while time.process_time() < until: pass
"""
CONFIG = '"*": {platform: local, engine: cmd_line}\neats: {engine: python, cpu: 0.5, memory: 512Mi}\n'


def used(attempt: dict[str, Any]) -> list[Any]:
    return [attempt[key] for key in ("peak_memory", "cpu_seconds", "usage_source")]


@pytest.mark.parametrize(("how", "source"), [((), "process"), (("--in-process",), "client's process")])
def test_peak_memory_and_cpu_seconds_of_a_job_are_recorded_beside_what_it_asked_for(
    project, cli, run_json, how, source
):
    record = run_json(project.jobs(JOBS, CONFIG, STEPS), *how)
    (eats,), (rests,) = (record["jobs"][name]["attempts"] for name in ("eats", "rests"))
    memory, seconds, said = used(eats)
    assert (150 * MIB < memory < 400 * MIB, 0.4 <= seconds < 4, said) == (True, True, source)
    assert (eats["cpu_asked"], eats["memory_asked"]) == (0.5, 512 * MIB)
    assert eats["wall_seconds"] == pytest.approx(eats["ended_at"] - eats["started_at"])
    assert (rests["cpu_asked"], rests["memory_asked"]) == (None, None)
    if not how:
        assert rests["peak_memory"] < 50 * MIB
        assert rests["cpu_seconds"] < 0.2 <= rests["wall_seconds"]
    shown = cli("status", "latest", "eats", "--project", project.root).stdout
    assert f"{memory / MIB:.0f} MiB at its peak, {memory / 512 / MIB:.0%} of what it asked for" in shown
    assert f"{seconds:.2f} s, {seconds / eats['wall_seconds']:.2f} cores at a mean; asked for 500m" in shown
    assert f"measured by {source}" in shown
    assert "Python 3." in shown


def test_status_of_a_job_shows_each_attempt_and_names_the_jobs_that_there_are(project, cli):
    project.jobs('with af.job("fails"): af.cmd("exit 3")', "'*': {platform: local, retries: 1}")
    assert cli("run", project.root).returncode == 1
    shown = json.loads(cli("status", "latest", "fails", "--json", "--project", project.root).stdout)
    assert (shown["name"], shown["state"]) == ("fails", "FAILED")
    assert [each["number"] for each in shown["attempts"]] == [1, 2]
    assert all(each["cpu_seconds"] is not None and each["ran_with"] is None for each in shown["attempts"])
    text = cli("status", "latest", "fails", "--project", project.root)
    assert text.returncode == 1
    assert [line for line in text.stdout.splitlines() if line.startswith("attempt")] == [
        "attempt 1: FAILED, exit code 3", "attempt 2: FAILED, exit code 3"]  # fmt: skip
    unknown = cli("status", "latest", "fail", "--project", project.root)
    assert unknown.returncode == 3
    assert "fails" in unknown.stderr


def test_memory_that_grows_after_a_failure_is_recorded_for_each_attempt(project, run_json):
    too_little = 'test "$AIFLOW_MEMORY" -gt 70000000 || { echo "out of memory: x" > $AIFLOW_REASON_FILE; exit 1; }'
    project.jobs(
        f'with af.job("hungry"): af.cmd({too_little!r})',
        "'*': {platform: local, memory: 64Mi, grow: {memory: 2, max: 1Gi}, retries: 1, retry_on: [out_of_memory]}",
    )
    attempts = run_json(project)["jobs"]["hungry"]["attempts"]
    assert [each["memory_asked"] for each in attempts] == [64 * MIB, 128 * MIB]


def test_what_an_attempt_host_has_used_is_not_told_as_the_jobs_own(project, run_json, stranger, cli_env):
    stranger("remote", plugin_of_nine_methods("remote"), {"remote.cmd_line": "Plugin"})
    project.jobs('with af.job("far"): af.cmd("true")', "'*': {platform: remote}")
    (attempt,) = run_json(project, env=cli_env)["jobs"]["far"]["attempts"]
    assert attempt["usage_source"] == "attempt host"


OWN_KEYS = """

class Config(af.BaseJobConfig):
    def __init__(self, memory: str = "1Gi", cpu: str = "half", **kwargs):
        super().__init__(**kwargs)
        self.memory, self.cpu = memory, cpu


class OwnKeys(Plugin):
    def job_config_type(self): return Config
"""


def test_a_plugin_may_give_keys_of_its_own_the_names_of_those_that_attempts_record(
    project, run_json, stranger, cli_env
):
    stranger("remote", plugin_of_nine_methods("remote", more=OWN_KEYS), {"remote.cmd_line": "OwnKeys"})
    project.jobs('with af.job("far"): af.cmd("true")', "'*': {platform: remote}")
    record = run_json(project, env=cli_env)
    (attempt,) = record["jobs"]["far"]["attempts"]
    assert (record["exit"], attempt["memory_asked"], attempt["cpu_asked"]) == (0, 1 << 30, None)


WATCH = plugin_that_watches("""
    for event in super().watch(jobs, since):
        if event is not None:
            event.usage = af.Usage(*json.load(open(os.environ["SEEN"]))) if event.state.ended else None
        yield event
""")


@pytest.mark.parametrize(
    ("told", "recorded"),
    [
        ([5 * MIB, 1.5, "sacct", 10**15, 7.5], [5 * MIB, 1.5, "sacct", 10**15, 7.5]),
        ([], [None] * 5),
        ([-1, -1.0, ["x"], 1 << 70, "much"], [None, None, "['x']", None, None]),
        ([1.5, float("nan"), "x" * 1000, "1", float("inf")], [None, None, "x" * 100, None, None]),
    ],
)
def test_a_plugins_watch_says_what_an_attempt_has_used(project, run_json, stranger, cli_env, told, recorded):
    stranger("cluster", WATCH, {"cluster.cmd_line": "Plugin"}).write_text(json.dumps(told))
    project.jobs('with af.job("fine"): af.cmd("true")', "'*': {platform: cluster}")
    record = run_json(project, env=cli_env)
    (attempt,) = record["jobs"]["fine"]["attempts"]
    assert [*used(attempt), attempt["reserved_memory_seconds"], attempt["reserved_core_seconds"]] == recorded
    assert record["exit"] == 0
