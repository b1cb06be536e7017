"""A project is its folder, by whatever path it is reached and whatever name it has."""

from __future__ import annotations

import json

import pytest

import aiflow_ext as af
from aiflow_ext.run.observe import list_runs

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
