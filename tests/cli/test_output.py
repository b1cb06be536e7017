"""What the command line prints, where, and the exit codes it ends with."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import subprocess
import sys

import pytest
from patience import PATIENCE

from aiflow_ext.run.operations import detach
from aiflow_ext.run.store.store import Store

CMD = '"*": {platform: local, engine: cmd_line}\n'


def test_nothing_in_a_pipe_has_colour_codes(project, cli):
    project.jobs('with af.job("a"): af.cmd("true")\nwith af.job("b"): af.cmd("false")', CMD + "a: {}\nb: {}\n")
    for args in (["plugins"], ["run", project.root], ["render", project.root], ["why", "local", "python"], ["--help"]):
        done = cli(*args, env={**os.environ, "FORCE_COLOR": "", "TERM": "xterm-256color"})
        assert "\x1b" not in done.stdout + done.stderr, args


def piped(project, cli_env, jobs, failing=""):
    """A run of many jobs whose lines fill a pipe many times over; and the pipe's reading end."""
    names = [f"{'long-' * 30}{number}" for number in range(jobs)]
    body = "\n".join(f"with af.job({name!r}): af.cmd('true')" for name in names)
    config = CMD + "".join(f"{name}: {{}}\n" for name in names)
    if failing:
        body, config = f"{body}\nwith af.job('bad'): af.cmd('false')", f"{config}bad: {{}}\n"
    project.jobs(body, config)
    read, write = os.pipe()
    fcntl.fcntl(write, 1031, 4096)  # F_SETPIPE_SZ
    argv = [sys.executable, "-m", "aiflow_ext", "run", str(project.root)]
    run = subprocess.Popen(argv, stdout=write, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=cli_env)
    os.close(write)
    return run, read, names


def ended(project):
    """Wait until the project's only run has come to its end; its state."""
    for _ in range(3000):
        if (project.root / ".aiflow" / "state.db").exists():
            store = Store(project.root / ".aiflow", create=False)
            runs = store.runs()
            store.close()
            if runs and runs[0]["ended_at"] is not None:
                return runs[0]["state"]
        select.select([], [], [], 0.02)
    raise AssertionError("the run does not end")


def test_a_run_goes_on_while_nobody_reads_its_lines(project, cli_env):
    run, read, names = piped(project, cli_env, 60)
    assert ended(project) == "FINISHED"
    with os.fdopen(read) as pipe:
        lines = pipe.read().splitlines()
    assert run.wait(PATIENCE) == 0
    assert {line.split()[1] for line in lines if " FINISHED" in line and line.split()[1] in names} == set(names)
    assert lines[0].endswith("60 jobs")
    assert lines[-1].startswith("run ")


def test_a_run_goes_on_after_the_reader_of_its_lines_has_left(project, cli_env):
    run, read, _ = piped(project, cli_env, 40, failing="bad")
    os.read(read, 1)
    os.close(read)
    assert ended(project) == "FAILED"
    assert run.wait(PATIENCE) == 1
    assert run.stderr.read() == b""
    run.stderr.close()


def test_a_firing_that_has_had_its_run_is_no_error(project, cli):
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {periodic: {interval: 10m}}\n")
    again = ["run", project.root, "--only", "a", "--firing-id", "once"]
    assert cli(*again).returncode == 0
    done = cli(*again)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("firing 'once' has had its run: tested-")
    assert done.stderr.endswith(" FINISHED\n")


def test_a_firing_that_is_asked_for_again_ends_as_its_run_has_ended(project, cli):
    body = 'with af.job("a"): af.cmd("echo > {out}; exit 3", out=af.output("o"))\nwith af.job("b"): af.cmd("true")'
    project.jobs(body, CMD + "a: {}\nb: {}\n")
    first = cli("run", project.root, "--firing-id", "once", "--json")
    assert first.returncode == 1
    for more in ([], ["--detach"], ["--only", "b"]):
        again = cli("run", project.root, "--firing-id", "once", "--json", *more)
        assert again.returncode == 1
        assert json.loads(again.stdout) == {**json.loads(first.stdout), "driver": None}
        assert f"has had its run: {json.loads(first.stdout)['run']} FAILED" in again.stderr
    left = detach.prepare(project.root, firing="left")
    left.close()
    again = cli("run", project.root, "--firing-id", "left", "--json")
    assert (again.returncode, json.loads(again.stdout)["state"]) == (8, "RUNNING")
    assert f"it has no driver; to continue it: aiflow-ext resume {left.record.run_id}" in again.stderr


def test_a_terminal_gets_a_live_table(project, cli_env):
    project.jobs('with af.job("first"): af.cmd("true")', CMD + "first: {}\n")
    master, slave = pty.openpty()
    argv = [sys.executable, "-m", "aiflow_ext", "run", str(project.root)]
    run = subprocess.Popen(argv, stdout=slave, stderr=slave, stdin=slave, env={**cli_env, "TERM": "xterm"})
    os.close(slave)
    seen = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        seen += part
    assert run.wait(PATIENCE) == 0
    assert b"\x1b[" in seen
    assert b"FINISHED" in seen


