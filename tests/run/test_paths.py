"""A project is its folder, by whatever path it is reached and whatever name it has."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import aiflow_ext as af
from aiflow_ext.run.operations.observe import list_runs
from aiflow_ext.run.operations.start import AlreadyFiredError
from tests.conftest import Project

CMD = '"*": {platform: local, engine: cmd_line}\n'


@pytest.fixture(autouse=True)
def own_list(tmp_path, monkeypatch):
    """A list of known projects of the test's own, for this process and for its commands."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def cli_env(cli_env, tmp_path):
    return {**cli_env, "XDG_STATE_HOME": str(tmp_path / "state")}


@pytest.fixture
def one_job(project):
    return project.jobs('with af.job("a"): af.cmd("true")', CMD + "a: {}\n")


def ids(cli, *args, **options):
    return [run["run"] for run in json.loads(cli("runs", "--json", *args, **options).stdout)]


@pytest.mark.parametrize("elsewhere", [False, True], ids=["in the project", "AIFLOW_STATE"])
def test_a_project_reached_through_links_is_one_project(one_job, cli, cli_env, tmp_path, elsewhere):
    (tmp_path / "home").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "link").symlink_to(tmp_path / "home" / "project", target_is_directory=True)
    if elsewhere:
        (tmp_path / "disk").mkdir()
        (tmp_path / "states").symlink_to(tmp_path / "disk", target_is_directory=True)
        cli_env["AIFLOW_STATE"] = str(tmp_path / "states")
    paths = [one_job.root, tmp_path / "link", f"{tmp_path}/link/", f"{tmp_path}/home/project/../link/workflow.py"]
    made = [json.loads(cli("run", path, "--json").stdout)["run"] for path in paths]
    made.append(json.loads(cli("run", ".", "--json", cwd=tmp_path / "link").stdout)["run"])
    for where in ({}, {"cwd": tmp_path / "link"}, {"cwd": one_job.root}):
        assert sorted(ids(cli, **where)) == sorted(made)
        assert cli("status", made[0], **where).returncode == 0
    assert sorted(ids(cli, "--project", tmp_path / "link")) == sorted(made)
    assert cli("gc", "--keep", "1", "--json").returncode == 0
    assert len(ids(cli)) == 1


def test_a_list_that_knows_a_project_by_two_paths_shows_each_run_once(one_job, cli, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(one_job.root, target_is_directory=True)
    record = af.run_project(link)
    with open(tmp_path / "state" / "aiflow-ext" / "projects", "a") as known:
        known.write(f"{link}/.aiflow\n")
    assert ids(cli) == [record.run_id]
    assert cli("status", record.run_id).returncode == 0


def test_runs_by_two_paths_are_in_one_store(one_job, tmp_path):
    (tmp_path / "link").symlink_to(one_job.root, target_is_directory=True)
    records = [af.run_project(path) for path in (one_job.root, tmp_path / "link")]
    assert {record.project for record in records} == {str(one_job.root)}
    assert {run["run"] for run in list_runs(str(tmp_path / "link"))} == {record.run_id for record in records}


NAMES = {
    "not UTF-8": os.fsdecode(b"caf\xe9 \xff"),
    "lines": "new\nline\r\u2028\x85x",
    "words of shells and URLs": "-q \"uo'te 100% #1 ?x {a} ${HOME} a:b\\",
    "emoji": "\U0001f600",
    "255 bytes": "x" * 255,
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_folder_may_have_any_name(tmp_path, cli, cli_env, monkeypatch, name):
    root = tmp_path / name
    root.mkdir()
    if elsewhere := name.isascii() == name.isprintable():
        cli_env["AIFLOW_STATE"] = str(tmp_path / f"{name[:200]}-states")
        monkeypatch.setenv("AIFLOW_STATE", cli_env["AIFLOW_STATE"])
    project = Project(root).jobs(
        """
        with af.job("a"): one = af.python(first)
        with af.job("b"): af.cmd("cat {one} > {out}; printf '\\\\351'", one=one, out=af.output("o.txt"))
        """,
        '"*": {platform: local}\na: {engine: python}\nb: {engine: cmd_line}\n',
        "def first():\n    open('told', 'w').close()\n    return 'one'\n",
    )
    (project.root / os.fsdecode(b"data \xff\n")).write_text("")
    record = af.run_project(root, firing=name)
    assert (record.state, record.project) == ("FINISHED", str(root))
    assert (root / ".aiflow").exists() is not elsewhere
    resumed = json.loads(cli("resume", record.run_id, "--from", "b", "--json").stdout)
    assert [len(job["attempts"]) for job in resumed["jobs"]] == [1, 2]
    assert [Path(file["path"]).read_text() for file in resumed["files"]] == ["one"]
    assert [run["project"] for run in list_runs()] == [str(root)]
    assert cli("logs", record.run_id, "b", text=False).stdout == b"\xe9"
    with pytest.raises(AlreadyFiredError):
        af.run_project(root, firing=name)


def test_a_project_of_any_name_may_be_moved(one_job, cli, tmp_path):
    old, new = tmp_path / os.fsdecode(b"old \xe9"), tmp_path / os.fsdecode(b"new\n\xe8")
    one_job.root.rename(old)
    record = af.run_project(old)
    old.rename(new)
    assert cli("resume", "latest", "--project", new, "--from", "a").returncode == 0
    moved = json.loads(cli("status", record.run_id, "--project", new, "--json").stdout)
    assert moved["project"] == str(new)
    assert [attempt["folder"].startswith(f"{new}/") for attempt in moved["jobs"][0]["attempts"]] == [True, True]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        (os.fsdecode(b"caf\xe9"), "$'caf\\xe9'"),
        ("two words", "'two words'"),
        ("one", "one"),
        ("a\n'b", "$'a\\x0a\\x27b'"),
    ],
)
def test_a_folder_in_a_hint_can_be_pasted_whatever_its_name(one_job, cli, tmp_path, name, word):
    root = one_job.root.rename(tmp_path / name)
    above = cli("run", tmp_path)
    assert f"name one of the projects in it: {word}\n" in above.stderr
    beside = cli("run", tmp_path / f"{name}z")
    assert f"did you mean {word if word.endswith(chr(39)) else repr(word)}?\n" in beside.stderr
    (root / "workflow.yaml").rename(root / "workflow.yml")
    assert f"mv {word[:-1] if word[-1] == chr(39) else word}/workflow.yml" in cli("run", name, cwd=tmp_path).stderr


def test_what_a_job_says_that_is_no_text_is_kept_in_the_records(project, cli):
    project.jobs('with af.job("a"): af.python(fail)', '"*": {platform: local, engine: python}\na: {}\n',
                 "def fail(): raise RuntimeError('caf\\udce9 \\ud800')\n")  # fmt: skip
    done = cli("run", project.root)
    assert done.returncode == 1, done.stderr
    assert "RuntimeError" in done.stdout
    assert cli("status", "latest").returncode == 1
