"""A platform that is away, or that has no room: what a run says, and what it asks again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap

import pytest
from interrupted import until
from patience import PATIENCE

PLUGIN = """
    import os
    import aiflow_ext as af
    from aiflow_ext.run.platforms import supervised
    from aiflow_ext_local.cmd_line import LocalCmdLineJobPlugin

    class Busy(af.AbstractPlatform):
        @staticmethod
        def platform():
            return "busy"

    class Plugin(LocalCmdLineJobPlugin):
        def platform(self):
            return Busy

        @af.hookimpl
        def watch(self, jobs, since):
            for native_id in list(jobs):
                yield af.AttemptEvent(native_id, af.JobState.QUEUED, reason="no room yet")
            if not os.path.exists(os.environ["SEEN"]):
                open(os.environ["SEEN"], "w").close()
                raise af.model.errors.UnreachableError("nobody answers")
            yield from super().watch(jobs, since)

        @af.hookimpl
        def check_platform(self, jobs):
            if os.environ.get("CHECK") == "timeout":
                return [af.model.errors.Problem("job 'job' asks for a timeout that the queue never allows")]
            if "CHECK" in os.environ:
                raise ConnectionError("nobody there")
            return []

        @af.hookimpl
        def attach(self, job):
            return Handler(job.job_context.native_id)

        def submit_job(self, job):
            super().submit_job(job)
            return Handler(job.job_context.native_id)

    class Handler(supervised.ProcessHandler):
        def stop(self, grace=10.0):
            if not os.path.exists(os.environ["SEEN"] + ".stop"):
                open(os.environ["SEEN"] + ".stop", "w").close()
                raise getattr(af.model.errors, os.environ.get("STOP", "UnreachableError"))("nobody answers")
            if "LATER" in os.environ and not os.path.exists(os.environ["LATER"]):
                raise af.model.errors.PlatformError("it is refused")
            return super().stop(grace)
"""


@pytest.fixture
def busy(stranger):
    """A platform whose jobs wait, and which is away for a moment."""
    stranger("busy", PLUGIN, {"busy.cmd_line": "Plugin"})


def test_what_a_job_waits_for_and_that_a_platform_is_away_are_lines_of_their_own(project, cli, busy):
    project.jobs('with af.job("job"): af.cmd("true")', "job: {platform: busy, engine: cmd_line}\n")
    done = cli("run", project.root)
    assert done.returncode == 0, done.stderr
    lines = [line.split(" ", 1)[1] for line in done.stdout.splitlines()]
    assert lines.count("job QUEUED: no room yet") == 1
    away = lines.index("platform busy does not answer: nobody answers")
    assert "platform busy answers again" in lines[away:]


HASTY = """
    import os
    import aiflow_ext as af
    from aiflow_ext_local.cmd_line import LocalCmdLineJobPlugin

    class Hasty(af.AbstractPlatform):
        outlives_power_loss = False
        answers_at_once = True

        @staticmethod
        def platform():
            return "busy"

    class Plugin(LocalCmdLineJobPlugin):
        def platform(self):
            return Hasty

        @af.hookimpl
        def watch(self, jobs, since):
            if not os.path.exists(os.environ["SEEN"]):
                open(os.environ["SEEN"], "w").close()
                return iter(())
            return super().watch(jobs, since)
