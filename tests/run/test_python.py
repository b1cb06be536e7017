"""Runs from Python, several in one process: each lets go of all that it held."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import aiflow_ext as af
from aiflow_ext.model.errors import ConfigError
from aiflow_ext.run import prepare_run, resume_run
from aiflow_ext.run.operations.detach import detach
from tests.conftest import Project

CMD = '"*": {platform: local, engine: cmd_line}\n'


@pytest.fixture(autouse=True)
def own_home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def two(project):
    return project.jobs('with af.job("a"): af.cmd("true")\nwith af.job("b"): af.cmd("true")', CMD + "a: {}\nb: {}\n")


def test_a_run_can_be_taken_up_again_in_the_process_that_ran_it_also_after_a_mistake(two):
    run = af.run_project(two.root)
    with pytest.raises(ConfigError, match="no job 'zz'"):
        resume_run(run.run_id, project=str(two.root), from_job="zz")
    again = resume_run(run.run_id, project=str(two.root), from_job="a")
    assert [len(job.attempts) for job in again.jobs.values()] == [2, 1]


@pytest.mark.parametrize("way", ["run", "prepare", "detach"])
def test_a_run_leaves_no_descriptor_and_no_thread_in_its_process(two, way):
    def once():
        if way == "run":
            af.run_project(two.root)
        elif way == "prepare":
            prepare_run(two.root).close()
        else:
            os.waitpid(detach(two.root)[1], 0)

    def held():
        for thread in threading.enumerate():
            if thread.name == "aiflow-bell":
                thread.join(10)
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    once()
    before = held()
    once()
    once()
    assert held() == before


def test_annotations_may_name_what_only_a_type_checker_imports(project):
    # From Python 3.14 on they are evaluated when somebody asks for them; before that, such a file needs the import.
    later = "" if sys.version_info >= (3, 14) else "from __future__ import annotations\n"
    steps = later + (
        "from typing import TYPE_CHECKING, TypedDict\n"
        "if TYPE_CHECKING: from nowhere import Frame\n"
        "def adder(number):\n"
        "    class Box:\n"
        "        inside: Frame\n"
        "    def add(value: Frame, more: list[Frame] = ()) -> Frame:\n"
        "        box = Box(); box.inside = value + number\n"
        "        return box.inside\n"
        "    return add\n"
        "def made(value: Frame) -> Frame: return adder(value)\n"
        "def use(function: Frame) -> Frame: return print(function(1))\n"
    )
    body = """
    with af.job("make"): function = af.python(made, af.python(adder(1), 2))
    with af.job("use"): af.python(use, function)
    """
    config = '"*": {platform: local, engine: python}\nmake: {}\nuse: {}\n'
    assert str(af.run_project(project.jobs(body, config, steps).root).state) == "FINISHED"
    assert project.log("use") == b"4\n"


def test_files_and_folders_that_jobs_keep_are_listed_at_the_end(project, cli):
    project.jobs(
        """
        with af.job("made"): af.python(folder)
        with af.job("written"): af.cmd("echo 1 > {out}", out=af.output("o.txt"))
        """,
        '"*": {platform: local}\nmade: {engine: python}\nwritten: {engine: cmd_line}\n',
        """
        from pathlib import Path

        def folder():
            Path("model").mkdir()
            Path("model", "weights").write_text("1")
            return Path("model")
        """,
    )
    done = cli("run", project.root, "--json")
    files = {each["job"]: each for each in json.loads(done.stdout)["files"]}
    assert {job: each["form"] for job, each in files.items()} == {"made": "folder", "written": "file"}
    with tarfile.open(files["made"]["path"]) as tar:
        assert "model/weights" in tar.getnames()
    assert files["made"]["size"] == Path(files["made"]["path"]).stat().st_size
    said = cli("resume", "latest", "--project", project.root).stdout
    assert "made/1/folder/model.tar (a folder)\n" in said


@pytest.fixture
def projects(tmp_path):
    """Four projects whose modules have the same names and are not the same; what they print is for nobody."""
    made = []
    for number in range(4):
        root = tmp_path / f"project-{number}"
        root.mkdir()
        made.append(
            Project(root).jobs(
                f"""
                print("not for stdout")
                with af.job("make"): one = af.python(make)
                with af.job("add-{number}"): af.python(add, one)
                """,
                '"*": {platform: local, engine: python}\nmake: {}\n' + f"add-{number}: {{}}\n",
                f"import os, helper\nos.chdir('/')\ndef make(): return {number}\n"
                f"def add(one): print(one, helper.NUMBER, {number})\n",
            )
        )
        (root / "helper.py").write_text(f"NUMBER = {number}\n")
    return made


def test_threads_may_run_projects_at_once_the_same_and_others(projects, capfd):
    stdout, folder, path, modules = sys.stdout, os.getcwd(), list(sys.path), dict(sys.modules)
    turns = [*range(4), 0, 0, 1, 1]
    with ThreadPoolExecutor(len(turns)) as pool:
        records = list(pool.map(lambda number: af.run_project(projects[number].root, jobs=1), turns))
    assert [str(record.state) for record in records] == ["FINISHED"] * len(turns)
    for number, record in zip(turns, records, strict=True):
        assert list(record.jobs) == ["make", f"add-{number}"]
        log = Path(record.jobs[f"add-{number}"].last.folder, "stdout").read_text()
        assert log == f"{number} {number} {number}\n"
    assert (sys.stdout, os.getcwd(), sys.path) == (stdout, folder, path)
    assert not {"steps", "helper", "aiflow_workflow"} & (sys.modules.keys() - modules.keys())
    assert "not for stdout" not in capfd.readouterr().out


def test_another_thread_that_reads_sys_path_while_a_workflow_is_imported_misses_no_entry(project, monkeypatch):
    monkeypatch.setattr(sys, "reader", None, raising=False)
    body = 'import sys\nsys.reader = iter(sys.path)\nnext(sys.reader)\nwith af.job("a"): af.cmd("true")'
    project.jobs(body, '"*": {platform: local, engine: cmd_line}\na: {}\n')
    before = list(sys.path)
    af.render_project(project.root)
    assert set(before) <= set(sys.reader)
    assert sys.path == before


def test_an_event_loop_may_leave_runs_and_renders_to_its_executor(projects):
    async def all_of_them():
        loop = asyncio.get_running_loop()
        renders = [loop.run_in_executor(None, af.render_project, project.root) for project in projects]
        runs = [loop.run_in_executor(None, af.run_project, project.root) for project in projects[:2]]
        return await asyncio.gather(*renders), await asyncio.gather(*runs)

    rendered, records = asyncio.run(all_of_them())
    assert [[job["job"] for job in each] for each in rendered] == [["make", f"add-{number}"] for number in range(4)]
    assert [str(record.state) for record in records] == ["FINISHED"] * 2


def test_a_mistake_in_one_project_is_told_of_no_other(projects):
    (projects[1].root / "steps.py").write_text("raise RuntimeError('of one alone')\n")

    def outcome(project):
        try:
            return str(af.run_project(project.root).state)
        except af.AiflowError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(outcome, projects))
    assert [each == "FINISHED" for each in said] == [True, False, True, True]
    assert "project-1/steps.py:1" in said[1]
    assert "of one alone" in said[1]
