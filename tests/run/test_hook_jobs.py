"""Which jobs the hooks that look at many of them are given, and when these are generated."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.run.test_interrupts import start
from tests.run.test_observe import gate_of

PLUGIN = """
    import json
    import os
    import aiflow_ext as af
    from aiflow_ext_local.cmd_line import LocalCmdLineJobPlugin
    from aiflow_ext_local.python import LocalPythonJobPlugin

    class Queue(af.AbstractPlatform):
        @staticmethod
        def platform():
            return "queue"

    def tell(*words):
        with open(os.environ["SEEN"], "a") as file:
            print(json.dumps(words), file=file)

    class Telling:
        def platform(self):
            return Queue

        def generate(self, sub_graph, project_desc):
            tell("generate", sub_graph.name)
            return super().generate(sub_graph, project_desc)

        def submit_job(self, job):
            tell("submit", job.job_context.job_name)
            return super().submit_job(job)

        @af.hookimpl
        def check_platform(self, jobs):
            tell("check begins", len(jobs), len(jobs[1:]))
            tell("check", *[[job.job_context.job_name, job.job_context.native_id] for job in jobs])
            return []

        @af.hookimpl
        def cleanup_run(self, run_id, jobs):
            tell("cleanup", *[job.job_context.job_name for job in jobs if job.job_context.run_id == run_id])

        @af.hookimpl
        def watch(self, jobs, since):
            if os.environ.pop("WRONG", None):
                yield ("no", "event")
            for event in super().watch(jobs, since):
                if event is not None:
                    job = jobs[event.native_id]
                    same = job is jobs.get(event.native_id) and [event.native_id, job] in map(list, jobs.items())
                    tell("event", job.job_context.job_name, same and job.job_context.native_id == event.native_id)
                yield event

    class CmdLine(Telling, LocalCmdLineJobPlugin):
        pass

    class Python(Telling, LocalPythonJobPlugin):
        pass
"""
WORKFLOW = """
with af.job("one"): af.cmd("true")
with af.job("two"): af.cmd("true")
with af.job("three"): af.python(int)
"""
CONFIG = """
one: {platform: queue, engine: cmd_line}
two: {platform: queue, engine: cmd_line}
three: {platform: queue, engine: python}
"""


@pytest.fixture
def seen(stranger):
    """What the platform ``queue`` has told, in order: a function."""
    file = stranger("queue", PLUGIN, {"queue.cmd_line": "CmdLine", "queue.python": "Python"})
    file.touch()

    def told():
        return [json.loads(line) for line in file.read_text().splitlines()]

    return told


def test_a_plugin_is_given_its_own_jobs_and_one_watch_those_of_its_platform(project, cli, seen):
    project.jobs(WORKFLOW, CONFIG)
    done = cli("run", project.root)
    assert done.returncode == 0, done.stderr
    told = seen()
    assert [each for each in told if each[0].startswith("check")] == [
        ["check begins", 2, 1],
        ["check", ["one", None], ["two", None]],
        ["check begins", 1, 0],
        ["check", ["three", None]],
    ]
    assert sorted(each for each in told if each[0] == "cleanup") == [["cleanup", "one", "two"], ["cleanup", "three"]]
    events = [each for each in told if each[0] == "event"]
    assert {each[1] for each in events} == {"one", "two", "three"}
    assert all(each[2] for each in events)


def test_what_looks_at_the_jobs_before_a_run_generates_none_anew(project, cli, seen):
    project.jobs(WORKFLOW, CONFIG)
    assert cli("run", project.root).returncode == 0
    told = seen()
    last_submit = max(number for number, each in enumerate(told) if each[0] == "submit")
    generated = [each[1] for each in told[:last_submit] if each[0] == "generate"]
    assert sorted(generated) == ["one", "three", "two"]


def test_without_a_driver_a_watch_is_given_the_jobs_too(project, cli, cli_env, seen):
    project.jobs(
        'with af.job("one"): af.cmd("cd $AIFLOW_CHECKPOINT_DIR; mkfifo gate; read x < gate")',
        "one: {platform: queue, engine: cmd_line}\n",
    )
    run = start(project, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    gate_of(project, "one")
    run.kill()
    run.wait()
    before = len(seen())
    assert cli("stop", "latest", "--grace", "0", "--project", project.root).returncode == 0
    events = [each for each in seen()[before:] if each[0] == "event"]
    assert events
    assert all(each == ["event", "one", True] for each in events)


def test_what_a_watch_yields_and_is_no_event_ends_no_driver(project, cli, cli_env, seen):
    project.jobs(WORKFLOW, CONFIG)
    done = cli("run", project.root, env={**cli_env, "WRONG": "1"})
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
