"""A run seen and steered from other processes: with a driver, and after its death."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from open_files import open_files
from patience import PATIENCE

from aiflow_ext.run.store.store import Store
from tests.conftest import Project
from tests.run.test_interrupts import start, until

CMD = '"*": {platform: local, engine: cmd_line}\n'


@pytest.fixture
def cli_env(cli_env, tmp_path):
    return {**cli_env, "XDG_STATE_HOME": str(tmp_path / "state")}


def wait_for(project, job, state="RUNNING", cli=None):
    def reached():
        path = project.root / ".aiflow"
        if not (path / "state.db").exists():
            return False
        store = Store(path, create=False)
        try:
            runs = store.runs()
            return bool(runs) and store.run(runs[0]["run"]).jobs[job].state == state
        finally:
            store.close()

    until(reached, f"{job} does not come to {state}")


def status(cli, project):
    done = cli("status", "latest", "--project", project.root, "--json")
    record = json.loads(done.stdout)
    return record, {job["name"]: job["state"] for job in record["jobs"]}


@pytest.fixture
def gated(project):
    """A job that runs until its gate is written to, and one after it."""
    return project.jobs(
        'with af.job("slow"): af.cmd(\'cd "$AIFLOW_CHECKPOINT_DIR"; mkfifo gate; echo begun; read x < gate; '
        "echo done; exit $x')\n"
        'with af.job("next"): af.cmd("echo after")\naf.run_after("next", "slow", when="ended")\n',
        CMD + "slow: {}\nnext: {}\n",
    )


def gate_of(project, job):
    """The gate at which a job waits, once it is there."""

    def gates():
        return list(project.root.glob(f".aiflow/runs/*/checkpoints/{job}/gate"))

    until(gates, "no gate")
    (gate,) = gates()
    return gate


def open_gate(project, code=0):
    gate_of(project, "slow").write_text(f"{code}\n")


def test_a_driver_killed_in_mid_run_is_followed_by_one_that_has_the_true_exit_code(gated, cli, cli_env):
    run = start(gated, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for(gated, "slow")
    run.kill()
    run.wait()
    record, states = status(cli, gated)
    assert states == {"slow": "RUNNING", "next": "INIT"}
    assert record["driver"] is None
    open_gate(gated, 3)
    done = cli("resume", "latest", "--project", gated.root, "--json")
    assert done.returncode == 1
    jobs = {job["name"]: job for job in json.loads(done.stdout)["jobs"]}
    assert (jobs["slow"]["state"], jobs["slow"]["attempts"][0]["exit_code"]) == ("FAILED", 3)
    assert jobs["next"]["state"] == "FINISHED"
    assert len(jobs["slow"]["attempts"]) == 1


def test_status_tells_the_truth_with_no_driver_alive(gated, cli, cli_env):
    run = start(gated, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for(gated, "slow")
    run.kill()
    run.wait()
    open_gate(gated, 4)
    until(lambda: status(cli, gated)[1]["slow"] == "FAILED", "the end is not told")
    record, _ = status(cli, gated)
    assert next(job for job in record["jobs"] if job["name"] == "slow")["attempts"][0]["exit_code"] == 4


def test_a_run_is_stopped_from_another_process_while_it_is_driven(gated, cli, cli_env, nothing_left):
    run = start(gated, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for(gated, "slow")
    done = cli("stop", "latest", "--project", gated.root, "--grace", "1")
    assert done.returncode == 0, done.stderr
    assert run.wait(PATIENCE) == 7
    assert status(cli, gated)[1] == {"slow": "STOPPED", "next": "SKIPPED"}
    nothing_left()


def test_a_run_is_stopped_with_no_driver_alive(gated, cli, cli_env, nothing_left):
    run = start(gated, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for(gated, "slow")
    run.kill()
    run.wait()
    done = cli("stop", "latest", "--project", gated.root, "--grace", "1")
    assert done.returncode == 0, done.stderr
    record, states = status(cli, gated)
    assert states == {"slow": "STOPPED", "next": "SKIPPED"}
    assert record["state"] == "STOPPED"
    nothing_left()


def test_a_run_is_looked_at_and_stopped_whatever_its_projects_files_say_now(gated, cli, cli_env, nothing_left):
    run = start(gated, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for(gated, "slow")
    (gated.root / "project.yaml").write_text("nam: [")
    (gated.root / "workflow.yaml").write_text("- no mapping")
    assert status(cli, gated)[1] == {"slow": "RUNNING", "next": "INIT"}
    assert cli("runs", "--project", gated.root).returncode == 0
    done = cli("stop", "latest", "--project", gated.root, "--grace", "1")
    assert done.returncode == 0, done.stderr
    assert run.wait(PATIENCE) == 7
    assert status(cli, gated)[1]["slow"] == "STOPPED"
    nothing_left()


def test_one_job_is_stopped_and_the_others_go_on(gated, cli, cli_env):
    run = start(gated, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for(gated, "slow")
    assert cli("stop", "latest", "slow", "--project", gated.root, "--grace", "1").returncode == 0
    assert run.wait(PATIENCE) == 7
    assert status(cli, gated)[1] == {"slow": "STOPPED", "next": "FINISHED"}


def test_logs_follow_to_the_last_byte_from_any_process(gated, cli, cli_env):
    run = start(gated, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for(gated, "slow")
    argv = [sys.executable, "-m", "aiflow_ext", "logs", "latest", "slow", "--follow", "--project", str(gated.root)]
    follower = subprocess.Popen(argv, stdout=subprocess.PIPE, env=cli_env)
    assert follower.stdout.readline() == b"begun\n"
    open_gate(gated)
    assert follower.stdout.read() == b"done\n"
    assert follower.wait(PATIENCE) == 0
    assert run.wait(PATIENCE) == 0
    both = cli("logs", "latest", "--project", gated.root).stdout
    assert both == "slow | begun\nslow | done\nnext | after\n"
    assert cli("logs", "latest", "slow", "--tail", "1", "--project", gated.root).stdout == "done\n"


def test_logs_as_json_are_followed_to_the_end_a_line_for_what_has_come(gated, cli, cli_env):
    run = start(gated, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for(gated, "slow")
    argv = [sys.executable, "-m", "aiflow_ext", "logs", "latest", "--json", "--follow", "--project", str(gated.root)]
    follower = subprocess.Popen(argv, stdout=subprocess.PIPE, env=cli_env)
    first = json.loads(follower.stdout.readline())
    assert first == {"job": "slow", "attempt": 1, "stream": "stdout", "text": "begun\n"}
    open_gate(gated)
    rest = [json.loads(line) for line in follower.stdout]
    assert [(each["job"], each["text"]) for each in rest] == [("slow", "done\n"), ("next", "after\n")]
    assert follower.wait(PATIENCE) == 0
    assert run.wait(PATIENCE) == 0


@pytest.mark.parametrize("shape", [[], ["--json"]])
def test_one_attempt_alone_is_followed_where_it_is_named(project, cli, cli_env, shape):
    project.jobs(
        'with af.job("twice"): af.cmd("[ $AIFLOW_ATTEMPT = 2 ] || { echo first; exit 1; }; '
        'cd $AIFLOW_CHECKPOINT_DIR; mkfifo gate; echo second; read x < gate")\n'
        'with af.job("other"): af.cmd("echo other")',
        '"*": {platform: local, engine: cmd_line, retries: 1}\ntwice: {}\nother: {}\n',
    )
    run = start(project, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    gate = gate_of(project, "twice")
    words = ["logs", "latest", "twice", "other", "--attempt", "1", "--follow", *shape, "--project", str(project.root)]
    follower = subprocess.Popen([sys.executable, "-m", "aiflow_ext", *words], stdout=subprocess.PIPE, env=cli_env)
    lines = [follower.stdout.readline(), follower.stdout.readline()]
    gate.write_text("go\n")
    lines += follower.stdout.readlines()
    assert follower.wait(PATIENCE) == 0
    assert run.wait(PATIENCE) == 0
    assert b"second" not in b"".join(lines)
    assert len(lines) == 2


def test_the_error_of_a_second_driver_names_the_first_and_whether_it_is_stopped(gated, cli, cli_env):
    run = start(gated, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for(gated, "slow")
    done = cli("resume", "latest", "--project", gated.root)
    assert done.returncode == 6
    assert str(run.pid) in done.stderr
    run.send_signal(signal.SIGSTOP)
    done = cli("resume", "latest", "--project", gated.root)
    assert "stopped" in done.stderr
    assert f"kill -CONT {run.pid}" in done.stderr
    run.send_signal(signal.SIGCONT)
    cli("stop", "latest", "--project", gated.root, "--grace", "1")
    run.wait(PATIENCE)


def test_a_detached_run_has_a_driver_of_its_own(project, cli):
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    said = json.loads(cli("run", project.root, "--detach", "--json").stdout)
    wait_for(project, "a", "FINISHED")
    record = json.loads(cli("status", said["run"], "--json").stdout)  # found from any folder
    assert record["run"] == said["run"]


def test_failed_jobs_get_a_new_attempt_only_when_asked_for(project, cli):
    project.jobs(
        """
        with af.job("a"): af.cmd('cd "$AIFLOW_CHECKPOINT_DIR"; test -e x || { touch x; false; }')
        with af.job("b"): af.cmd("true")
        af.run_after("b", "a")
        """,
        CMD + "a: {}\nb: {}\n",
    )
    assert cli("run", project.root).returncode == 1
    assert cli("resume", "latest", "--project", project.root).returncode == 1
    assert status(cli, project)[1] == {"a": "FAILED", "b": "SKIPPED"}
    assert cli("resume", "latest", "--failed", "--project", project.root).returncode == 0
    record, states = status(cli, project)
    assert states == {"a": "FINISHED", "b": "FINISHED"}
    assert len(record["jobs"][0]["attempts"]) == 2


def test_resume_from_a_job_runs_it_and_what_follows_again(project, cli):
    project.jobs(
        'with af.job("a"): af.cmd("true")\nwith af.job("b"): af.cmd("true")\nwith af.job("c"): af.cmd("true")\n'
        'af.run_after("b", "a")\naf.run_after("c", "b")',
        CMD + "a: {}\nb: {}\nc: {}\n",
    )
    assert cli("run", project.root).returncode == 0
    assert cli("resume", "latest", "--from", "b", "--project", project.root).returncode == 0
    record, _ = status(cli, project)
    assert [len(job["attempts"]) for job in record["jobs"]] == [1, 2, 2]


def test_a_job_that_is_skipped_after_an_earlier_attempt_says_why_and_not_how_that_one_failed(project, cli):
    project.jobs(
        'with af.job("a"): af.cmd("test ! -e ' + str(project.root / "bad") + '")\nwith af.job("b"): af.cmd("exit 3")\n'
        'af.run_after("b", "a")',
        CMD + "a: {}\nb: {}\n",
    )
    assert cli("run", project.root).returncode == 1
    (project.root / "bad").touch()
    assert cli("resume", "latest", "--from", "a", "--project", project.root).returncode == 1
    (line,) = [each for each in cli("status", "latest").stdout.splitlines() if "SKIPPED" in each]
    assert "waits for a" in line
    assert "exit code 3" not in line


def test_one_job_alone_reads_what_an_earlier_run_made(project, cli, run_json):
    project.jobs(
        'with af.job("make"): x = af.python(len, "abc")\nwith af.job("use"): af.cmd("cat {x}", x=x)',
        '"*": {platform: local, engine: cmd_line}\nmake: {engine: python}\nuse: {}\n',
    )
    done = cli("run", project.root, "--only", "use")
    assert done.returncode == 3
    assert "'make'" in done.stderr
    assert not list((project.root / ".aiflow").glob("runs/*"))
    assert cli("run", project.root).returncode == 0
    record = run_json(project, "--only", "use")
    assert list(record["jobs"]) == ["use"]
    assert record["exit"] == 0


def test_a_firing_has_one_run(project, cli):
    project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")
    assert cli("run", project.root, "--firing-id", "monday").returncode == 0
    assert "has had its run" in cli("run", project.root, "--firing-id", "monday").stderr
    assert len(json.loads(cli("runs", "--project", project.root, "--json").stdout)) == 1


def test_gc_removes_ended_runs_and_their_artifacts_and_no_live_one(gated, cli, cli_env):
    run = start(gated, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for(gated, "slow")
    assert json.loads(cli("gc", "--keep", "0", "--project", gated.root, "--json").stdout) == []
    cli("stop", "latest", "--project", gated.root, "--grace", "1")
    run.wait(PATIENCE)
    assert len(json.loads(cli("gc", "--keep", "0", "--project", gated.root, "--json").stdout)) == 1
    assert not list(gated.root.glob(".aiflow/runs/*"))
    assert json.loads(cli("runs", "--project", gated.root, "--json").stdout) == []


def test_the_graph_shows_jobs_edges_and_states(project, cli):
    project.jobs(
        'with af.job("a"): x = af.python(len, "abc")\nwith af.job("b"): af.python(print, x)\n'
        'with af.job("c \\"d\\""): af.python(print)\naf.run_after("c \\"d\\"", "b", when="ended")',
        '"*": {platform: local, engine: python}\na: {}\nb: {}\n"c \\"d\\"": {}\n',
    )
    drawn = cli("graph", project.root).stdout
    assert drawn.startswith("flowchart TD")
    assert "j0 ==> j1" in drawn
    assert "j1 -->|ended| j2" in drawn
    cli("run", project.root)
    assert '"a<br/>FINISHED"' in cli("graph", "latest", "--project", project.root).stdout


def test_what_is_edited_while_a_run_goes_on_does_not_reach_its_later_jobs(project, cli_env):
    project.jobs(
        'with af.job("first"): af.cmd("mkfifo $AIFLOW_CHECKPOINT_DIR/gate; read x < $AIFLOW_CHECKPOINT_DIR/gate")\n'
        'with af.job("second"): af.python(said)\naf.run_after("second", "first")',
        CMD + "first: {}\nsecond: {engine: python}\n",
        steps='def said():\n    print("as it was")\n',
    )
    run = start(project, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    gate = gate_of(project, "first")
    project.write(steps_py='def said():\n    print("edited")\n')
    gate.write_text("go\n")
    assert run.wait(PATIENCE) == 0
    assert project.log("second") == b"as it was\n"


def test_status_watches_without_a_terminal_until_the_run_has_ended(gated, cli, cli_env):
    run = start(gated, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for(gated, "slow")
    words = ["status", "latest", "--watch", "--json", "--project", str(gated.root)]
    watching = subprocess.Popen([sys.executable, "-m", "aiflow_ext", *words], stdout=subprocess.PIPE, env=cli_env)
    until(lambda: gated.root / ".aiflow" / "state.db" in open_files(watching.pid), "the run is not looked at")
    open_gate(gated, 3)
    said, _ = watching.communicate(timeout=PATIENCE)
    assert run.wait(PATIENCE) == 1
    assert watching.returncode == 1
    assert json.loads(said)["state"] == "FAILED"


def test_a_stop_of_a_job_returns_once_all_that_it_has_started_is_gone(project, cli, cli_env):
    project.jobs(
        'with af.job("forks"): af.cmd("cd $AIFLOW_CHECKPOINT_DIR; '
        "sh -c 'trap : TERM; : > up; while :; do sleep 0.1; done' & sleep 600\")\n"
        'with af.job("other"): af.cmd("sleep 600")',
        '"*": {platform: local, engine: cmd_line}\nforks: {}\nother: {}\n',
    )
    run = start(project, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    until(lambda: list(project.root.glob(".aiflow/runs/*/checkpoints/forks/up")), "it does not fork")
    assert cli("stop", "latest", "forks", "--grace", "2", "--project", project.root).returncode == 0
    mark = f"{project.run_folder}/jobs/forks/1"
    assert not [pid for pid in Path("/proc").iterdir() if pid.name.isdigit() and mark in _environment(pid)]
    assert cli("stop", "latest", "--grace", "1", "--project", project.root).returncode == 0
    run.wait(PATIENCE)


def _environment(pid: Path) -> str:
    try:
        return (pid / "environ").read_text(errors="replace")
    except OSError:
        return ""


def test_what_only_reads_comes_from_the_latest_run_and_from_no_run_that_is_in_doubt(project, cli):
    project.jobs(
        'with af.job("a"): a = af.python(number)\nwith af.job("b"): af.python(after, a)',
        '"*": {platform: local, engine: python}\na: {}\nb: {}\n',
        steps="def number():\n    return 1\n\n\ndef after(number):\n    print(number)\n",
    )
    assert cli("run", project.root).returncode == 0
    assert cli("run", project.root, "--only", "b", "--from-run", "latest").returncode == 0
    done = cli("run", project.root, "--only", "b", "--from-run", "tested-")
    assert done.returncode == 3
    assert "'tested-' fits 2 runs" in done.stderr


@pytest.mark.parametrize("below", ["", "data/raw", ".aiflow/copies"])
def test_latest_in_a_projects_folder_is_never_a_run_of_another_project(project, cli, tmp_path, below):
    other = Project(tmp_path / "other")
    other.root.mkdir()
    for each in (project, other):  # the other one's run is the later one
        each.jobs('with af.job("a"): af.cmd("true")', CMD)
        assert cli("run", each.root).returncode == 0
    here = project.root / below
    here.mkdir(parents=True, exist_ok=True)
    if below.startswith(".aiflow"):  # a job's copy of the project is not a project
        (here / "workflow.py").write_text("")

    def latest(command, *more, cwd):
        done = cli(command, "latest", *more, cwd=cwd)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert latest("status", "--json", cwd=here)["run"] == project.run_folder.name
    assert latest("resume", "--json", cwd=here)["run"] == project.run_folder.name
    assert latest("status", "--json", "--project", other.root, cwd=here)["run"] == other.run_folder.name
    assert latest("status", "--json", cwd=tmp_path)["run"] == other.run_folder.name


def test_a_misspelt_latest_is_recognised(project, cli):
    project.jobs("with af.job('a'): af.cmd('true')", "a: {platform: local, engine: cmd_line}\n")
    assert cli("run", project.root).returncode == 0
    done = cli("status", "lastest", "--project", project.root)
    assert done.returncode == 3
    assert "did you mean 'latest'?" in done.stderr


def test_latest_in_a_project_that_has_no_run_is_refused_and_stops_nothing(gated, cli, cli_env, tmp_path):
    run = start(gated, cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for(gated, "slow")
    unused = tmp_path / "unused"
    unused.mkdir()
    (unused / "workflow.py").write_text("")
    (unused / "project.yaml").write_text("nonsense: [")  # a mistake in it is no matter here
    done = cli("stop", "latest", cwd=unused)
    assert done.returncode == 3
    assert "no run of this project" in done.stderr
    open_gate(gated)
    assert run.wait() == 0
