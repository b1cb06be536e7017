"""Whatever stands in a store, commands end with a sentence; other projects and their runs are there all the same."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys

import pytest
from own_watch import plugin_that_watches
from patience import PATIENCE
from spoilt_store import WORKFLOW, run_once, spoil

from aiflow_ext.run import run_project


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The folder of a project that has been run once."""
    return run_once(tmp_path_factory.mktemp("spoilt"))


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
def test_what_is_wrong_is_named_and_other_projects_are_shown(ended, cli, project, change, words):
    project.jobs('with af.job("fine"): af.cmd("true")', "")
    assert cli("run", project.root).returncode == 0
    spoil(ended, [change])
    done = cli("status", "latest", "--project", ended)
    assert done.returncode == 6
    assert words in done.stderr
    listed = cli("runs", cwd=ended)
    assert listed.returncode == 0, listed
    assert str(project.root) in listed.stdout
    for command in (["gc", "--keep", "9"], ["status", listed.stdout.split("\n")[1].split("\t")[0]]):
        done = cli(*command, cwd=ended)
        assert done.returncode == 0, done


ODD_EVENTS = plugin_that_watches("""
    for event in super().watch(jobs, since):
        if event is not None:
            event.__dict__.update(json.load(open(os.environ["SEEN"])))
        yield event
""")


@pytest.mark.parametrize(
    "odd",
    [
        {"time": -1e17}, {"time": float("nan")}, {"time": 1e300}, {"time": "noon"}, {"restarts": 10**30},
        {"restarts": "x"}, {"exit_code": 10**30, "signal": "x"}, {"reason": [1], "instance": {}, "node": 5},
        {"disruption": [], "out_of_memory": "x"},
    ],
    ids=str,
)  # fmt: skip
def test_what_a_platform_says_damages_no_store(project, cli, stranger, odd):
    stranger("cluster", ODD_EVENTS, {"cluster.cmd_line": "Plugin"}).write_text(json.dumps(odd))
    project.jobs('with af.job("fine"): af.cmd("true")', "'*': {platform: cluster}")
    done = cli("run", project.root)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    listed = cli("status", "latest", "--project", project.root)
    assert listed.returncode == 0, listed.stderr
    assert "fine\tFINISHED" in listed.stdout


ODD_ITEM = """
    if not Plugin.said:
        Plugin.said = True
        yield ODD
    yield from super().watch(jobs, since)
"""


