"""Shell completion, by click's own protocol: what is offered after each beginning of a command line."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

WORKFLOW = """
from pathlib import Path
import aiflow_ext as af

Path(__file__).with_name("imported").touch()

@af.workflow
def small(count: int = 2):
    for number in range(count):
        with af.job(f"train-{number}"): af.cmd("true")
    with af.job("report"): af.cmd("true")

@af.workflow(name="weekly-report")
def other():
    with af.job("all"): af.cmd("true")
"""
PLUGIN = """
import os
open(os.environ["SEEN"], "w").close()
"""


@pytest.fixture
def offered(cli, cli_env):
    """The values that are offered for the last word, as (kind, value): ``plain`` or ``dir``."""

    def call(*words, cwd="."):
        line = shlex.join(["aiflow-ext", *map(str, words[:-1])]) + " " + str(words[-1])
        asked = {"_AIFLOW_EXT_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
        done = cli(env={**cli_env, **asked}, cwd=cwd)
        assert (done.returncode, done.stderr) == (0, "")
        return [tuple(line.split(",", 1)) for line in done.stdout.split("\n") if line]

    return call


@pytest.fixture
def values(offered):
    return lambda *words, **options: [value for kind, value in offered(*words, **options) if kind == "plain"]


@pytest.fixture
def ran(project, cli, tmp_path):
    """A project that has been run once; returns it and the run's id."""
    project.write(
        workflow_py=WORKFLOW,
        workflow_yaml="'*': {retries: 0}\n'train-*': {}\nreport: {}\n",
        project_yaml="profiles: {night: {}, day: {}}\n",
    )
    done = cli("run", project.root, "--workflow", "small", "--detach", "--json")
    run = done.stdout.split('"')[3]
    assert cli("status", run, "--watch").returncode == 0
    (project.root / "imported").unlink()
    return project, run


def test_commands_and_options_are_offered(values):
    assert values("re") == ["render", "report", "reproduce", "resume"]
    assert values("config", "") == ["show"]
    assert "--follow" in values("logs", "--")
    assert values("schema", "") == ["workflow", "project"]


def test_runs_and_latest_are_offered_wherever_a_run_is_named(ran, offered, values):
    project, run = ran
    for command in ("status", "logs", "stop", "resume", "artifacts", "graph", "diff"):
        assert values(command, "") == ["latest", run]
    assert values("diff", run, "") == ["latest", run]
    assert values("status", run[:-1]) == [run]
    assert values("status", "--project", project.root, "") == ["latest", run]
    assert values("run", project.root, "--from-run", "l") == ["latest"]
    assert ("dir", "") in offered("graph", "")


def test_what_zsh_is_told_has_no_empty_word_which_its_script_would_lose(ran, cli, cli_env):
    _, run = ran
    asked = {"_AIFLOW_EXT_COMPLETE": "zsh_complete", "COMP_WORDS": "aiflow-ext graph ", "COMP_CWORD": "2"}
    told = cli(env={**cli_env, **asked}).stdout.removesuffix("\n").split("\n")
    assert told[0::3] == ["dir", "plain", "plain"]
    assert told[4::3] == ["latest", run]
    assert all(told), told


def test_jobs_of_a_run_are_those_on_record(ran, values):
    project, run = ran
    jobs = ["train-0", "train-1", "report"]
    for words in (("logs", run), ("logs", "latest"), ("stop", run), ("artifacts", run), ("resume", run, "--from")):
        assert values(*words, "", cwd=project.root) == jobs
    assert values("logs", run, "report", "") == ["train-0", "train-1"]
    assert values("logs", run, "t") == ["train-0", "train-1"]


def test_jobs_of_a_project_are_those_of_its_latest_run_and_those_that_its_files_name(ran, values):
    project, _ = ran
    jobs = ["train-0", "train-1", "report", "all"]
    for words in (("render", project.root), ("why", project.root), ("config", "show", project.root)):
        assert values(*words, "") == jobs
    assert values("run", project.root, "--only", "a") == ["all"]


def test_jobs_of_a_project_that_was_never_run_are_those_that_its_files_name(project, values):
    project.write(workflow_py=WORKFLOW, workflow_yaml="'train-*': {}\ntrain-0: {}\n")
    assert values("render", project.root, "") == ["report", "all", "train-0"]


def test_workflows_profiles_and_projects_are_offered(ran, offered, values):
    project, _ = ran
    assert values("run", project.root, "--workflow", "") == ["small", "weekly-report"]
    assert values("graph", project.root, "--workflow", "w") == ["weekly-report"]
    assert values("run", project.root, "--profile", "") == ["night", "day"]
    assert values("why", project.root, "report", "--profile", "d") == ["day"]
    for words in (("run",), ("render",), ("doctor",), ("why",), ("runs", "--project")):
        assert ("dir", "") in offered(*words, "")


def test_platforms_and_engines_are_those_that_are_advertised(stranger, offered, values):
    seen = stranger("queue", PLUGIN, {"queue.cmd_line": "Plugin", "queue.sql": "Plugin"})
    assert {"queue", "local"} <= {*values("why", "")}
    assert values("why", "queue", "") == ["cmd_line", "sql"]
    assert values("why", "nowhere", "") == []
    assert not seen.exists()


def test_nothing_of_a_project_or_plugin_is_imported(ran, stranger, values):
    seen = stranger("queue", PLUGIN, {"queue.cmd_line": "Plugin"})
    project, run = ran
    for words in (("render", project.root), ("logs", run), ("run", project.root, "--workflow"), ("why",)):
        assert values(*words, "")
    assert not (project.root / "imported").exists()
    assert not seen.exists()


def test_where_something_is_broken_nothing_is_offered_and_nothing_printed(ran, offered, values, tmp_path):
    project, run = ran
    for file in (project.root / ".aiflow").glob("state.db*"):
        file.write_bytes(b"no database" * 1000)
    assert offered("status", "") == []
    assert offered("logs", run, "") == []
    assert values("render", project.root, "") == ["report", "all"]
    project.write(workflow_py="def (", workflow_yaml="- [", project_yaml="profiles: 3\n")
    assert values("render", project.root, "") == []
    assert values("run", project.root, "--workflow", "") == []
    assert values("run", project.root, "--profile", "") == []
    assert values("render", tmp_path / "nowhere", "") == []


def test_a_name_that_a_terminal_would_obey_is_not_offered(project, values):
    project.write(workflow_py='import aiflow_ext as af\naf.job("a\\x1b[2J"); af.job("b\\nplain,c"); af.job("d")\n')
    assert values("render", project.root, "") == ["d"]


def test_bash_completes_a_job_with_the_documented_line(ran, cli_env):
    project, run = ran
    script = (
        'eval "$(_AIFLOW_EXT_COMPLETE=bash_source aiflow-ext)"; COMP_WORDS=(aiflow-ext logs "$1" r); COMP_CWORD=3; '
        '_aiflow_ext_completion aiflow-ext; echo "${COMPREPLY[@]}"'
    )
    path = f"{Path(sys.executable).parent}:{cli_env['PATH']}"
    done = subprocess.run(["bash", "-c", script, "bash", run], env={**cli_env, "PATH": path}, cwd=project.root,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert (done.stdout, done.stderr) == ("report\n", "")
