"""A platform that is away, or that has no room: what a run says, and what it asks again."""

from __future__ import annotations

import textwrap

import pytest

PLUGIN = """
    import os
    import aiflow_ext as af
    from aiflow_ext.supervise import attempts
    from aiflow_ext_local.cmd_line import LocalCmdLineJobPlugin

    class Busy(af.AbstractPlatform):
        @staticmethod
        def platform():
            return "busy"

    class Plugin(LocalCmdLineJobPlugin):
        def platform(self):
            return Busy

        @af.hookimpl
        def watch(self, native_ids, since):
            for native_id in list(native_ids):
                yield af.AttemptEvent(native_id, af.JobState.QUEUED, reason="no room yet")
            if not os.path.exists(os.environ["SEEN"]):
                open(os.environ["SEEN"], "w").close()
                raise af.model.errors.UnreachableError("nobody answers")
            yield from super().watch(native_ids, since)

        @af.hookimpl
        def check_platform(self):
            if os.environ.get("CHECK") == "timeout":
                return [af.model.errors.Problem("job 'job' asks for a timeout that the queue never allows")]
            if "CHECK" in os.environ:
                raise ConnectionError("nobody there")
            return []

        @af.hookimpl
        def attach(self, job, native_id):
            return Handler(native_id)

        def submit_job(self, job):
            super().submit_job(job)
            return Handler(job.job_context.native_id)

    class Handler(attempts.ProcessHandler):
        def stop(self, grace=10.0):
            if not os.path.exists(os.environ["SEEN"] + ".stop"):
                open(os.environ["SEEN"] + ".stop", "w").close()
                raise af.model.errors.UnreachableError("nobody answers")
            return super().stop(grace)
"""


@pytest.fixture
def busy(tmp_path, cli_env):
    """A platform whose jobs wait, and which is away for a moment."""
    site = tmp_path / "site"
    info = site / "busy-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "busy_plugin.py").write_text(textwrap.dedent(PLUGIN))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: busy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[aiflow_ext.job_plugins]\nbusy.cmd_line = busy_plugin:Plugin\n")
    cli_env |= {"PYTHONPATH": str(site), "SEEN": str(tmp_path / "seen")}


def test_what_a_job_waits_for_and_that_a_platform_is_away_are_lines_of_their_own(project, cli, busy):
    project.jobs('with af.job("job"): af.cmd("true")', "job: {platform: busy, engine: cmd_line}\n")
    done = cli("run", project.root)
    assert done.returncode == 0, done.stderr
    lines = [line.split(" ", 1)[1] for line in done.stdout.splitlines()]
    assert lines.count("job QUEUED: no room yet") == 1
    away = lines.index("platform busy does not answer: nobody answers")
    assert "platform busy answers again" in lines[away:]


def test_a_stop_that_the_platform_does_not_answer_is_asked_again(project, cli, busy):
    project.jobs('with af.job("job"): af.cmd("sleep 600")', "job: {platform: busy, engine: cmd_line, timeout: 1}\n")
    done = cli("run", project.root)
    assert done.returncode == 1, done.stderr
    assert "it ran into its timeout of 1 s" in done.stdout


def test_a_check_of_the_platform_that_raises_is_a_problem_of_the_platform(project, cli, cli_env, busy):
    project.jobs('with af.job("job"): af.cmd("true")', "job: {platform: busy, engine: cmd_line}\n")
    done = cli("run", project.root, env={**cli_env, "CHECK": ""})
    assert done.returncode == 6
    assert "the platform's check failed: ConnectionError: nobody there" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_a_platform_says_of_a_job_has_the_place_of_the_key_it_speaks_of(project, cli, cli_env, busy):
    project.jobs('with af.job("job"): af.cmd("true")', "job:\n  platform: busy\n  timeout: 100d\n")
    done = cli("run", project.root, env={**cli_env, "CHECK": "timeout"})
    assert done.returncode == 6
    assert "workflow.yaml:3: job 'job' asks for a timeout" in done.stderr
