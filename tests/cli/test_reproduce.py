"""An attempt again, on this machine: the same code, inputs, output and end, and the run stays as it is."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
from interrupted import until
from nine_methods import plugin_of_nine_methods
from patience import PATIENCE
from terminal import Terminal

from aiflow_ext.api.runs import open_run
from aiflow_ext.run import resume_run, run_project
from tests.conftest import Project, processes_marked

STEPS = """
import os, pathlib, sys

def numbers():
    return [1, 2, 3]

def table():
    pathlib.Path("table.csv").write_text("a,b")
    return pathlib.Path("table.csv")

def fails(numbers, table):
    print("sums", sum(numbers), table.name, os.environ["TOKEN"])
    doubled = [each * 2 for each in numbers]
    raise ValueError(f"no {len(doubled)}")

def leaves():
    sys.exit(3)
"""
BODY = """
with af.job("numbers"): n = af.python(numbers)
with af.job("table"): t = af.python(table)
with af.job("fails"): af.python(fails, n, t)
with af.job("leaves"): af.python(leaves)
with af.job("lambda"): af.python(lambda: 1)
with af.job("command"): af.cmd("cat {n}; echo $AIFLOW_JOB > {out}; exit 4", n=n, out=af.output("out.txt"))
with af.job("plain"): af.cmd("echo plain; exit 5")
"""
CONFIG = """
fails: {env: {TOKEN: {secret: "env:TESTED_TOKEN"}}}
plain: {python: python3}
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A project whose only run has ended, with jobs that have failed; tests do not change it."""
    root = tmp_path_factory.mktemp("ended") / "project"
    root.mkdir()
    project = Project(root).jobs(BODY, CONFIG, STEPS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TESTED_TOKEN", "s3cret")
        run_project(root)
    return project


@pytest.fixture
def spoilt(project, monkeypatch):
    """A project with such a run, for a test to spoil."""
    monkeypatch.setenv("TESTED_TOKEN", "s3cret")
    project.jobs(BODY, CONFIG, STEPS)
    run_project(project.root, in_process=True, only=["numbers", "table", "fails"])
    return project


@pytest.fixture
def reproduce(cli, cli_env, tmp_path):
    """Runs ``reproduce latest``; its temporary folders are in ``tmp_path/tmp``, and none is left."""
    (tmp_path / "tmp").mkdir()
    env = {**cli_env, "TMPDIR": str(tmp_path / "tmp"), "TESTED_TOKEN": "s3cret"}

    def call(project, *args, typed=None, **variables):
        more = {"input": typed, "stdin": None} if typed is not None else {}
        done = cli("reproduce", "latest", *args, "--project", project.root, env={**env, **variables}, **more)
        assert os.listdir(tmp_path / "tmp") == []
        return done

    call.env = env
    return call


def files_below(folder):
    """Every file below a folder with its mode, time and content; but not SQLite's own, which readers share."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("state.db-"))
    return {str(path): (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_a_failed_job_fails_again_in_front_of_its_user_and_nothing_of_the_run_changes(ended, reproduce):
    before = files_below(ended.root / ".aiflow")
    done = reproduce(ended, "fails")
    assert done.returncode == 1
    assert done.stdout == "sums 6 table.csv s3cret\n" == ended.log("fails").decode()
    assert ended.log("fails", "stderr").decode() in done.stderr
    assert "it has ended as it did in the run, with exit code 1: ValueError: no 3" in done.stderr
    assert files_below(ended.root / ".aiflow") == before


def test_the_inputs_are_told_with_the_sha256_that_their_producer_recorded(ended, reproduce):
    (record,) = (ended.root / ".aiflow" / "artifacts").glob("*/numbers/1/numbers.json")
    assert f"sha256 {json.loads(record.read_bytes())['sha256']}\n" in reproduce(ended, "fails").stderr


def test_a_job_that_has_finished_makes_the_same_again_and_that_is_said(ended, reproduce):
    done = reproduce(ended, "table")
    assert done.returncode == 0
    digest = hashlib.sha256(b"a,b").hexdigest()
    assert re.search(rf"table +3 bytes +sha256 {digest} +as in the run\n", done.stderr)


@pytest.mark.parametrize(("job", "code", "stdout"), [("command", 4, None), ("plain", 5, "plain\n"), ("leaves", 3, "")])
def test_the_exit_code_is_the_jobs(ended, reproduce, job, code, stdout):
    done = reproduce(ended, job)
    assert (done.returncode, done.stdout) == (code, ended.log(job).decode() if stdout is None else stdout)
    assert f"as it did in the run, with exit code {code}" in done.stderr


def test_a_kept_folder_has_what_the_job_has_made_and_no_secret(ended, reproduce, tmp_path):
    done = reproduce(ended, "command", "--keep", str(tmp_path / "kept"))
    assert f"its folder is {tmp_path}/kept" in done.stderr
    assert (tmp_path / "kept" / "work" / "outputs" / "cmd" / "out.txt").read_text() == "command\n"
    again = reproduce(ended, "command", "--keep", str(tmp_path / "kept"))
    assert (again.returncode, again.stdout) == (3, "")
    assert "the folder is not empty" in again.stderr
    reproduce(ended, "fails", "--keep", str(tmp_path / "other"))
    assert not [path for path in (tmp_path / "other").rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]


def test_a_folder_that_is_kept_is_its_users_alone(ended, reproduce, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    kept.chmod(0o777)
    reproduce(ended, "command", "--keep", str(kept))
    assert kept.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files to another user needs root; CI runs this as root")
@pytest.mark.parametrize("below", ["", "new"])
def test_nothing_runs_in_a_folder_that_another_user_can_change(ended, reproduce, tmp_path, below):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    done = reproduce(ended, "command", "--keep", str(theirs / below))
    assert (done.returncode, done.stdout) == (6, "")
    assert "another user can write there" in done.stderr
    assert [path for path in theirs.rglob("*") if path.is_file()] == []


def test_the_debugger_opens_on_a_terminal_where_the_job_has_raised(ended, reproduce):
    argv = [sys.executable, "-m", "aiflow_ext", "reproduce", "latest", "fails", "--pdb", "--project", str(ended.root)]
    shown = Terminal(argv, {**reproduce.env, "TERM": "dumb"})
    try:
        before = shown.until(b"(Pdb) ")
        assert "ValueError: no 3" in before
        assert "/project/steps.py(" in before
        shown.type("p doubled, table.read_text()")
        assert "([2, 4, 6], 'a,b')" in shown.until(b"(Pdb) ")
        shown.type("\x03")  # at the prompt it ends neither the debugger nor the command
        shown.until(b"--KeyboardInterrupt--")
        shown.type("q")
        assert "as it did in the run, with exit code 1: ValueError: no 3" in shown.rest()
        assert shown.command.wait(PATIENCE) == 1
    finally:
        shown.close()
    assert os.listdir(reproduce.env["TMPDIR"]) == []


def test_break_opens_the_debugger_at_the_first_line_and_leaving_it_ends_the_job(ended, reproduce):
    done = reproduce(ended, "numbers", "--break", typed="p __name__\nq\n")
    assert "-> return [1, 2, 3]\n(Pdb) 'steps'\n" in done.stdout
    assert done.returncode == 1
    assert "aiflow-ext: the debugger was left" in done.stderr
    assert "it has made" not in done.stderr


def test_break_and_continue_runs_the_job_to_its_end(ended, reproduce):
    done = reproduce(ended, "numbers", "--break", typed="c\n")
    assert done.returncode == 0
    assert re.search(r"numbers +\d+ bytes +sha256 \w+ +as in the run\n", done.stderr)


def test_pdb_opens_where_a_job_has_called_sys_exit(ended, reproduce):
    done = reproduce(ended, "leaves", "--pdb", typed="q\n")
    assert "-> sys.exit(3)\n(Pdb)" in done.stdout
    assert done.returncode == 3


def test_of_a_command_that_runs_without_a_python_no_python_is_compared(ended, reproduce):
    assert "what is not as it was then" not in reproduce(ended, "plain").stderr


def test_the_debugger_is_refused_for_a_command_with_what_helps_there(ended, reproduce):
    done = reproduce(ended, "plain", "--pdb")
    assert (done.returncode, done.stdout) == (3, "")
    assert "'plain' is a command" in done.stderr
    assert "set -x" in done.stderr


def test_the_runs_own_code_runs_and_not_what_the_project_is_by_now(spoilt, reproduce):
    spoilt.write(steps_py="def fails(*args): print('edited')")
    done = reproduce(spoilt, "fails")
    assert done.stdout == "sums 6 table.csv s3cret\n"
    assert f'File "{spoilt.run_folder}/project/steps.py"' in done.stderr


def test_a_job_of_a_cluster_that_ran_in_process_is_told_to_have_run_on_no_cluster(project, reproduce):
    cluster = "{platform: kubernetes, memory: 1Gi, python: /nowhere/python, platforms: {kubernetes: {image: a/b:1}}}"
    project.jobs('with af.job("numbers"): af.python(numbers)', f"numbers: {cluster}\n", STEPS)
    run_project(project.root, in_process=True)
    done = reproduce(project, "numbers")
    assert done.returncode == 0
    assert "what is not as it was then" not in done.stderr


def test_a_job_of_another_engine_is_refused_with_what_there_is_instead(project, cli, cli_env, reproduce, stranger):
    stranger("odd", plugin_of_nine_methods("queue", "odd"), {"queue.odd": "Plugin"})
    project.jobs('with af.job("a b"): af.node("odd")', '"a b": {platform: queue}\n', "")
    assert cli("run", project.root).returncode == 0
    done = reproduce(project, "a b", PYTHONPATH=cli_env["PYTHONPATH"])
    assert (done.returncode, done.stdout) == (3, "")
    for words in (
        f"logs {project.run_folder.name} 'a b'",
        f"render {project.root} 'a b' --workflow tested",
        f"run {project.root} --workflow tested --only 'a b' --set 'a b.platform=local'",
    ):
        assert f"aiflow-ext {words}" in done.stderr


def test_code_that_was_changed_in_the_runs_folder_is_refused_before_anything_starts(spoilt, reproduce):
    with (spoilt.run_folder / "project" / "steps.py").open("a") as file:
        file.write("print('planted')\n")
    done = reproduce(spoilt, "fails")
    assert (done.returncode, done.stdout) == (6, "")
    assert "is not what its jobs ran from" in done.stderr
    assert f"{spoilt.run_folder}/project" in done.stderr


def test_code_that_is_gone_is_said(spoilt, reproduce):
    shutil.rmtree(spoilt.run_folder / "project")
    done = reproduce(spoilt, "fails")
    assert (done.returncode, done.stdout) == (6, "")
    assert "keeps no copy of its code" in done.stderr


def test_an_input_that_was_changed_or_is_gone_is_refused_before_anything_starts(spoilt, reproduce):
    (file,) = (spoilt.root / ".aiflow" / "artifacts").glob("*/table/1/table/table.csv")
    file.chmod(0o644)
    file.write_text("c,d")
    done = reproduce(spoilt, "fails")
    assert (done.returncode, done.stdout) == (3, "")
    assert "is not what its producer recorded (sha256" in done.stderr
    shutil.rmtree(file.parents[2])
    done = reproduce(spoilt, "fails")
    assert (done.returncode, done.stdout) == (3, "")
    assert "/table/1/table is not there" in done.stderr


def test_a_function_that_another_python_has_pickled_is_refused_before_anything_starts(ended, reproduce, tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho \'{"python": "3.9.1"}\'\n')
    python.chmod(0o755)
    done = reproduce(ended, "lambda", "--python", str(python))
    assert (done.returncode, done.stdout) == (3, "")
    assert f"and {python} is Python 3.9, which cannot open it" in done.stderr
    python.write_text("#!/bin/sh\necho broken >&2; exit 1\n")
    done = reproduce(ended, "numbers", "--python", str(python))
    assert (done.returncode, done.stdout) == (6, "")
    assert f"{python} cannot be started as the job's Python: broken" in done.stderr


def test_what_the_job_ran_with_then_and_is_not_here_is_said_first(spoilt, reproduce):
    (file,) = spoilt.run_folder.glob("jobs/fails/1/ran-with.json")
    then = json.loads(file.read_bytes())
    then |= {
        "python": "3.9.1",
        "libc": "\x1b[2J",
        "distributions": {**then["distributions"], "lost": "1.0", "pip": "1"},
    }
    then["distributions"]["cloudpickle"] = "0.1"
    file.write_text(json.dumps(then))
    said = reproduce(spoilt, "fails").stderr
    told = said.partition("what is not as it was then:")[2].partition("Traceback")[0]
    assert re.search(rf"^    python +then 3.9.1 +here {re.escape(sys.version.split()[0])}$", told, re.MULTILINE)
    assert re.search(r"^    libc +then \\x1b\[2J +here \S", told, re.MULTILINE)
    assert re.search(r"^    cloudpickle +then 0.1 +here \d", told, re.MULTILINE)
    assert re.search(r"^    lost +then 1.0 +here not installed$", told, re.MULTILINE)
    assert told.count("\n") == 5


def test_a_secret_that_cannot_be_read_is_named_and_may_be_given_by_its_variable(ended, reproduce):
    del reproduce.env["TESTED_TOKEN"]
    done = reproduce(ended, "fails")
    assert (done.returncode, done.stdout) == (3, "")
    assert "TOKEN cannot be read on this machine" in done.stderr
    assert "export TOKEN=" in done.stderr
    done = reproduce(ended, "fails", TOKEN="other")
    assert done.stdout == "sums 6 table.csv other\n"
    assert re.search(r"TOKEN +then secret env:TESTED_TOKEN +here as it is set here\n", done.stderr)


def test_what_does_not_exist_is_said_in_a_sentence(ended, reproduce):
    for args, words in (
        (["faild"], "did you mean 'fails'"),
        (["fails", "--attempt", "2"], "1 attempt, and no attempt 2"),
    ):
        done = reproduce(ended, *args)
        assert (done.returncode, done.stdout) == (3, "")
        assert words in done.stderr
        assert "Traceback" not in done.stderr


@pytest.fixture
def on_terminal(reproduce):
    """Starts ``reproduce latest`` on a terminal."""
    opened = []

    def start(project, *args, **variables):
        argv = [sys.executable, "-m", "aiflow_ext", "reproduce", "latest", *map(str, args)]
        env = {**reproduce.env, "TERM": "dumb", **variables}
        opened.append(Terminal([*argv, "--project", str(project.root)], env))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def test_a_secret_that_cannot_be_read_is_asked_for_and_not_shown(ended, reproduce, on_terminal):
    del reproduce.env["TESTED_TOKEN"]
    shown = on_terminal(ended, "fails")
    shown.until(b"TOKEN, from secret env:TESTED_TOKEN, which this machine cannot read: ")
    shown.type("typed")
    before = shown.until(b"sums 6 table.csv ")
    assert "TOKEN  then secret env:TESTED_TOKEN  here as it was typed" in before
    assert shown.until(b"\r\n") == "typed\r\n"
    assert shown.rest().count("typed") == 0


def test_a_shell_has_the_jobs_folder_and_variables_and_starts_the_job(ended, on_terminal):
    shown = on_terminal(ended, "command", "--shell", SHELL="/bin/sh", PS1="ready ")
    script = re.search(r"sh (\S+)\r\n", shown.until(b"ready "))[1]
    shown.type("pwd; echo $AIFLOW_JOB")
    assert f"\n{os.path.dirname(script)}/work\r\ncommand\r\n" in shown.until(b"command\r\nready ")
    shown.type(f"sh {script}; echo ended $?")
    shown.until(b"\r\nended 4\r\n")
    shown.type("exit 9")
    shown.rest()
    assert shown.command.wait(PATIENCE) == 9


def test_ctrl_c_and_sigterm_while_it_is_prepared_leave_no_folder(ended, reproduce, on_terminal, tmp_path):
    begun, python = tmp_path / "begun", tmp_path / "python"
    os.mkfifo(begun)
    python.write_text(f"#!/bin/sh\n: > {begun}\nexec sleep 1000\n")
    python.chmod(0o755)
    for number in (signal.SIGINT, signal.SIGTERM):
        shown = on_terminal(ended, "numbers", "--python", python)
        begun.read_bytes()
        assert len(os.listdir(tmp_path / "tmp")) == 1
        shown.command.send_signal(number)
        assert "aiflow-ext: interrupted" in shown.rest()
        assert shown.command.wait(PATIENCE) == 130
        assert os.listdir(tmp_path / "tmp") == []


def test_sigterm_ends_the_job_and_sigkill_leaves_a_folder_at_most(project, reproduce, on_terminal, tmp_path):
    begun = tmp_path / "begun"
    project.jobs('with af.job("../a"): af.cmd("trap \'\' HUP; mkdir -p made; : > $BEGUN; exec $WAIT")', "")
    os.mkfifo(begun)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEGUN", "/dev/null")
        patch.setenv("WAIT", "false")
        run_project(project.root)
    waits = {"BEGUN": str(begun), "WAIT": "sleep 1000"}
    mark = project.run_folder.name
    for number, code, left in ((signal.SIGTERM, 128 + signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL, 1)):
        shown = on_terminal(project, "../a", **waits)
        begun.read_bytes()
        shown.command.send_signal(number)
        assert shown.command.wait(PATIENCE) == code
        until(lambda: processes_marked(mark) == [])
        assert len(os.listdir(tmp_path / "tmp")) == left
    (folder,) = (tmp_path / "tmp").iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in (folder / "work").iterdir()) == ["made"]


def test_an_attempt_of_a_run_that_goes_on_is_run_again_beside_it(project, reproduce, tmp_path, cli_env):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    project.jobs(f"""
        with af.job("first"): af.python(print, "first")
        with af.job("second"): af.cmd("read line < {gate}")
    """, "")  # fmt: skip
    run = subprocess.Popen([sys.executable, "-m", "aiflow_ext", "run", project.root], env=cli_env)
    with gate.open("w") as open_gate:  # once the second job reads it
        until(lambda: "first FINISHED" in status_of(project))
        done = reproduce(project, "first")
        assert (done.returncode, done.stdout) == (0, "first\n")
        open_gate.write("\n")
    assert run.wait(PATIENCE) == 0


def status_of(project):
    return " ".join(f"{job.name} {job.state}" for job in open_run("latest", project.root).jobs.values())


def test_ctrl_c_reaches_the_job_and_no_folder_and_no_process_is_left(project, cli_env, tmp_path):
    steps = """
import pathlib, subprocess, time
def waits(begun):
    subprocess.Popen(["sleep", "1000"])
    pathlib.Path(begun).touch()
    time.sleep(1000)
"""
    begun = tmp_path / "begun"
    project.jobs(f'with af.job("a"): af.python(waits, "{begun}")', "", steps)
    argv = [sys.executable, "-m", "aiflow_ext", "run", project.root, "--on-interrupt", "stop"]
    run = subprocess.Popen(argv, env=cli_env)
    until(begun.exists)
    run.send_signal(signal.SIGINT)
    assert run.wait(PATIENCE) == 7
    env = {**cli_env, "TMPDIR": str(tmp_path / "tmp"), "TERM": "dumb"}
    (tmp_path / "tmp").mkdir()
    argv = [sys.executable, "-m", "aiflow_ext", "reproduce", "latest", "a", "--project", str(project.root)]
    for option, place in ([], b"KeyboardInterrupt"), (["--pdb"], b"-> time.sleep(1000)\r\n(Pdb) "):
        begun.unlink()
        shown = Terminal([*argv, *option], env)
        try:
            until(begun.exists)
            shown.type("\x03")
            shown.until(place)
            if option:
                shown.type("q")
            shown.rest()
            assert shown.command.wait(PATIENCE) == 130
        finally:
            shown.close()
        assert os.listdir(tmp_path / "tmp") == []
        assert processes_marked(project.run_folder.name) == []


def test_an_attempt_reads_what_it_has_read_then_and_one_before_an_update_is_refused(project, reproduce):
    steps = """
import pathlib
def counts():
    with open(COUNTS, "a+") as file:
        file.write("x")
        return file.tell()
def fails(number):
    print("got", number)
    raise ValueError("no")
"""
    project.jobs("""
        with af.job("counts"): n = af.python(counts)
        with af.job("fails"): af.python(fails, n)
    """, "", steps.replace("COUNTS", repr(str(project.root.parent / "count"))))  # fmt: skip
    run_project(project.root)
    resume_run("latest", project=str(project.root), from_job="counts")
    assert reproduce(project, "fails").stdout == "got 2\n"
    assert reproduce(project, "fails", "--attempt", "1").stdout == "got 1\n"
    project.write(steps_py=(project.root / "steps.py").read_text().replace("got", "has"))
    resume_run("latest", project=str(project.root), failed=True, update=True)
    assert reproduce(project, "fails").stdout == "has 2\n"
    done = reproduce(project, "fails", "--attempt", "2")
    assert (done.returncode, done.stdout) == (6, "")
    assert "ran before the run was given its project anew" in done.stderr
    resume_run("latest", project=str(project.root), failed=True, update=True)  # nothing has changed
    assert reproduce(project, "fails", "--attempt", "3").stdout == "has 2\n"
    assert reproduce(project, "fails", "--attempt", "2").returncode == 6