@pytest.mark.parametrize(
    "odd",
    ["'x'", "5", "af.AttemptEvent(next(iter(jobs)), None)", "af.AttemptEvent(next(iter(jobs)), 'UP')",
     "af.AttemptEvent([], af.JobState.RUNNING)"],
)  # fmt: skip
def test_what_is_no_event_breaks_a_watch_off_and_not_the_run(project, cli, stranger, odd):
    stranger("cluster", plugin_that_watches(ODD_ITEM.replace("ODD", odd)), {"cluster.cmd_line": "Plugin"})
    project.jobs('with af.job("fine"): af.cmd("true")', "'*': {platform: cluster}")
    done = cli("run", project.root)
    assert done.returncode == 0, done
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A project whose store is to be damaged, and one that was run after it, in the list of a user of their own."""
    base = tmp_path_factory.mktemp("two")
    bad, good = base / "bad", base / "good"
    for root in (bad, good):
        root.mkdir()
        (root / "workflow.py").write_text(WORKFLOW.replace("exit 1", "true"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(base / "state"))
        patch.setenv("XDG_CACHE_HOME", str(base / "cache"))
        for root in (bad, good):
            run_project(root)
    with contextlib.closing(sqlite3.connect(bad / ".aiflow" / "state.db")) as db:
        db.execute("pragma wal_checkpoint(truncate)")
        db.execute("pragma journal_mode=delete")
    for each in (bad / ".aiflow").glob("state.db-*"):
        each.unlink()
    shutil.copy(bad / ".aiflow" / "state.db", base / "whole.db")
    return bad, good


def of_two(two):
    """The environment of commands of the user of both."""
    base = two[0].parent
    return {**os.environ, "XDG_STATE_HOME": str(base / "state"), "XDG_CACHE_HOME": str(base / "cache")}


def by_sql(statements):
    def damage(db):
        with contextlib.closing(sqlite3.connect(db)) as connection, connection:
            connection.executescript(statements)

    return damage


def replaced(make):
    def damage(db):
        db.unlink()
        make(db)

    return damage


ENDLESS = "with recursive c(x) as (select 1 union all select x + 1 from c) select x as run, x as state from c"
DAMAGES = {
    "truncated": (lambda db: os.truncate(db, 5000), "is damaged"),
    "begun": (lambda db: os.truncate(db, 50), "is damaged"),
    "empty": (lambda db: os.truncate(db, 0), "is damaged: it is empty"),
    "no database": (lambda db: db.write_bytes(b"hello" * 1000), "is damaged: file is not a database"),
    "folder NULL": (by_sql("update runs set folder = null"), "is damaged: runs.folder is NULL"),
    "folder elsewhere": (by_sql("update runs set folder = '/home'"), "is damaged: runs.folder is '/home'"),
    "project relative": (by_sql("update runs set project = 'x'"), "is damaged: runs.project is 'x', which is no path"),
    "started_at text": (by_sql("update runs set started_at = 'x'"), "is damaged: runs.started_at is a str"),
    "state unknown": (by_sql("update runs set state = 'X'"), "is damaged: 'X' is not a valid JobState"),
    "no table": (by_sql("drop table jobs"), "is damaged: no such table: jobs"),
    "endless view": (by_sql(f"drop table jobs; create view jobs as {ENDLESS}"), "is damaged: there is a view in it"),
    "trigger": (
        by_sql("create trigger t after update on runs begin delete from runs; end"),
        "there is a trigger in it",
    ),
    "later version": (by_sql("pragma user_version = 99"), "was written by a newer aiflow-ext"),
    "no version": (by_sql("pragma user_version = 0"), "is damaged: table runs already exists"),
    "folder": (replaced(lambda db: db.mkdir()), "is damaged: it is a folder, not a regular file"),
    "FIFO": (replaced(os.mkfifo), "is damaged: it is a FIFO, not a regular file"),
    "link": (replaced(lambda db: db.symlink_to("/dev/zero")), "state is no link to something else"),
}
ALL = ["runs", "runs --json", "status latest", "logs latest", "stop latest", "gc --keep 9"]
# Each damage with a third of the commands, and three of them with every one.
CASES = [(damage, ALL[number % 3 :: 3]) for number, damage in enumerate(DAMAGES)]
THOROUGH = [pytest.param(damage, ALL, marks=pytest.mark.thorough) for damage in ("truncated", "folder NULL", "FIFO")]


@pytest.mark.parametrize(("damage", "commands"), [*CASES, *THOROUGH])
def test_one_damaged_store_is_named_and_hides_no_other_project(two, cli, tmp_path, damage, commands):
    (bad, good), env = two, of_two(two)
    db, (spoil, words) = bad / ".aiflow" / "state.db", DAMAGES[damage]
    spoil(db)
    try:
        for command in commands:
            done = cli(*command.split(), cwd=tmp_path, env=env)
            assert done.returncode == 0, done
            assert f"left out: {db}: " in done.stderr
            assert words in done.stderr
            assert command not in ("runs", "runs --json") or str(good) in done.stdout
            done = cli(*command.split(), "--project", bad, env=env)
            assert done.returncode == 6, done
            assert words in done.stderr + done.stdout
    finally:
        if db.is_dir() and not db.is_symlink():
            db.rmdir()
        for each in (bad / ".aiflow").glob("state.db*"):
            each.unlink()
        shutil.copy(bad.parent / "whole.db", db)


AS_NOBODY_SPECIAL = """
import os, sys
if os.geteuid() == 0:
    import ctypes
    drop = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        assert drop.prctl(24, capability, 0, 0, 0) == 0  # PR_CAPBSET_DROP
os.execv(sys.executable, [sys.executable, "-m", "aiflow_ext", *sys.argv[1:]])
"""


@pytest.mark.parametrize("unreadable", [".", ".aiflow", ".aiflow/state.db"])
def test_one_store_that_may_not_be_read_is_named_and_hides_no_other_project(two, unreadable):
    bad, good = two
    path = bad / unreadable
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        for command in ("runs", "status latest", "gc --keep 9"):
            argv = [sys.executable, "-c", AS_NOBODY_SPECIAL, *command.split()]
            done = subprocess.run(argv, env=of_two(two), cwd="/", capture_output=True, text=True, timeout=PATIENCE)
            assert done.returncode == 0, done
            assert f"left out: {bad}/.aiflow" in done.stderr
            assert "cannot be opened" in done.stderr
            assert command != "runs" or str(good) in done.stdout
        done = subprocess.run(argv, env=of_two(two), cwd=bad, capture_output=True, text=True, timeout=PATIENCE)
        assert "Traceback" not in done.stderr
    finally:
        path.chmod(mode)
