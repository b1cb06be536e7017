"""Whatever stands in a store, commands end with a sentence; other projects and their runs are there all the same."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiflow_ext.cli.commands import program
from aiflow_ext.cli.failures import run_guarded
from aiflow_ext.run import run_project

WORKFLOW = """
import aiflow_ext as af

@af.workflow
def tested():
    with af.job("a"): a = af.cmd("echo > {o}", o=af.output("o"))
    with af.job("b"): af.cmd("cat {a}", a=a)
    with af.job("c"): af.cmd("exit 1")
"""
COMMANDS = ["runs", "status latest", "status latest --json", "logs latest", "graph latest", "graph latest --json",
            "gc --keep 0 --dry-run"]  # fmt: skip
TABLES = {
    "runs": ["run", "workflow", "project", "folder", "state", "started_at", "ended_at", "plan", "options", "firing"],
    "jobs": ["name", "place", "platform", "engine", "state", "reason"],
    "attempts": ["job", "number", "native_id", "folder", "state", "step", "started_at", "ended_at", "exit_code",
                 "signal", "reason", "stop_requested", "restarts", "cleaned"],
    "planned": ["job", "place", "plan"],
    "transitions": ["seq", "job", "attempt", "state", "time", "reason"],
}  # fmt: skip
VALUES = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(max_size=20),
    st.binary(max_size=20),
    st.sampled_from(["", "..", "/", "RUNNING", "{}", "[]", "null", '{"jobs": 1}', "[" * 5000, "\x1b]0;x\x07", "\0"]),
)  # fmt: skip
SPOILT = st.lists(
    st.sampled_from([(table, column) for table, columns in TABLES.items() for column in columns]).flatmap(
        lambda place: st.tuples(st.just(place), st.one_of(VALUES, st.just("delete")))
    ),
    min_size=1,
    max_size=3,
)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The folder of a project that has been run once."""
    root = tmp_path_factory.mktemp("spoilt")
    (root / "workflow.py").write_text(WORKFLOW)
    run_project(root)
    with contextlib.closing(sqlite3.connect(root / ".aiflow" / "state.db")) as db:
        db.execute("pragma wal_checkpoint(truncate)")
    shutil.copy(root / ".aiflow" / "state.db", root / "whole.db")
    return root


def spoil(root, changes):
    # Not by a copy of the file: commands of this process may have it open.
    state = root / ".aiflow" / "state.db"
    with (
        contextlib.closing(sqlite3.connect(root / "whole.db")) as whole,
        contextlib.closing(sqlite3.connect(state)) as db,
    ):
        whole.backup(db)
    with contextlib.closing(sqlite3.connect(state)) as db, db:
        for (table, column), value in changes:
            with contextlib.suppress(sqlite3.IntegrityError):
                if value == "delete":
                    db.execute(f"delete from {table}")
                else:
                    db.execute(f"update {table} set {column} = ?", (value,))


@settings(max_examples=80, derandomize=True, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])  # fmt: skip
@given(changes=SPOILT)
def test_no_command_dies_of_what_stands_in_a_store(ended, capsys, changes):
    spoil(ended, changes)
    for command in COMMANDS:
        code = run_guarded(program, [*command.split(), "--project", str(ended)])
        said = capsys.readouterr()
        assert code in (0, 1, 3, 6, 7), (command, code, said.err)
        assert "Traceback" not in said.err
        assert "\x1b" not in said.out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((("runs", "folder"), None), "runs.folder is NULL"),
        ((("runs", "started_at"), "long ago"), "runs.started_at is a str"),
        ((("runs", "started_at"), 1e300), "which is no time"),
        ((("jobs", "state"), "delete"), "has no jobs"),
        ((("runs", "folder"), "/home"), "which is not the folder of run"),
        ((("runs", "project"), "x" * 5000), "which is no path"),
        ((("attempts", "folder"), "/home"), "which is not in the run's folder"),
        ((("attempts", "number"), 7), "follows none"),
        ((("attempts", "exit_code"), "x"), "attempts.exit_code is a str"),
    ],
)
def test_what_is_wrong_is_named_and_other_projects_are_told_of(ended, cli, project, change, words):
    project.jobs('with af.job("fine"): af.cmd("true")', "")
    assert cli("run", project.root).returncode == 0
    spoil(ended, [change])
    done = cli("status", "latest", "--project", ended)
    assert done.returncode == 6
    assert words in done.stderr
    for command in (["runs"], ["gc", "--keep", "9"], ["status", cli("runs").stdout.split("\n")[1].split("\t")[0]]):
        done = cli(*command, cwd=ended)
        assert done.returncode == 0, done
    assert str(project.root) in cli("runs", cwd=ended).stdout