"""


def test_a_watch_that_cannot_be_polled_is_named_on_a_platform_that_answers_at_once(project, cli, busy, tmp_path):
    (tmp_path / "site" / "busy_plugin.py").write_text(textwrap.dedent(HASTY))
    project.jobs('with af.job("job"): af.cmd("true")', "job: {platform: busy, engine: cmd_line}\n")
    done = cli("run", project.root)
    assert done.returncode == 0, done.stderr
    assert "watch returned a tuple_iterator without fileno, setblocking, close" in done.stdout
    assert "aiflow_ext.plugin.PollableWatch" in done.stdout


@pytest.mark.parametrize("error", ["UnreachableError", "PlatformError"])
def test_a_stop_that_fails_is_told_and_tried_again(project, cli, cli_env, busy, error):
    project.jobs('with af.job("job"): af.cmd("sleep 600")', "job: {platform: busy, engine: cmd_line, timeout: 1}\n")
    done = cli("run", project.root, env={**cli_env, "STOP": error})
    assert done.returncode == 1, done.stderr
    why = "it ran into its timeout of 1 s; stopping it failed, and is tried again: nobody answers"
    assert f" job RUNNING: {why}\n" in done.stdout
    assert re.search("job FAILED after .* s: it ran into its timeout of 1 s\n", done.stdout)


def test_a_stop_that_fails_is_kept_on_record_and_tried_again_by_the_next_driver(
    project, cli, cli_env, busy, tmp_path, nothing_left
):
    project.jobs('with af.job("job"): af.cmd("sleep 600")', "job: {platform: busy, engine: cmd_line}\n")
    env = {**cli_env, "LATER": str(tmp_path / "later")}
    run = json.loads(cli("run", project.root, "--detach", "--json", env=env).stdout)["run"]

    def attempt():
        job = json.loads(cli("status", run, "--project", project.root, "--json", env=env).stdout)
        found = job["jobs"][0]["attempts"]
        return found[0] if found else {"state": None, "reason": None}

    until(lambda: attempt()["state"] == "RUNNING")
    stopping = subprocess.Popen([sys.executable, "-m", "aiflow_ext", "stop", run, f"--project={project.root}"], env=env,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    words = "stopping it failed, and is tried again: it is refused"
    assert words in next(line for line in stopping.stderr if "it is refused" in line)
    until(lambda: attempt()["reason"] == words)
    stopping.kill()
    stopping.communicate()
    driver = json.loads(cli("status", run, "--project", project.root, "--json", env=env).stdout)["driver"]
    os.kill(driver, signal.SIGKILL)
    until(lambda: json.loads(cli("runs", "--json", env=env).stdout)[0]["driver"] is None)
    found = attempt()
    assert (found["state"], found["reason"], found["stop_requested"]) == ("RUNNING", words, True)
    done = cli("stop", run, "--project", project.root, env=env)  # by a command alone
    assert done.returncode == 6
    assert "job 'job' (attempt 1) could not be stopped: it is refused" in done.stderr
    assert attempt()["reason"] == "stopping it failed: it is refused"
    (tmp_path / "later").touch()
    assert cli("resume", run, "--project", project.root, env=env).returncode == 7
    assert attempt()["state"] == "STOPPED"
    nothing_left()


def test_a_check_of_the_platform_that_raises_is_a_problem_of_the_platform(project, cli, cli_env, busy):
    project.jobs('with af.job("job"): af.cmd("true")', "job: {platform: busy, engine: cmd_line}\n")
    done = cli("run", project.root, env={**cli_env, "CHECK": ""})
    assert done.returncode == 6
    assert "the platform's check failed: ConnectionError: nobody there" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("options", [[], ["--detach"], ["--json"]])
def test_of_a_run_that_a_platform_refuses_nothing_is_kept(project, cli, cli_env, busy, options):
    project.jobs(
        'with af.job("job"): af.cmd("true")\nwith af.job("here"): af.cmd("true")',
        "job: {platform: busy, engine: cmd_line}\nhere: {platform: local, engine: cmd_line}\n",
    )
    done = cli("run", project.root, *options, env={**cli_env, "CHECK": ""})
    assert done.returncode == 6
    assert "the platform's check failed: ConnectionError: nobody there" in done.stderr
    assert json.loads(cli("runs", "--project", project.root, "--json").stdout) == []
    for kept in ("runs", "artifacts"):
        assert not [*(project.root / ".aiflow" / kept).glob("*")]


def test_a_run_that_is_resumed_is_kept_though_a_platform_refuses_it(project, cli, cli_env, busy):
    project.jobs('with af.job("job"): af.cmd("false")', "job: {platform: busy, engine: cmd_line}\n")
    assert cli("run", project.root).returncode == 1
    refused = cli("resume", "latest", "--project", project.root, "--failed", env={**cli_env, "CHECK": ""})
    assert refused.returncode == 6
    assert len(json.loads(cli("runs", "--project", project.root, "--json").stdout)) == 1


def test_what_a_platform_says_of_a_job_has_the_place_of_the_key_it_speaks_of(project, cli, cli_env, busy):
    project.jobs('with af.job("job"): af.cmd("true")', "job:\n  platform: busy\n  timeout: 100d\n")
    done = cli("run", project.root, env={**cli_env, "CHECK": "timeout"})
    assert done.returncode == 6
    assert "workflow.yaml:3: job 'job' asks for a timeout" in done.stderr


MUTE = """
    import os
    import aiflow_ext as af
    from aiflow_ext.run.platforms import supervised
    from aiflow_ext_local.cmd_line import LocalCmdLineJobPlugin

    class Mute(af.AbstractPlatform):
        @staticmethod
        def platform():
            return "mute"

    class Handler(af.AbstractJobHandler):
        def __init__(self, native_id):
            self.native_id = native_id

    class State(Handler):
        def state(self):
            return supervised.ProcessHandler(self.native_id).state()

    class Text(State):
        def state(self):
            return str(super().state())

    class Wait(Handler):
        def wait(self, timeout):
            return supervised.ProcessHandler(self.native_id).wait(timeout)

    class Silent(State):
        def state(self):
            return super().state() if os.path.exists(os.environ["SEEN"]) else None

    class SilentButWaits(Wait):
        def state(self):
            return None

    KINDS = {"nothing": lambda native_id: None, "plain": lambda native_id: af.AbstractJobHandler()}
    make = KINDS.get(os.environ["KIND"]) or globals()[os.environ["KIND"]]

    class Plugin(LocalCmdLineJobPlugin):
        watch = None

        def platform(self):
            return Mute

        @af.hookimpl
        def attach(self, job):
            return make(job.job_context.native_id)

        def submit_job(self, job):
            super().submit_job(job)
            return make(job.job_context.native_id)