def test_the_exit_codes_are_those_of_the_table(project, cli):
    project.jobs(
        'with af.job("a"): af.cmd("{properties.code}".join(["exit ", ""]))', CMD + "a: {properties: {code: 0}}\n"
    )
    assert cli("run", project.root).returncode == 0
    assert cli("run", project.root, "-p", "code=1").returncode == 1
    assert cli("run").returncode == 2
    assert cli("run", project.root, "--jobs", "0").returncode == 2
    assert cli("no-such-command").returncode == 2
    assert cli("run", project.root / "nowhere").returncode == 3
    assert cli("run", project.root, "-p", "cod=1").returncode == 3
    assert cli("run", project.root, "--set", "a.platform=slurm").returncode == 4
    assert cli("why", "local", "cmd_line").returncode == 0
    assert cli("why", "slurm", "cmd_line").returncode == 4
    assert cli("run", project.root, env={**os.environ, "AIFLOW_PLUGINS_DENY": "aiflow-ext-local"}).returncode == 5


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("run", "{}", "--from-run", "x"), 2, "--only"),
        (("run", "{}", "--firing-id", ""), 2, "empty"),
        (("stop", "", "--project", "{}"), 3, "empty"),
        (("logs", "latest", "--attempt", "9", "--project", "{}"), 3, "no job of run"),
        (("logs", "latest", "a", "--attempt", "9", "--project", "{}"), 3, "there is no attempt 9"),
        (("gc", "--older-than", "a while"), 2, "such as 30d"),
    ],
)
def test_what_a_command_cannot_mean_is_reported_and_not_guessed(project, cli, cli_env, tmp_path, args, code, words):
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    env = {**cli_env, "XDG_STATE_HOME": str(tmp_path / "state")}
    assert cli("run", project.root, env=env).returncode == 0
    done = cli(*[arg.format(project.root) for arg in args], env=env)
    assert done.returncode == code
    assert words in done.stderr


def test_a_project_that_has_never_been_run_has_no_runs_and_nothing_to_remove(project, cli):
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    assert (cli("runs", "--project", project.root, "--json").stdout, (project.root / ".aiflow").exists()) == (
        "[]\n",
        False,
    )
    assert cli("gc", "--keep", "1", "--project", project.root).returncode == 0


def test_a_users_mistake_never_shows_a_traceback(project, cli):
    project.jobs("undefined_name", CMD)
    done = cli("run", project.root)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert f"{project.root}/workflow.py:6" in done.stderr
    assert "undefined_name" in done.stderr


def test_every_mistake_of_a_project_is_reported_at_once(project, cli):
    project.jobs(
        'with af.job("a"): af.cmd("true")\nwith af.job("b"): af.cmd("echo {x}", y=1)\naf.cmd("true")\n'
        'af.run_after("a", "c")',
        CMD + "a: {retris: 2, timeout: soon}\nd: {}\n",
    )
    done = cli("run", project.root, "--json")
    said = json.loads(done.stdout)["error"]
    assert done.returncode == said["exit_code"] == 3
    words = " ".join(problem["message"] for problem in said["problems"])
    assert "'c'" in words  # run_after an unknown job
    assert "no job" in words  # the command outside
    assert "'d'" in words  # a config without a job
    assert all(problem["where"] for problem in said["problems"])


def test_json_errors_name_where_and_what_to_do(project, cli):
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {retris: 2}\n")
    (problem,) = json.loads(cli("run", project.root, "--json").stdout)["error"]["problems"]
    assert problem["where"].endswith("workflow.yaml:2")
    assert "retries" in problem["hint"]


def test_a_reader_that_goes_away_is_no_error(project):
    argv = f"{sys.executable} -m aiflow_ext plugins --json | head -c 1 > /dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", argv], capture_output=True, text=True)
    assert "Traceback" not in done.stderr


def test_listing_is_a_table_of_what_is_installed(cli):
    records = {(record["kind"], record["name"]): record for record in json.loads(cli("plugins", "--json").stdout)}
    local = records["job_plugin", "local.python"]
    assert local["status"] == "available"
    assert local["distribution"] == "aiflow-ext-local"
    assert local["entry_point"] == "aiflow_ext_local.python:LocalPythonJobPlugin"
    assert ("platform", "local") in records
    assert ("engine", "python") in records


def test_what_a_workflow_prints_while_it_is_built_does_not_spoil_the_json(project, cli):
    project.jobs('print("hello")\nwith af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    done = cli("render", project.root, "--json")
    assert json.loads(done.stdout)[0]["job"] == "a"
    assert "hello" in done.stderr
