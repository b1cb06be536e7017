"""Runs from Python, several in one process: each lets go of all that it held."""

from __future__ import annotations

import os
import threading

import pytest

import aiflow_ext as af
from aiflow_ext.model.errors import ConfigError
from aiflow_ext.run import prepare_run, resume_run
from aiflow_ext.run.detach import detach

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