"""
ASKED = """
from aiflow_ext.cli import main
from aiflow_ext.run.driving import platform_thread

platform_thread.PATIENCE = 0.0
main()
"""


@pytest.fixture
def mute(project, cli_env, stranger):
    """A durable platform without a watch; one job on it. Runs it with a kind of handler."""
    stranger("mute", MUTE, {"mute.cmd_line": "Plugin"})

    def start(kind, command):
        project.jobs(f'with af.job("job"): af.cmd({command!r})', "job: {platform: mute, engine: cmd_line}\n")
        argv = [sys.executable, "-c", f"import sys; sys.argv[1:] = ['run', {str(project.root)!r}]; {ASKED}"]
        return subprocess.Popen(argv, env={**cli_env, "KIND": kind}, stdout=subprocess.PIPE, text=True)

    return start


@pytest.mark.parametrize("kind", ["State", "Text", "Wait", "SilentButWaits"])
def test_without_a_watch_a_handler_is_asked_by_what_it_has(mute, kind):
    with mute(kind, "true") as run:
        out, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, out


@pytest.mark.parametrize("kind", ["nothing", "plain"])
def test_a_job_whose_end_nobody_can_tell_is_stopped_and_failed(mute, nothing_left, kind):
    with mute(kind, "sleep 600") as run:
        out, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == 1, out
    assert "job FAILED" in out
    assert "its handler has neither state() nor wait(): its end cannot be found out" in out
    nothing_left()


def test_a_handler_that_cannot_tell_is_told_of_and_asked_on(mute, tmp_path):
    with mute("Silent", "true") as run:
        line = next(line for line in run.stdout if "does not answer" in line)
        assert "its handler's state() returns None, which is: cannot tell; and its plugin has no watch" in line
        (tmp_path / "seen").touch()
        out, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, out


EARLY = """
    import os
    import time
    import aiflow_ext.plugin as af
    from aiflow_ext_local.cmd_line import LocalCmdLineJobPlugin

    REPORTED = os.environ["SEEN"]

    class Early(af.AbstractPlatform):
        @staticmethod
        def platform():
            return "early"

    class Plugin(LocalCmdLineJobPlugin):
        def platform(self):
            return Early

        def submit_job(self, job):
            while not os.path.exists(REPORTED):
                time.sleep(0.01)
            return super().submit_job(job)

        @af.hookimpl
        def watch(self, jobs, since):
            if not os.path.exists(REPORTED):
                for native_id in list(jobs):
                    yield af.AttemptEvent(native_id, af.JobState.LOST, reason="it is not known here")
                open(REPORTED, "w").close()
            yield from super().watch(jobs, since)
"""


def test_a_watch_that_does_not_know_an_attempt_yet_does_not_end_it_while_it_is_submitted(project, cli, stranger):
    stranger("early", EARLY, {"early.cmd_line": "Plugin"})
    project.jobs('with af.job("a"): af.cmd("true")', "a: {platform: early, engine: cmd_line}\n")
    done = cli("run", project.root)
    assert done.returncode == 0, done.stdout + done.stderr
