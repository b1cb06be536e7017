"""Tables of the command line: on a terminal of any width, and in a pipe, whatever is copied is whole."""

from __future__ import annotations

import json
import os
import re

import pytest

from aiflow_ext.cli.show import run_table
from aiflow_ext.model.states import JobState
from aiflow_ext.run.store.records import AttemptRecord, JobRecord, RunRecord

LONG = "train-" + "a-job-with-a-name-of-its-own-" * 2
FAILING = (
    f'with af.job("{LONG}"):\n    af.cmd("echo no >&2; exit 3")\nwith af.job("ok"): af.cmd("true")\n'
    'with af.job("late"): af.cmd("true")\naf.run_after("late", "ok", when="failed")'
)


@pytest.fixture
def terminal(raw_terminal):
    """As ``raw_terminal``; what the terminal was told without what sets colours and moves the cursor."""

    def call(width, *args):
        code, seen = raw_terminal(width, *args)
        return code, re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode()).replace("\r\n", "\n")

    call.env = raw_terminal.env
    return call


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_ids_names_and_paths_are_whole_on_a_terminal_of_any_width(project, cli, terminal, width):
    project.jobs(FAILING, "")
    assert cli("run", project.root, env=terminal.env).returncode == 1
    record = json.loads(cli("status", "latest", "--json", env=terminal.env).stdout)
    code, text = terminal(width, "runs")
    assert code == 0
    assert record["run"] in text
    assert str(project.root) in text
    assert "\u2026" not in text
    _, text = terminal(width, "status", "latest")
    assert record["run"] in text
    assert {LONG, "ok", "late", "SKIPPED", "local.cmd_line (by default)"} <= set(re.split(r"\n *|  +", text))
    _, text = terminal(width, "plugins")
    assert "aiflow_ext_local.cmd_line:LocalCmdLineJobPlugin" in text


def test_a_table_fills_the_terminal_and_goes_on_below_the_row_where_that_is_full(project, cli, terminal):
    project.jobs('with af.job("a"): af.cmd("true")', "")
    assert cli("run", project.root, env=terminal.env).returncode == 0
    _, wide = terminal(300, "runs")
    _, narrow = terminal(60, "runs")
    assert len(wide.splitlines()) == 2
    assert re.match(r"run +state +started +took +jobs +project$", wide.splitlines()[0])
    heads, first = [line for line in narrow.splitlines() if not line.startswith("    ")]
    assert re.match(r"run +state", heads)
    assert re.match(r"tested-\S+ +FINISHED", first)


@pytest.mark.parametrize("width", [30, 80])
def test_what_stays_on_the_terminal_after_a_run_is_whole(project, terminal, width):
    project.jobs(FAILING, "")
    code, text = terminal(width, "run", project.root)
    assert code == 1
    lines = text.split("\n")
    assert LONG in (line.split("  ")[0] for line in lines)
    (ending,) = [line for line in lines if "its folder is" in line]
    assert os.path.isdir(ending.rpartition(" ")[2])


def test_in_a_pipe_each_table_has_heads_and_a_line_a_row_with_tabs(project, cli, terminal):
    project.jobs(FAILING, f'"{LONG}": {{platform: local}}\n"ok": {{platform: local, engine: cmd_line}}\n')
    cli("run", project.root, env=terminal.env)
    record = json.loads(cli("status", "latest", "--json", env=terminal.env).stdout)
    assert [job["defaults"] for job in record["jobs"]] == [["engine"], [], ["platform", "engine"]]
    head, heads, *rows = [line.split("\t") for line in cli("status", "latest", env=terminal.env).stdout.splitlines()]
    assert head[:2] == ["run", record["run"]]
    assert heads == ["job", "state", "attempts", "took", "reason", "where", "node", "runs in"]
    assert [(row[0], row[1], row[2], *row[5:]) for row in rows] == [
        (LONG, "FAILED", "1", "local.cmd_line (engine by default)", "", ""),
        ("ok", "FINISHED", "1", "local.cmd_line", "", ""),
        ("late", "SKIPPED", "0", "local.cmd_line (by default)", "", ""),
    ]
    heads, row = [line.split("\t") for line in cli("runs", env=terminal.env).stdout.splitlines()]
    assert heads == ["run", "state", "started", "took", "jobs", "project"]
    assert (row[0], row[5]) == (record["run"], str(project.root))
    heads = cli("plugins").stdout.splitlines()[0].split("\t")
    assert heads == ["kind", "name", "status", "distribution", "version", "entry point", "reason"]


def test_render_says_what_is_a_default(project, cli):
    project.jobs('with af.job("a"): af.cmd("true")\nwith af.job("b"): af.cmd("true")', "b: {platform: local}\n")
    text = cli("render", project.root).stdout
    assert "# job a: local.cmd_line (by default)\n" in text
    assert "# job b: local.cmd_line (engine by default)\n" in text
    found = json.loads(cli("render", project.root, "--json").stdout)
    assert [job["defaults"] for job in found] == [["platform", "engine"], ["engine"]]


def test_one_job_is_no_jobs(project, cli, terminal):
    project.jobs('with af.job("a"): af.cmd("true")', "")
    assert cli("run", project.root, env=terminal.env).stdout.splitlines()[0].endswith(": 1 job")


def test_the_ends_of_many_jobs_are_printed_for_the_first_few(project, cli, terminal):
    project.jobs('for n in range(40):\n    with af.job(f"j{n}"): af.cmd("exit 3")', "")
    done = cli("run", project.root, env=terminal.env)
    assert done.returncode == 1
    assert len(re.findall(r"^j\d+ FAILED: ", done.stdout, re.M)) == 10
    assert "and 30 more jobs: aiflow-ext status tested-" in done.stdout


@pytest.mark.parametrize("width", ["50", pytest.param("80", marks=pytest.mark.thorough)])
def test_no_help_is_cut(cli, cli_env, width):
    from aiflow_ext.cli.commands import program

    env = {**cli_env, "COLUMNS": width, "TERMINAL_WIDTH": width}
    text = cli("--help", env=env).stdout
    assert "..." not in text.replace("[ARGS]...", "")
    flat = " ".join(text.split())
    for name, command in program.commands.items():
        sentence = " ".join(str(command.help).split()).partition(". ")[0].rstrip(".")
        assert f"{name} {sentence}" in flat, name
        told = " ".join(cli(name, "--help", env=env).stdout.split())
        for option in command.params:
            if getattr(option, "help", None) and not getattr(option, "hidden", False):
                assert " ".join(option.help.split()) in told, (name, option.name)


def test_the_table_of_status_names_nodes_and_pods_of_jobs_that_have_not_finished():
    record = RunRecord("r", "w", "/p", "/p/.aiflow/runs/r", 1.0)
    for name, state in (("runs", JobState.RUNNING), ("done", JobState.FINISHED)):
        job = record.jobs[name] = JobRecord(name, "elsewhere", "python")
        attempt = AttemptRecord(name, 1, "/p/folder")
        attempt.instance, attempt.node, attempt.started_at = f"{name}-pod", f"node-of-{name}", 2.0
        job.attempts.append(attempt)
        job.state = attempt.state = state
    shown = "\n".join(line.plain for line in run_table(record, 3.0, 200, places=True))
    assert re.search(r"node +runs in\n", shown)
    assert re.search(r"runs .* node-of-runs +runs-pod\n", shown)
    assert "done-pod" not in shown
    assert "runs-pod" not in "\n".join(line.plain for line in run_table(record, 3.0, 200))
