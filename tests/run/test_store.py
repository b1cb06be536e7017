"""The store of runs: several open it at once, it keeps whole records, and takes over a store of an earlier version."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from aiflow_ext.model.states import JobState
from aiflow_ext.run.store.database import FILE
from aiflow_ext.run.store.records import AttemptRecord, Delivery, JobRecord, RunRecord, Transition
from aiflow_ext.run.store.requests import DriverRequest
from aiflow_ext.run.store.schema import MIGRATIONS, VERSION
from aiflow_ext.run.store.store import Store

VERSION_1 = """
create table runs (
    run text primary key, workflow text, project text, folder text, state text, started_at real, ended_at real,
    plan text, options text, firing text unique
) without rowid;
create table jobs (
    run text, name text, place integer, platform text, engine text, state text, reason text,
    primary key (run, name)
) without rowid;
create table attempts (
    run text, job text, number integer, native_id text, folder text, state text, step text, submitted_at real,
    started_at real, ended_at real, exit_code integer, signal integer, reason text, stop_requested integer,
    timed_out integer, disruption integer, unreachable integer, restarts integer, cleaned integer,
    primary key (run, job, number)
) without rowid;
create table transitions (
    run text, seq integer, job text, attempt integer, state text, previous text, time real, native_id text,
    exit_code integer, signal integer, reason text,
    primary key (run, seq)
) without rowid;
create table told (run text primary key, seq integer) without rowid;
create table fired (key text primary key, last real) without rowid;
create table asked (id integer primary key, run text, job text, what text, grace real, time real, done integer);
insert into runs values ('r', 'w', '/p', '/p/.aiflow/runs/r', 'RUNNING', 1.0, null,
    '{"project": {"root": "/p", "artifacts": "/a", "resources": {}}, "jobs": {"a": {"edges": []}}}', '{}', 'w/a@1');
insert into jobs values ('r', 'a', 0, 'local', 'cmd_line', 'RUNNING', null);
insert into attempts values ('r', 'a', 1, 'id', '/p/.aiflow/runs/r/jobs/a/1', 'RUNNING', 'acknowledged', 1.0, 2.0, null,
    null, null, null, 0, 0, 0, 0, 3, 0);
insert into transitions values ('r', 1, 'a', 1, 'RUNNING', 'QUEUED', 2.0, 'id', null, null, null);
insert into told values ('r', 1);
insert into fired values ('w/a', 5.0);
insert into asked values (1, 'r', 'a', 'stop', 2.0, 1.0, 0);
"""


def test_a_store_that_several_make_at_once_is_made_and_opened_by_each(tmp_path):
    together = threading.Barrier(4)

    def opened(folder):
        together.wait()
        store = Store(folder)
        try:
            return store.runs()
        finally:
            store.close()

    with ThreadPoolExecutor(4) as pool:
        for number in range(50):
            assert list(pool.map(opened, [tmp_path / str(number)] * 4)) == [[]] * 4


def tables(path):
    """The columns of each table: name, type, and place in the primary key."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        names = [name for (name,) in db.execute("select name from sqlite_master where type = 'table'")]
        return {name: {(row[1], row[2], row[5]) for row in db.execute(f"pragma table_info({name})")} for name in names}


@pytest.mark.parametrize("version", range(1, VERSION))
def test_a_store_of_an_earlier_version_has_the_tables_of_a_new_one_and_all_that_was_in_it(tmp_path, version):
    old = tmp_path / "old"
    old.mkdir()
    with contextlib.closing(sqlite3.connect(old / FILE)) as db:
        db.executescript(VERSION_1 + ";".join(MIGRATIONS[: version - 1]))
        if version > 1:
            db.execute(f"insert into {'promised' if version < 5 else 'start_intents'} values ('r', 'a', 2, 'next')")
        db.execute(f"pragma user_version = {version}")
        db.commit()
    with contextlib.closing(Store(old)) as store, contextlib.closing(Store(tmp_path / "new")) as new:
        assert tables(store.path) == tables(new.path)
        record = store.run("r")
        attempt = record.jobs["a"].last
        assert (attempt.native_id, attempt.state, attempt.restarts, attempt.refused) == ("id", "RUNNING", 3, False)
        assert store.planned("r") == {"a": {"edges": []}}
        assert store.start_intents("r") == ([] if version == 1 else [("a", 2, "next")])
        assert [each.state for each in store.transitions.of_run("r")] == [JobState.RUNNING]
        assert (store.deliveries.offset("r", "any"), store.deliveries.offset("other", "any")) == (1, 0)
        store.deliveries.set_offset("r", "any", 1, "late")
        assert store.deliveries.of_run("r") == [Delivery("any", 1, 1, "late")]
        assert (store.firings.last("w/a"), store.firings.run_of("w/a@1")) == (5.0, "r")
        assert store.requests.pending("r") == [DriverRequest(1, "stop", "a", 2.0)]


def test_every_field_of_an_attempt_is_kept_and_read_back(tmp_path):
    project = str(tmp_path)
    record = RunRecord("r", "w", project, f"{project}/.aiflow/runs/r", 1.0)
    record.jobs["a"] = JobRecord("a", "local", "cmd_line")
    attempt = AttemptRecord("a", 1, f"{record.folder}/jobs/a/1")
    examples = {"str": "of \udce9 bytes", "int": 7, "float": 1.5, "bool": True, "JobState": JobState.LOST}
    for name, kind in AttemptRecord.__annotations__.items():
        if name not in ("job", "number", "folder"):
            setattr(attempt, name, examples[kind.split()[0]])
    moved = Transition(1, "r", "a", 1, JobState.LOST, JobState.QUEUED, 1.5, "of \udce9", 7, 9, "why \udce9")
    with contextlib.closing(Store(tmp_path / ".aiflow")) as store:
        store.add_run(record, {"jobs": {"a": {}}}, {})
        store.write("r", [attempt], [], [moved], {})
    with contextlib.closing(Store(tmp_path / ".aiflow")) as store:
        (found,) = store.run("r").jobs["a"].attempts
        assert found == attempt
        assert store.transitions.of_run("r") == [moved]
    shown = {name for name in vars(attempt) if name not in ("job", "step", "cleaned", "not_ready", "unneeded")}
    shown.add("wall_seconds")  # of its times
    record.jobs["a"].attempts.append(attempt)
    assert record.summary()["jobs"][0]["attempts"][0].keys() == shown
