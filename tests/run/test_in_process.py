"""Runs in the client's process: what they leave is what an ordinary run leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from inspect import signature
from pathlib import Path

import pytest
from interrupted import until
from nine_methods import plugin_of_nine_methods
from patience import PATIENCE

import aiflow_ext as af
from aiflow_ext.model.errors import ConfigError
from aiflow_ext.run.operations.in_process import prepare_in_process
from aiflow_ext.run.operations.start import prepare
from aiflow_ext.supervise.proc import read_stat
from tests.conftest import Project

STEPS = """
import dataclasses, os, pathlib, sys
import aiflow_ext as af
SEEN = []
@dataclasses.dataclass
class Model:
    rate: float
def fetch():
    print("fetching")
    return "b\\na\\n"
def fit(text):
    SEEN.append(text)
    return Model(len(text) + len(SEEN))
def write(model):
    pathlib.Path("out.txt").write_text(str(model.rate))
    return pathlib.Path("out.txt")
def shared():
    SEEN.append("x")
    return len(SEEN)
def told():
    job = af.current_job()
    return {"job": job.name, "attempt": job.attempt, "properties": job.properties,
            "work": os.getcwd() == str(job.work_folder), "project": job.project_folder.name,
            "checkpoints": os.path.isdir(job.checkpoint_dir),
            "env": [os.environ["PLAIN"], os.environ["TOKEN"]], "first": sys.path[0] == str(job.project_folder)}
def fails():
    raise ValueError("no data")
"""
BODY = """
with af.job("fetch"): text = af.python(fetch)
with af.job("fit"):
    model = af.python(fit, text)
    af.python(write, model)
