"""The tables of the database, and the migrations of earlier versions.

A new column of an attempt is needed in three places: as a field of
    :class:`~aiflow_ext.run.store.records.AttemptRecord`,
in ``SCHEMA``, and at the end of ``MIGRATIONS``. Nothing else lists columns of attempts.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from aiflow_ext.model.errors import StateError

SCHEMA = """
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
    timed_out integer, disruption integer, unreachable integer, restarts integer, cleaned integer, refused integer,
    instance text, node text, out_of_memory integer, gpus text, ready_at real, not_ready text, unneeded integer,
    cpu_asked real, memory_asked integer, peak_memory integer, cpu_seconds real, usage_source text,
    reserved_memory_seconds integer, reserved_core_seconds real,
    primary key (run, job, number)
) without rowid;
create table transitions (
    run text, seq integer, job text, attempt integer, state text, previous text, time real, native_id text,
    exit_code integer, signal integer, reason text,
    primary key (run, seq)
) without rowid;
create table planned (run text, job text, place integer, plan text, primary key (run, job)) without rowid;
create table start_intents (run text, job text, number integer, native_id text, primary key (run, job)) without rowid;
create table deliveries (
    run text, extension text, seq integer, problem text, primary key (run, extension)
) without rowid;
create table run_ends (run text, extension text, ended_at real, primary key (run, extension)) without rowid;
create table firings (key text primary key, last real) without rowid;
create table untold (firing text primary key) without rowid;
create table requests (id integer primary key, run text, job text, what text, grace real, time real, done integer);
"""
# The statements that lead from version 1 to 2, from 2 to 3, and so on. Those of a release are never changed.
MIGRATIONS = (
    """
create table promised (run text, job text, number integer, native_id text, primary key (run, job)) without rowid""",
    """
create table planned (run text, job text, place integer, plan text, primary key (run, job)) without rowid;
insert into planned select jobs.run, jobs.name, jobs.place, each.value from runs
    cross join json_each(runs.plan, '$.jobs') as each
    cross join jobs on jobs.run = runs.run and jobs.name = each.key where json_valid(runs.plan);
update runs set plan = json_remove(plan, '$.jobs') where json_valid(plan)""",
    # Until then all extensions of a run had one offset: it is in the row without a name.
    """
alter table attempts add column refused integer default 0;
alter table told rename to told_together;
create table told (
    run text, extension text, seq integer, problem text, primary key (run, extension)
) without rowid;
insert into told select run, '', seq, null from told_together;
drop table told_together""",
    """
alter table promised rename to start_intents;
alter table told rename to deliveries;
alter table fired rename to firings;
alter table asked rename to requests""",
    """
alter table attempts add column instance text;
alter table attempts add column node text""",
    """
alter table attempts add column out_of_memory integer default 0""",
    """
alter table attempts add column gpus text""",
    """
create table untold (firing text primary key) without rowid""",
    """
alter table attempts add column ready_at real;
alter table attempts add column not_ready text;
alter table attempts add column unneeded integer default 0""",
    """
create table run_ends (run text, extension text, ended_at real, primary key (run, extension)) without rowid""",
    """
alter table attempts add column cpu_asked real;
alter table attempts add column memory_asked integer;
alter table attempts add column peak_memory integer;
alter table attempts add column cpu_seconds real;
alter table attempts add column usage_source text;
alter table attempts add column reserved_memory_seconds integer;
alter table attempts add column reserved_core_seconds real""",
)
VERSION = len(MIGRATIONS) + 1


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Create the tables of a new database, or migrate one of an earlier version, in one transaction.

    Args:
        connection: to the database.
        path: its file, for the error.

    Raises StateError where a newer aiflow-ext wrote it.
    """
    (version,) = connection.execute("pragma user_version").fetchone()
    if version > VERSION:
        raise StateError(
            f"the store was written by a newer aiflow-ext (its version is {version}, this one reads {VERSION})",
            where=str(path),
            hint="pip install --upgrade aiflow-ext, or name another folder for state: AIFLOW_STATE=/path",
        )
    if version == VERSION:
        return
    connection.execute("begin exclusive")
    (version,) = connection.execute("pragma user_version").fetchone()  # another process may have been quicker
    for script in (SCHEMA,) if version == 0 else MIGRATIONS[version - 1 :]:
        for statement in script.split(";"):
            connection.execute(statement)
    connection.execute(f"pragma user_version = {VERSION}")
    connection.execute("commit")
