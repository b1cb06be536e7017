"""A run that is left to a driver of its own: whoever asked for that may rely on it at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from aiflow_ext.model.errors import ConfigError, StateError
from aiflow_ext.run.operations import detach as detach_module
from aiflow_ext.run.operations.detach import detach, detach_resumed
from aiflow_ext.run.operations.observe import observe
from aiflow_ext.run.store.find import open_run
from tests.run.test_interrupts import start
from tests.run.test_observe import gated, open_gate, wait_for  # noqa: F401

CMD = '"*": {platform: local, engine: cmd_line}\n'


@pytest.fixture(autouse=True)
def own_list(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def cli_env(cli_env, tmp_path):
    return {**cli_env, "XDG_STATE_HOME": str(tmp_path / "state")}


@pytest.fixture
def three(project):
    """Two jobs that succeed, and between them one that fails."""
    return project.jobs(
        'with af.job("a"): af.cmd("true")\nwith af.job("b"): af.cmd("echo begun; false")\n'
        'with af.job("c"): af.cmd("true")\naf.run_after("b", "a")\naf.run_after("c", "b", when="ended")',
        CMD + "a: {}\nb: {}\nc: {}\n",
    )


def test_it_is_driven_once_its_id_is_printed(gated):  # noqa: F811
    run_id, pid = detach(gated.root)
    observed = observe(run_id)
    assert observed.driver == pid
    open_gate(gated)


def test_it_can_be_watched_and_its_logs_followed_at_once(three, cli):
    run = json.loads(cli("run", three.root, "--detach", "--json").stdout)["run"]
    assert cli("logs", run, "b", "--follow").stdout == "begun\n"
    watched = cli("status", run, "--watch", "--json")
    assert (watched.returncode, json.loads(watched.stdout)["state"]) == (1, "FAILED")


def test_it_can_be_stopped_at_once(gated, cli, nothing_left):  # noqa: F811
    run = json.loads(cli("run", gated.root, "--detach", "--json").stdout)["run"]
    done = cli("stop", run, "--grace", "1", "--json")
    assert (done.returncode, json.loads(done.stdout)["state"]) == (0, "STOPPED")
    assert cli("status", run, "--watch").returncode == 7
    nothing_left()


def test_a_run_is_taken_up_by_a_driver_of_its_own(three, cli):
    assert cli("run", three.root).returncode == 1
    for more, attempts in ((["--failed"], [1, 2, 1]), (["--from", "b", "--jobs", "1"], [1, 3, 2])):
        done = cli("resume", "latest", "--detach", "--json", *more)
        assert (done.returncode, set(json.loads(done.stdout))) == (0, {"run", "driver"}), done.stderr
        assert cli("status", "latest", "--watch").returncode == 1
        jobs = json.loads(cli("status", "latest", "--json").stdout)["jobs"]
        assert [len(job["attempts"]) for job in jobs] == attempts


def test_what_its_driver_cannot_do_is_reported_with_its_exit_code(three, cli, monkeypatch):
    assert cli("run", three.root).returncode == 1
    done = cli("resume", "latest", "--detach", "--from", "nope", "--json")
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["type"], error["exit_code"]) == (3, "ConfigError", 3)
    assert "has no job 'nope'" in done.stderr
    with pytest.raises(ConfigError, match="its jobs are a, b, c"):
        detach_resumed("latest", from_job="nope")


def test_a_driver_that_dies_before_it_drives_is_reported(three, monkeypatch, tmp_path):
    dies = tmp_path / "dies"
    dies.write_text("#!/bin/sh\necho no room for it >&2\nexit 12\n")
    dies.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(dies))
    with pytest.raises(StateError, match=r"with exit code 12: no room for it[\s\S]*aiflow-ext resume tested-") as told:
        detach(three.root)
    assert told.value.exit_code == 12
    store, run_id = open_run("latest")
    assert store.run(run_id).ended_at is None
    store.close()


SLOW = """
    import os, subprocess, sys
    import aiflow_ext.plugin as af
    from aiflow_ext_local.cmd_line import LocalCmdLineJobPlugin

    class Slow(af.AbstractPlatform):
        @staticmethod
        def platform():
            return "late"

    class Plugin(LocalCmdLineJobPlugin):
        def platform(self):
            return Slow

        @af.hookimpl
        def check_platform(self, jobs):
            if os.path.exists(os.environ["SEEN"]):
                with open(os.environ["SEEN"]) as gate:  # a FIFO: until the test opens it
                    gate.read()
            return []

    if os.environ["HOLDS"] and any(each.startswith("--ready=") for each in sys.argv):  # in the driver
        fds = [int(each) for each in os.listdir("/proc/self/fd") if int(each) > 2]
        fds = [each for each in fds if os.path.exists(f"/dev/fd/{each}")]
        holder = subprocess.Popen(["sleep", "1000"], pass_fds=fds)
        open(os.environ["HOLDS"], "w").write(str(holder.pid))
"""


@pytest.fixture
def slow(project, stranger, cli_env, monkeypatch, tmp_path):
    """A project whose platform is checked until the test opens a FIFO, which this is."""
    gate = stranger("checked_late", SLOW, {"late.cmd_line": "Plugin"})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("SEEN", str(gate))
    monkeypatch.setenv("HOLDS", "")
    project.jobs("with af.job('job'): af.cmd('true')", "job: {platform: late, engine: cmd_line}\n")
    return gate


def test_a_driver_that_takes_long_is_waited_for_with_words_and_not_for_ever(project, slow, cli, monkeypatch, caplog):
    os.mkfifo(slow)
    monkeypatch.setattr(detach_module, "PATIENCE", 0.0)
    monkeypatch.setattr(detach_module, "TOLD", 0.0)
    monkeypatch.setattr(detach_module, "_LOOK", 0.0)
    with pytest.raises(StateError, match="has not taken up the run within 0 s; it goes on, as process") as told:
        detach(project.root)
    assert "end the driver: kill" in str(told.value)
    assert "it checks the run's platforms first" in caplog.text
    with open(slow, "w"):
        pass
    slow.unlink()
    assert cli("status", "latest", "--watch", "--project", project.root).returncode == 0


def test_a_process_that_a_plugin_starts_holds_up_no_detached_run(project, slow, cli, monkeypatch, tmp_path):
    monkeypatch.setenv("HOLDS", str(tmp_path / "holder"))
    try:
        run_id, _ = detach(project.root)
        assert cli("status", run_id, "--watch", "--project", project.root).returncode == 0
    finally:
        os.kill(int((tmp_path / "holder").read_text()), signal.SIGKILL)


def test_a_watch_or_logs_that_nobody_goes_on_with_end_with_a_code_of_their_own(gated, cli, cli_env):  # noqa: F811
    run = start(gated, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for(gated, "slow")
    run.kill()
    run.wait()
    watched = cli("status", "latest", "--watch", "--json")
    assert (watched.returncode, json.loads(watched.stdout)["driver"]) == (8, None)
    assert cli("status", "latest").returncode == 0
    open_gate(gated)
    followed = cli("logs", "latest", "--follow")
    assert (followed.returncode, followed.stdout) == (8, "slow | begun\nslow | done\n")
    assert "it has no driver; to continue it: aiflow-ext resume" in followed.stderr
    assert cli("logs", "latest", "slow", "--follow").returncode == 0  # there is nothing more to come
