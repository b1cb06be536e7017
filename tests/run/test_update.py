"""`resume --from JOB --update`: a run goes on with the project's code, config and graph of today."""

from __future__ import annotations

import json
import os
import shutil
import signal
import traceback
from pathlib import Path
from typing import Any

import pytest

import aiflow_ext as af
from aiflow_ext import run
from aiflow_ext.run.operations.resume import take_up
from aiflow_ext.testing.crash import Lines
from aiflow_ext.testing.places import Place
from tests.conftest import Project

CONFIG = '"*": {platform: local, engine: python, env: {MARKS: MARKS_FOLDER}}\n'
BODY = """
with af.job("data"): d = af.python(data)
with af.job("fit"): m = af.python(fit, d)
with af.job("report"): af.python(report, m)
with af.job("aside"): af.python(aside)
"""
STEPS = """
import os
from pathlib import Path

def executed(name):
    with open(Path(os.environ["MARKS"], name), "a") as file: file.write("x")

def data():
    executed("data")
    return [1, 2, 3]
def rows(): return data()
def fit(values): raise ValueError("a bug")
def report(model): return f"report of {model}"
def aside(): executed("aside")
"""
MENDED = STEPS.replace('raise ValueError("a bug")', 'return {"sum": sum(values)}')


@pytest.fixture
def failed(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose run has failed in the job ``fit``."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    project.jobs(BODY, CONFIG.replace("MARKS_FOLDER", str(tmp_path)), STEPS)
    assert af.run_project(project.root).state == "FAILED"
    return project


def change(project: Project, body: str = BODY, config: str = CONFIG, steps: str = MENDED) -> None:
    project.jobs(body, config.replace("MARKS_FOLDER", str(project.root.parent)), steps)


def executions(project: Project, job: str) -> int:
    return len((project.root.parent / job).read_text())


def resume(cli, project: Project, *options: str, expected: int = 0) -> str:
    done = cli("resume", "latest", "--project", project.root, *options)
    assert done.returncode == expected, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_bug_is_fixed_and_the_job_and_all_after_it_run_with_todays_code_and_the_rest_is_kept(failed, cli):
    change(failed)
    warned = resume(cli, failed, "--failed", expected=1)
    run = af.open_run("latest", failed.root)
    assert f"aiflow-ext resume {run.run_id} --from fit --update" in warned
    assert "changed files: steps.py" in resume(cli, failed, "--from", "fit", "--update")
    run.refresh()
    assert run.state == "FINISHED"
    assert run.jobs["report"].result == "report of {'sum': 6}"
    assert (executions(failed, "data"), executions(failed, "aside")) == (1, 1)
    assert (run.jobs["data"].attempts, run.jobs["fit"].attempts) == (1, 3)
    assert "nothing has changed" in resume(cli, failed, "--from", "report", "--update")


def test_todays_config_and_graph_are_taken_and_what_differs_is_told(failed, cli):
    body = BODY.replace('with af.job("report"): af.python(report, m)', """
with af.job("double"): x = af.python(lambda model: model["sum"] * 2, m)
with af.job("summary"): af.python(report, x)
""")  # fmt: skip
    change(failed, body, CONFIG + "fit: {retries: 2, properties: {lr: 0.1}}\n")
    told = resume(cli, failed, "--from", "fit", "--update")
    for words in ("changed files: steps.py, workflow.py, workflow.yaml", "new jobs: double, summary",
                  "no longer in the workflow: report", "config of fit: retries, properties.lr"):  # fmt: skip
        assert words in told
    run = af.open_run("latest", failed.root)
    assert list(run.jobs) == ["data", "fit", "double", "summary", "aside", "report"]
    assert run.jobs["summary"].result == "report of 12"
    assert (run.state, run.jobs["report"].state) == ("FINISHED", "SKIPPED")
    assert run.jobs["report"].reason == "no longer in the workflow"
    assert executions(failed, "data") == 1


def test_what_set_and_parameters_gave_when_the_run_was_started_holds_for_todays_config(failed, cli):
    steps = MENDED.replace("def fit(values): return", 'def fit(values): return af.current_job().properties["lr"],')
    change(failed, config=CONFIG + "fit: {properties: {lr: 0.1}}\n", steps="import aiflow_ext as af\n" + STEPS)
    assert af.run_project(failed.root, params={"lr": 0.5}, sets=["fit.env.A=1"]).state == "FAILED"
    change(failed, config=CONFIG + "fit: {properties: {lr: 0.1}}\n", steps="import aiflow_ext as af\n" + steps)
    resume(cli, failed, "--from", "fit", "--update")
    assert af.open_run("latest", failed.root).jobs["fit"].result == (0.5, {"sum": 6})


@pytest.mark.parametrize(
    ("body", "options", "words"),
    [
        (BODY.replace("fit", "train", 1), ["--from", "fit"], "job 'fit' of run {run} is no longer in the workflow"),
        (BODY, ["--from", "fti"], "did you mean 'fit'"),
        (BODY.replace("(data)", "(rows)"), ["--from", "fit"], "job 'data' of run {run} has not kept"),
        (BODY.replace("m)\n", "m, lr=)\n"), ["--from", "fit"], "workflow.py"),
    ],
    ids=["a job that is gone", "a job that never was", "a node of another name", "syntax"],
)  # fmt: skip
def test_a_graph_that_does_not_fit_is_refused_and_nothing_of_the_run_is_changed(failed, cli, body, options, words):
    before = af.open_run("latest", failed.root).status()
    change(failed, body)
    told = resume(cli, failed, *options, "--update", expected=3)
    assert words.format(run=before["run"]) in told
    assert af.open_run("latest", failed.root).status() == before
    change(failed)
    resume(cli, failed, "--from", "fit", "--update")


def test_a_job_that_another_now_reads_runs_again_where_that_is_asked_for(failed, cli):
    change(failed, BODY.replace("(data)", "(rows)"))
    resume(cli, failed, "--from", "data", "--update")
    assert executions(failed, "data") == 2


def test_a_run_whose_driver_died_is_updated_once_its_jobs_have_ended(project, cli, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    os.mkfifo(tmp_path / "gate")
    gated = STEPS.replace(
        'raise ValueError("a bug")', 'print("waiting", flush=True); open(os.environ["MARKS"] + "/gate").read()'
    )
    project.jobs(BODY, CONFIG.replace("MARKS_FOLDER", str(tmp_path)), gated)
    run = af.start_project(project.root)
    next(run.log_lines("fit"))
    os.kill(run.status()["driver"], signal.SIGKILL)
    change(project)
    told = resume(cli, project, "--from", "fit", "--update", expected=6)
    assert "fit of run" in told
    assert f"stop it (aiflow-ext stop {run.run_id})" in told
    run.stop("fit")
    resume(cli, project, "--from", "fit", "--update")
    assert run.refresh().jobs["report"].result == "report of {'sum': 6}"


def test_update_without_a_job_that_runs_again_is_a_mistake_of_usage(failed, cli):
    told = resume(cli, failed, "--update", expected=2)
    assert "name the jobs with --from JOB or --failed" in told


def test_from_python_too(failed):
    change(failed)
    run = af.open_run("latest", failed.root).resume(failed=True, update=True, check=True)
    assert run.jobs["fit"].result == {"sum": 6}


@pytest.mark.slow
def test_an_update_killed_at_any_line_leaves_the_plan_and_the_files_of_before_or_of_today(failed, tmp_path):
    """Each child is killed at one of the lines that stand next to I/O, and another resumes what it has left."""
    state = failed.root / ".aiflow"
    shutil.copytree(state, tmp_path / "whole", ignore=shutil.ignore_patterns("bell", "*.sock"))
    before = (failed.root / "steps.py").read_text()
    change(failed, BODY + 'with af.job("new"): af.cmd("true")\n', CONFIG + "new: {engine: cmd_line}\n")
    places = forked(failed, tmp_path, None)["places"]
    assert len(places) > 20
    seen = set()
    for place in places:
        shutil.rmtree(state)
        shutil.copytree(tmp_path / "whole", state)
        assert forked(failed, tmp_path, Place(*place)) is None
        found = forked(failed, tmp_path, None, update=False)
        assert found["copies"] == ["project"], place
        assert (found["steps"] == before, "new" in found["jobs"]) in {(True, False), (False, True)}, place
        seen.add(found["steps"])
    assert seen == {before, MENDED}


# What changes a run's plan and files.
CHANGING = ["operations/update.py", "planning/snapshot.py", "store/store.py", "store/ledger.py"]


def forked(project: Project, folder: Path, at: Place | None, *, update: bool = True) -> Any:
    """Resume the latest run in a child, which drives nothing; None where it was killed, at the place ``at``."""
    answer = folder / "answer.json"
    answer.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        try:
            lines = Lines(at, [str(Path(run.__file__).parent / each) for each in CHANGING])
            lines.arm()
            taken = take_up("latest", project=str(project.root), from_job="fit", update=update)
            lines.disarm()
            home = Path(taken.record.folder)
            copies = sorted(name for name in os.listdir(home) if name in ("project", "config") or name[:5] == ".next")
            answer.write_text(
                json.dumps(
                    {
                        "places": list(lines.beside),
                        "jobs": list(taken.plan.jobs),
                        "steps": (home / "project/steps.py").read_text(),
                        "copies": copies,
                    }
                )
            )
            taken.close()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    assert os.waitstatus_to_exitcode(status) == (0 if at is None else -signal.SIGKILL)
    return json.loads(answer.read_text()) if at is None else None
