"""``aiflow-ext report``, and the report that a project has written at each run's end."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from pathlib import Path

import pytest
from pages import Page

import aiflow_ext as af
from aiflow_ext.bounded_call import CallTooLong
from aiflow_ext.run.operations import report as under_test

ODD = "fit </script><img src=x onerror=alert(1)>"
STEPS = """
import sys
from pathlib import Path

def fit():
    print("epoch 1\\x1b[31m loss\\x1b[0m </pre><script>alert(2)</script>")
    print("x" * 100_000 + "\\nthe last line", file=sys.stderr)
    raise ValueError("<b>too large</b>")

def draw(name, data):
    path = Path(name)
    path.write_bytes(data)
    return path

def several(): return {"one": draw("one.png", b"one"), "two": draw("two.txt", b"two")}
def wait(): Path(__import__("os").environ["GATE"]).read_text()
"""
BODY = f"""
with af.job({ODD!r}): af.python(fit)
with af.job("plot"):
    af.python(draw, "plot.svg", b"<svg onload='alert(3)'/>")
    af.python(draw, "rotten.png", b"good")
    af.python(draw, "gone.jpg", b"gone")
    af.python(draw, "large.png", b"0" * (5 << 20))
    af.python(several)
with af.job("never"): af.cmd("true")
af.run_after("never", {ODD!r})
"""
CONFIG = '"*": {platform: local, engine: python}\nnever: {engine: cmd_line}\n'


@pytest.fixture
def ended(project):
    """A run with a hostile job that has failed, and pictures of all kinds."""
    project.jobs(BODY, CONFIG, STEPS)
    return af.run_project(project.root)


def report(cli, record, *options):
    done = cli("report", record.run_id, "--project", record.project, *options)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def test_a_report_stands_alone_and_has_the_failed_jobs_reason_and_the_ends_of_its_logs(ended, cli):
    path = report(cli, ended)
    assert path == Path(ended.folder, "report.html")
    assert path.stat().st_mode & 0o777 == 0o600
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert page.harm() == []
    assert "ValueError: <b>too large</b>" in page.text
    assert "the last line" in page.text
    assert "It ran with Python 3." in page.text
    assert f"aiflow-ext reproduce {ended.run_id} '{ODD}' --pdb" in page.text
    assert "</pre><script>alert(2)</script>" in page.text
    assert f"waits for {ODD} to be finished; it is FAILED" in page.text
    assert len(html) < 100_000


def test_pictures_are_shown_where_they_are_what_their_job_has_recorded(ended, cli, project):
    (rotten,), (gone,) = (list(project.root.glob(f".aiflow/artifacts/*/plot/1/*/{name}"))
                          for name in ("rotten.png", "gone.jpg"))  # fmt: skip
    rotten.chmod(0o600)
    rotten.write_bytes(b"evil")
    gone.unlink()
    page = Page(report(cli, ended).read_text(encoding="utf-8"))
    assert [each["src"].partition(",")[0] for each in page.of("img")] == [
        "data:image/svg+xml;base64", "data:image/png;base64"
    ]  # fmt: skip
    assert "plot: one.png" in page.text
    assert "rotten.png: it is not what the job has recorded" in page.text
    assert "gone.jpg: it cannot be read: " in page.text
    assert "large.png: it is not shown, because of its size: 5,242,880 bytes" in page.text


def test_pictures_at_a_url_are_shown_and_a_file_system_that_is_silent_is_waited_for_once(
    project, cli, tmp_path, monkeypatch
):
    body = 'with af.job("plot"): [af.python(draw, name, b"x") for name in ("a.png", "b.png")]'
    project.jobs(body, '"*": {platform: local, engine: python}\n', STEPS)
    project.write(project_yaml=f"artifacts: local://{tmp_path}/far\n")
    ended = af.run_project(project.root, check=True)
    path = report(cli, ended)
    assert len(Page(path.read_text(encoding="utf-8")).of("img")) == 2
    asked = []

    def silent(seconds, call):
        asked.append(call)
        raise CallTooLong("it has not answered for 10 s")

    monkeypatch.setattr(under_test, "result_within", silent)  # a file system that never answers
    text = Page(af.open_run(ended).report(path).read_text(encoding="utf-8")).text
    assert "a.png: it cannot be read: it has not answered for 10 s" in text
    assert "b.png: it cannot be read: its file system does not answer" in text
    assert len(asked) == 1


def test_a_log_of_any_kind_and_size_does_no_harm(ended, cli):
    (folder,) = Path(ended.folder).glob("jobs/fit*/1")
    with open(folder / "stdout", "wb") as log:  # 4 GiB, of which the end alone is read
        log.seek(4 << 30)
        log.write(b"\nthe end\n")
    (folder / "stderr").unlink()
    os.mkfifo(folder / "stderr")
    (folder / "container-side.log").symlink_to("/etc/passwd")
    html = report(cli, ended).read_text(encoding="utf-8")
    assert "the end" in html
    assert "root:" not in html
    assert len(html) < 100_000


def test_a_report_goes_where_it_is_told_to_and_replaces_what_is_there(ended, cli, tmp_path):
    (tmp_path / "it.html").write_text("before")
    (tmp_path / "link.html").symlink_to(tmp_path / "precious")
    (tmp_path / "precious").write_text("precious")
    for name in ("it.html", "link.html"):
        assert report(cli, ended, "--output", tmp_path / name) == tmp_path / name
        assert (tmp_path / name).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert (tmp_path / "precious").read_text() == "precious"
    done = cli("report", ended.run_id, "--project", ended.project, "--output", tmp_path / "no" / "it.html", "--json")
    assert done.returncode == 6
    assert json.loads(done.stdout)["error"]["problems"][0]["message"].startswith("the report cannot be written: ")
    assert not list(tmp_path.glob(".report-*"))
    assert af.open_run(ended).report(tmp_path / "again.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_run_whose_plugins_are_gone_or_whose_plan_is_damaged_has_its_report_all_the_same(ended, cli, project):
    for change, words in (
        ("json_set(plan, '$.engine', 'nosuch')", "the pictures among its artifacts cannot be told: job 'plot' was"),
        ("'{}'", "what its jobs wait for, and pictures, cannot be told: the run's stored plan is damaged"),
    ):
        with project.database() as db:
            db.execute(f"update planned set plan = {change} where job = 'plot'")
        page = Page(report(cli, ended).read_text(encoding="utf-8"))
        assert words in page.text
        assert "ValueError: <b>too large</b>" in page.text


@pytest.mark.parametrize("in_process", [False, True])
def test_a_project_has_a_report_written_at_each_runs_end(project, cli, in_process):
    project.jobs('with af.job("a"): af.cmd("exit 3")', '"*": {platform: local, engine: cmd_line}\n')
    project.write(project_yaml="report: reports\n")
    options = ["--in-process"] if in_process else []
    assert cli("run", project.root, *options).returncode == 1
    (file,) = project.root.glob("reports/*.html")
    assert "exit code 3" in Page(file.read_text(encoding="utf-8")).text
    project.write(project_yaml="report: true\n")
    done = cli("run", project.root, "--json", *options)
    assert Path(json.loads(done.stdout)["folder"], "report.html").exists()


def test_a_run_that_goes_on_with_todays_project_has_its_report_as_that_says(project, cli):
    project.jobs('with af.job("a"): af.cmd("exit 3")', '"*": {platform: local, engine: cmd_line}\n')
    assert cli("run", project.root).returncode == 1
    project.write(project_yaml="report: true\n")
    assert cli("resume", "latest", "--failed", "--update", "--project", project.root).returncode == 1
    assert "2 attempts" in Page((project.run_folder / "report.html").read_text(encoding="utf-8")).text


def test_a_report_that_cannot_be_written_at_the_end_is_told_and_changes_no_outcome(project, cli):
    project.jobs('with af.job("a"): af.cmd("true")', '"*": {platform: local, engine: cmd_line}\n')
    project.write(project_yaml="report: workflow.py/reports\n")
    done = cli("run", project.root)
    assert done.returncode == 0
    assert "FINISHED in" in done.stdout
    assert "was not written: " in done.stderr
    assert "to write it: aiflow-ext report " in done.stderr


def test_a_report_may_be_wanted_or_not_or_have_a_folder_and_nothing_else(project, cli):
    project.jobs('with af.job("a"): af.cmd("true")', '"*": {platform: local, engine: cmd_line}\n')
    project.write(project_yaml="report: [1]\n")
    done = cli("run", project.root)
    assert done.returncode == 3
    assert "project.yaml:1: 'report' must be true or false or text, not a list" in done.stderr, done.stderr


def test_a_run_whose_driver_was_killed_has_a_report_meanwhile_and_one_at_its_end(project, cli, tmp_path):
    os.mkfifo(tmp_path / "gate")
    project.jobs('with af.job("wait"): af.python(wait)',
                 f'"*": {{platform: local, engine: python, env: {{GATE: {tmp_path}/gate}}}}\n', STEPS)  # fmt: skip
    project.write(project_yaml="report: true\n")
    run = af.start_project(project.root)
    next(each for each in run.transitions() if each.state == "RUNNING")
    os.kill(run.status()["driver"], signal.SIGKILL)
    file = run.report(tmp_path / "meanwhile.html")
    assert "it has not ended" in Page(file.read_text(encoding="utf-8")).text
    (tmp_path / "gate").write_text("go")
    run.resume(check=True)
    text = Page((project.run_folder / "report.html").read_text(encoding="utf-8")).text
    assert "1 FINISHED" in text


def test_a_run_of_a_version_that_stored_less_has_its_report(ended, cli, project):
    with project.database() as db:
        db.row_factory = sqlite3.Row
        db.execute("update runs set plan = json_remove(plan, '$.provenance', '$.report', '$.limits')")
        db.execute("update attempts set node = null, instance = null, submitted_at = null")
    assert "FAILED" in Page(report(cli, ended).read_text(encoding="utf-8")).text
