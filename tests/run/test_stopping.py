"""Stops at odd moments: between two attempts, while a driver begins or stands still, without a driver."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from patience import PATIENCE

from aiflow_ext.run.store.store import Store
from tests.run.test_interrupts import start, until

CMD = '"*": {platform: local, engine: cmd_line}\n'


@pytest.fixture
def cli_env(cli_env, tmp_path):
    return {**cli_env, "XDG_STATE_HOME": str(tmp_path / "state")}


def record_of(project):
    store = Store(project.root / ".aiflow", create=False)
    try:
        return store.run(store.runs()[0]["run"])
    finally:
        store.close()


def reaches(project, job, state, attempt=None):
    def reached():
        if not (project.root / ".aiflow" / "state.db").exists():
            return False
        store = Store(project.root / ".aiflow", create=False)
        try:
            runs = store.runs()
        finally:
            store.close()
        return bool(runs) and record_of(project).jobs[job].state == state

    until(reached, f"{job} does not come to {state}")


def ends(project):
    return {name: (str(job.state), len(job.attempts)) for name, job in record_of(project).jobs.items()}


@pytest.fixture
def between(project):
    """A job that has failed and waits for its next attempt, one that waits for it to finish and one for it to fail."""
    return project.jobs(
        'with af.job("a"): af.cmd("exit 3")\nwith af.job("b"): af.cmd("true")\nwith af.job("c"): af.cmd("true")\n'
        'af.run_after("b", "a")\naf.run_after("c", "a", when="failed")\n',
        CMD + "a: {retries: 3, retry_delay: 600}\nb: {}\nc: {}\n",
    )


def test_a_job_that_is_stopped_between_two_attempts_gets_no_other_and_the_run_goes_on(between, cli, cli_env):
    run = start(between, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    reaches(between, "a", "FAILED")
    assert cli("stop", "latest", "a", "--project", between.root).returncode == 0
    assert run.wait(PATIENCE) == 1
    assert ends(between) == {"a": ("FAILED", 1), "b": ("SKIPPED", 0), "c": ("FINISHED", 1)}


def test_a_job_that_was_stopped_between_two_attempts_with_no_driver_is_not_retried_by_the_next(between, cli, cli_env):
    run = start(between, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    reaches(between, "a", "FAILED")
    run.kill()
    run.wait()
    assert cli("stop", "latest", "a", "--project", between.root).returncode == 0
    assert cli("resume", "latest", "--project", between.root).returncode == 1
    assert ends(between) == {"a": ("FAILED", 1), "b": ("SKIPPED", 0), "c": ("FINISHED", 1)}


def test_a_job_that_is_stopped_before_it_starts_makes_no_stopped_run_with_a_driver_or_without(project, cli, cli_env):
    project.jobs(
        'with af.job("a"): af.cmd(\'mkfifo "$AIFLOW_CHECKPOINT_DIR/gate"; read x < "$AIFLOW_CHECKPOINT_DIR/gate"\')\n'
        'with af.job("b"): af.cmd("true")\nwith af.job("c"): af.cmd("true")\n'
        'af.run_after("b", "a")\naf.run_after("c", "a")\n',
        CMD + "a: {}\nb: {}\nc: {}\n",
    )
    run = start(project, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    reaches(project, "a", "RUNNING")
    assert cli("stop", "latest", "b", "--project", project.root).returncode == 0
    run.kill()
    run.wait()
    assert cli("stop", "latest", "c", "--project", project.root).returncode == 0
    until(lambda: list(project.root.glob(".aiflow/runs/*/checkpoints/a/gate")), "no gate")
    (gate,) = project.root.glob(".aiflow/runs/*/checkpoints/a/gate")
    gate.write_text("go\n")
    assert cli("resume", "latest", "--project", project.root).returncode == 0
    record = record_of(project)
    assert record.state == "FINISHED"
    assert {job.reason for job in record.jobs.values()} == {None, "it was stopped before it started"}


def test_a_stop_with_no_driver_records_how_the_job_ended_and_only_then_cleans_up(project, cli, cli_env):
    project.jobs(
        'with af.job("a"): af.cmd("trap \'exit 9\' TERM; : > $AIFLOW_CHECKPOINT_DIR/up; while :; do sleep 0.05; done")',
        CMD + "a: {}\n",
    )
    run = start(project, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    until(lambda: list(project.root.glob(".aiflow/runs/*/checkpoints/a/up")), "a does not start")
    reaches(project, "a", "RUNNING")
    run.kill()
    run.wait()
    dies = (  # at the first cleaning up; it is injected
        "import os, sys\nfrom aiflow_ext.run.platforms.direct_adapter import DirectAdapter\n"
        "DirectAdapter.cleanup = lambda *_: os.kill(os.getpid(), 9)\n"
        "from aiflow_ext.run.operations.observe import observe\nfrom aiflow_ext.run.operations.stop import stop\n"
        "stop(observe('latest', sys.argv[1]))"
    )
    died = subprocess.run([sys.executable, "-c", dies, str(project.root)], env=cli_env)
    assert died.returncode == -signal.SIGKILL
    (attempt,) = record_of(project).jobs["a"].attempts
    assert (attempt.state, attempt.exit_code) == ("STOPPED", 9)


def test_a_stop_of_a_run_whose_driver_is_stopped_says_so(project, cli_env):
    project.jobs('with af.job("a"): af.cmd("sleep 600")', CMD + "a: {}\n")
    run = start(project, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    reaches(project, "a", "RUNNING")
    run.send_signal(signal.SIGSTOP)
    argv = [sys.executable, "-m", "aiflow_ext"]
    told = subprocess.run([*argv, "status", "latest", "--project", str(project.root)], env=cli_env,
                          capture_output=True, text=True, timeout=PATIENCE)  # fmt: skip
    assert f"driven by pid {run.pid}, which is stopped (SIGSTOP)" in told.stdout
    stopper = subprocess.Popen([*argv, "stop", "latest", "--project", str(project.root)], env=cli_env,
                               stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)  # fmt: skip
    line = stopper.stderr.readline()
    assert f"pid {run.pid} drives the run and is stopped (SIGSTOP)" in line
    assert f"kill -CONT {run.pid}" in line
    run.send_signal(signal.SIGCONT)
    assert stopper.wait(PATIENCE) == 0
    assert run.wait(PATIENCE) == 7


def test_a_stop_that_comes_while_a_driver_begins_is_heard_by_it(project, cli_env):
    """The moment between the driver's lock and its doorbell is held open; nothing else comes there on demand."""
    project.jobs('with af.job("a"): af.cmd("sleep 600")', CMD + "a: {}\n")
    run = start(project, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    reaches(project, "a", "RUNNING")
    run.kill()
    run.wait()
    held = (
        "import sys\nimport aiflow_ext.run.operations.start as start\nfrom aiflow_ext.run import prepare_resume\n"
        "first = start.Driver\n"
        "def driver(*args, **options):\n    print('locked', flush=True); sys.stdin.readline()\n"
        "    return first(*args, **options)\n"
        "start.Driver = driver\n"
        "sys.exit(7 if prepare_resume('latest', project=sys.argv[1]).driver.run().state == 'STOPPED' else 1)\n"
    )
    beginning = subprocess.Popen([sys.executable, "-c", held, str(project.root)], env=cli_env, text=True,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    assert beginning.stdout.readline() == "locked\n"
    stopped = subprocess.run(
        [sys.executable, "-m", "aiflow_ext", "stop", "latest", "--no-wait", "--json", "--project", str(project.root)],
        env=cli_env, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert stopped.returncode == 0, stopped.stderr
    assert json.loads(stopped.stdout)["jobs"][0]["state"] == "RUNNING"
    beginning.communicate("go\n", timeout=PATIENCE)
    assert beginning.returncode == 7
    assert not os.path.exists(f"/proc/{beginning.pid}")


def test_a_job_that_says_how_it_was_stopped_is_quoted(project, cli, cli_env):
    saves = "echo 'stopped with the savepoint /sp/1' > $AIFLOW_REASON_FILE; exit 0"
    waits = ": > $AIFLOW_CHECKPOINT_DIR/up; while :; do sleep 0.05; done"
    project.jobs(f"""with af.job("a"): af.cmd('trap "{saves}" TERM; {waits}'.replace("!", chr(39)))""".replace(
        "'stopped with the savepoint /sp/1'", "!stopped with the savepoint /sp/1!"), CMD + "a: {}\n")  # fmt: skip
    run = start(project, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    until(lambda: list(project.root.glob(".aiflow/runs/*/checkpoints/a/up")), "a does not start")
    assert cli("stop", project.run_folder.name, "--project", project.root).returncode == 0
    run.wait()
    (attempt,) = record_of(project).jobs["a"].attempts
    assert (attempt.state, attempt.exit_code, attempt.reason) == ("STOPPED", 0, "stopped with the savepoint /sp/1")