with af.job("sort"): made = af.cmd("sort {text} | tee {out}; echo beside >&2", text=text, out=af.output("sorted.txt"))
with af.job("join"): af.python(lambda path, model: [path.read_text(), model.rate], made, model)
with af.job("again"): af.python(shared)
"""


LEFT = "os._exit(0) was called before the job's steps were done: let the function return instead"


@pytest.fixture(autouse=True)
def own_home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def kept(run):
    """What every job of a run has kept."""
    return {(each.job, each.name): (each.kind, each.size, each.sha256) for job in run.jobs.values()
            for each in job.artifacts.values()}  # fmt: skip


def test_a_run_in_process_keeps_the_same_values_files_and_logs_as_an_ordinary_one(project):
    project.jobs(BODY, "sort: {properties: {n: 1}}\n", STEPS)
    runs = [
        af.open_run(af.run_project(project.root, in_process=here, check=True).run_id, project.root)
        for here in (False, True)
    ]
    assert kept(runs[0]) == kept(runs[1])
    assert len(kept(runs[1])) == 6
    assert runs[1].jobs["join"].result == ["a\nb\n", 5]
    assert runs[1].jobs["again"].result == 1  # no module of the project is shared by two jobs
    for job, stream in (("fetch", False), ("sort", False), ("sort", True)):
        assert runs[0].logs(job, stderr=stream) == runs[1].logs(job, stderr=stream) != ""


def test_a_job_sees_what_it_sees_in_a_process_of_its_own_and_the_process_is_as_it_was_afterwards(project, monkeypatch):
    monkeypatch.setenv("SECRET", "s3cret")
    config = 'told: {properties: {alpha: 0.1}, env: {PLAIN: 1, TOKEN: {secret: "env:SECRET"}}}\n'
    project.jobs('with af.job("told"): af.python(told)', config, STEPS)
    before = dict(os.environ), os.getcwd(), list(sys.path), sys.stdout, sys.stderr, os._exit
    record = af.run_project(project.root, in_process=True, check=True)
    assert (dict(os.environ), os.getcwd(), list(sys.path), sys.stdout, sys.stderr, os._exit) == before
    assert "steps" not in sys.modules
    assert af.open_run(record.run_id, project.root).jobs["told"].result == {
        "job": "told", "attempt": 1, "properties": {"alpha": 0.1}, "work": True, "project": "project",
        "checkpoints": True, "env": ["1", "s3cret"], "first": True,
    }  # fmt: skip


@pytest.mark.parametrize("platform", ["kubernetes", "yarn"])
def test_a_job_of_a_cluster_runs_here_too(project, platform):
    config = f"fetch: {{platform: {platform}, platforms: {{kubernetes: {{image: a/b:1}}}}}}\n"
    project.jobs('with af.job("fetch"): af.python(fetch)', config, STEPS)
    record = af.run_project(project.root, in_process=True, check=True)
    assert af.open_run(record.run_id, project.root).jobs["fetch"].result == "b\na\n"


def test_what_depends_on_a_failed_job_is_skipped_and_the_rest_runs(project, cli):
    body = """
    with af.job("bad"): value = af.python(fails)
    with af.job("after"): af.python(print, value)
    with af.job("mourns"): af.cmd("echo alas")
    with af.job("other"): af.cmd("echo fine; exit 3")
    af.run_after("mourns", "bad", when="failed")
    """
    project.jobs(body, "bad: {retries: 3}\n", STEPS)
    done = cli("run", project.root, "--in-process", "--json")
    assert done.returncode == 1
    jobs = {job["name"]: job for job in json.loads(done.stdout)["jobs"]}
    assert {name: (job["state"], job["reason"]) for name, job in jobs.items()} == {
        "bad": ("FAILED", "ValueError: no data"),
        "after": ("SKIPPED", "waits for bad to be finished; it is FAILED"),
        "mourns": ("FINISHED", None),
        "other": ("FAILED", "a command ended with exit code 3"),
    }
    assert jobs["other"]["attempts"][0]["exit_code"] == 3
    assert f'File "{project.root}/steps.py", line ' in done.stderr
    assert "in_process.py" not in done.stderr
    assert "runner.py" not in done.stderr


def test_the_error_of_a_run_that_did_not_finish_has_the_projects_own_exception_as_its_cause(project):
    project.jobs('with af.job("bad"): af.python(fails)', "", STEPS)
    with pytest.raises(af.RunFailedError, match="ValueError: no data") as raised:
        af.run_project(project.root, in_process=True, check=True)
    assert type(raised.value.__cause__) is ValueError
    assert raised.value.__cause__.__traceback__.tb_frame.f_code.co_name == "fails"


def test_runs_in_threads_take_turns_and_each_keeps_its_own_output(tmp_path):
    roots = []
    for number in range(4):
        root = tmp_path / f"project{number}"
        root.mkdir()
        steps = f"import time\ndef say():\n    for _ in range(5):\n        print({number})\n        time.sleep(0.01)\n"
        Project(root).jobs('with af.job("say"): af.python(say)', "", steps)
        roots.append(root)
    before = sys.stdout
    with ThreadPoolExecutor(4) as threads:
        runs = list(threads.map(lambda root: af.run_project(root, in_process=True, check=True), roots))
    assert sys.stdout is before
    for number, (root, record) in enumerate(zip(roots, runs, strict=True)):
        assert af.open_run(record.run_id, root).logs("say") == f"{number}\n" * 5


def test_processes_of_multiprocessing_find_the_projects_functions(project, cli):
    steps = """
        import multiprocessing
        def double(n): return 2 * n
        def all_of(way):
            with multiprocessing.get_context(way).Pool(2) as pool:
                return pool.map(double, [1, 2])
        def show(*values): print(values)
    """
    body = 'with af.job("a"): af.python(show, *[af.python(all_of, way) for way in ("spawn", "fork")])'
    project.jobs(body, "", steps)
    done = cli("run", project.root, "--in-process")
    assert "([2, 4], [2, 4])" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("step", "state", "reason"),
    [
        ("sys.exit(4)", "FAILED", "exit code 4"),
        ("sys.exit('no more')", "FAILED", "no more"),
        ("sys.exit(0)", "FINISHED", None),
        ("os._exit(5)", "FAILED", "exit code 5"),
        ("os._exit(0)", "FAILED", LEFT),
        ("raise MemoryError('much')", "FAILED", "out of memory: MemoryError: much"),
    ],
)  # fmt: skip
def test_a_job_that_ends_its_process_ends_itself_alone(project, step, state, reason):
    steps = f"import os, sys\ndef ends():\n    {step}\ndef goes_on():\n    return 1\n"
    project.jobs('with af.job("ends"): af.python(ends)\nwith af.job("next"): af.python(goes_on)', "", steps)
    record = af.run_project(project.root, in_process=True)
    assert (str(record.jobs["ends"].state), record.jobs["ends"].reason) == (state, reason)
    assert str(record.jobs["next"].state) == "FINISHED"


def test_the_signal_that_ended_a_command_is_recorded(project):
    project.jobs('with af.job("a"): af.cmd("kill -TERM $$")', "", "")
    (attempt,) = af.run_project(project.root, in_process=True).jobs["a"].attempts
    assert (attempt.exit_code, attempt.signal, attempt.reason) == (None, 15, "a command was ended by signal SIGTERM")


def test_what_cannot_run_in_process_is_named_with_its_line_before_anything_starts(project, cli, stranger):
    stranger("odd", plugin_of_nine_methods("queue", "odd"), {"queue.odd": "Plugin"})
    body = """
    with af.job("serve"): af.cmd("sleep 100")
    with af.job("strange"): af.node("odd")
    with af.job("fine"): af.cmd("touch started")
    """
    project.jobs(body, "serve: {exec_mode: STREAM}\nstrange: {platform: queue}\n", "")
    done = cli("run", project.root, "--in-process")
    assert done.returncode == 3
    assert "workflow.yaml:1: job 'serve' is a STREAM job" in done.stderr
    assert "job 'strange' has the engine 'odd', whose jobs cannot run in process" in done.stderr
    assert "--only JOB" in done.stderr
    assert not (project.root / ".aiflow" / "runs").exists()
    assert cli("run", project.root, "--in-process", "--only", "fine").returncode == 0


@pytest.mark.parametrize("options", [["--detach"], ["--jobs", "2"], ["--on-interrupt", "stop"]])
def test_options_that_a_run_in_process_has_no_use_for_are_refused(project, cli, options):
    project.jobs('with af.job("a"): af.cmd("true")', "", "")
    assert cli("run", project.root, "--in-process", *options).returncode == 2
    assert cli("run", project.root, "--pdb").returncode == 2
    with pytest.raises(ConfigError, match="one after another"):
        af.run_project(project.root, in_process=True, jobs=2)


def test_a_run_in_process_takes_every_option_that_shapes_a_run():
    of_run, of_this = (set(signature(each).parameters) for each in (prepare, prepare_in_process))
    assert of_run - {"jobs"} == of_this - {"examine"}


def test_one_job_alone_reads_what_an_ordinary_run_has_kept(project, cli):
    project.jobs(BODY, "", STEPS)
    first = af.run_project(project.root)
    done = cli("run", project.root, "--in-process", "--only", "sort", "--from-run", first.run_id)
    assert done.returncode == 0, done.stderr
    assert "\na\nb\n" in done.stdout


@pytest.fixture
def waiting(project, cli_env):
    """A run in process whose second job says that it waits, and waits."""
    body = """
    with af.job("first"): af.cmd("true")
    with af.job("waits"): af.python(wait)
    with af.job("last"): af.cmd("true")
    af.run_after("waits", "first")
    af.run_after("last", "waits")
    """
    steps = """
        import os, time
        def wait():
            if os.environ.get("WAITS"):
                print("waiting", flush=True)
                time.sleep(1000)
    """
    project.jobs(body, "", steps)
    argv = [sys.executable, "-m", "aiflow_ext", "run", str(project.root), "--in-process"]
    command = subprocess.Popen(
        argv, env={**cli_env, "WAITS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until(lambda: list(project.root.glob(".aiflow/runs/*/jobs/waits/1/stdout")))
    until(lambda: project.log("waits") == b"waiting\n")
    yield command
    command.kill()
    command.communicate()


def states(project, cli):
    record = json.loads(cli("status", "latest", "--project", project.root, "--json").stdout)
    return record["state"], {job["name"]: (job["state"], job["reason"]) for job in record["jobs"]}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_recorded_as_stopped(project, cli, waiting, number):
    assert states(project, cli)[1]["waits"] == ("RUNNING", None)
    waiting.send_signal(number)
    _, err = waiting.communicate(timeout=PATIENCE)
    assert waiting.returncode == 7, err
    assert states(project, cli) == (
        "STOPPED",
        {
            "first": ("FINISHED", None),
            "waits": ("STOPPED", f"stopped: {number.name}"),
            "last": ("SKIPPED", "the run was stopped before it started"),
        },
    )


@pytest.mark.parametrize(
    "job", ['af.cmd("sleep 1000 & env -i sleep 1000; true")', "af.python(starts)"], ids=["command", "function"]
)
def test_what_an_interrupted_job_has_started_is_gone(project, cli_env, nothing_left, job):
    steps = """
        import subprocess, time
        def starts():
            subprocess.Popen(["sh", "-c", "sleep 1000; true"])
            time.sleep(1000)
    """
    project.jobs(f'with af.job("a"): {job}', "", steps)
    argv = [sys.executable, "-m", "aiflow_ext", "run", str(project.root), "--in-process"]
    with subprocess.Popen(argv, env=cli_env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as command:
        until(lambda: len(descendants(command.pid)) >= 2)
        left = descendants(command.pid)
        command.send_signal(signal.SIGINT)
        assert command.wait(PATIENCE) == 7
    assert not [stat for stat in map(read_stat, left) if stat is not None and stat.alive]
    nothing_left()


def descendants(pid):
    found = children(pid)
    return found + [other for child in found for other in descendants(child)]


def children(pid):
    """Of all its threads: the one that started a process is its parent."""
    try:
        lists = [Path(task, "children").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return []
    return [int(each) for text in lists for each in text.split()]


def test_a_job_that_keeps_signals_from_working_cannot_keep_its_process(project, cli, cli_env):
    steps = """
        import time
        def stays():
            print("here", flush=True)
            while True:
                try: time.sleep(1000)
                except BaseException: print("no", flush=True)
    """
    project.jobs('with af.job("a"): af.python(stays)', "", steps)
    argv = [sys.executable, "-m", "aiflow_ext", "run", str(project.root), "--in-process"]
    with subprocess.Popen(argv, env=cli_env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as command:
        until(lambda: list(project.root.glob(".aiflow/runs/*/jobs/a/1/stdout")) and project.log("a") == b"here\n")
        for number in range(1, 4):
            command.send_signal(signal.SIGINT)
            until(lambda number=number: project.log("a").count(b"no") == number)
        assert command.wait(PATIENCE) == 130
    assert states(project, cli)[1]["a"][0] == "LOST"


def test_the_platform_of_a_run_in_process_is_not_asked_when_it_is_removed(project, cli):
    config = "fetch: {platform: kubernetes, platforms: {kubernetes: {image: a/b:1}}}\n"
    project.jobs('with af.job("fetch"): af.python(fetch)', config, STEPS)
    af.run_project(project.root, in_process=True, check=True)
    removed = cli("gc", "--keep", "0", "--project", project.root)
    assert (removed.returncode, removed.stderr) == (0, "")
    assert not list((project.root / ".aiflow" / "runs").iterdir())


def test_a_stop_from_elsewhere_is_told_where_the_run_is(project, cli, waiting):
    done = cli("stop", "latest", "--project", project.root)
    assert done.returncode != 0
    assert f"kill -INT {waiting.pid}" in done.stderr


def test_a_job_whose_client_was_killed_is_lost_and_an_ordinary_run_goes_on_with_it(project, cli, waiting):
    waiting.kill()
    waiting.wait()
    state, jobs = states(project, cli)
    words = f"process {waiting.pid}, in which it ran, has ended without recording how"
    assert (state, jobs["waits"]) == ("RUNNING", ("LOST", words))
    done = cli("resume", "latest", "--project", project.root, "--failed")
    assert done.returncode == 0, done.stderr
    assert {each[0] for each in states(project, cli)[1].values()} == {"FINISHED"}
