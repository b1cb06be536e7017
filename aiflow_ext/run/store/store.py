"""A project's runs on disk: runs, jobs, attempts and transitions, in SQLite.

WAL mode: what was committed survives the death of any process. ``durable()`` makes the next commit survive a power
loss too (https://www.sqlite.org/pragma.html#pragma_synchronous). Several processes read and write at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from aiflow_ext.model.collector import paused
from aiflow_ext.model.errors import StateError
from aiflow_ext.model.states import JobState
from aiflow_ext.run.store.filesystem import refuse_network_folder
from aiflow_ext.run.store.records import AttemptRecord, Input, JobRecord, RunRecord, Told, Transition

FILE = "state.db"
VERSION = 4
_PATIENCE = 30.0  # seconds to wait for another process that writes
_SCHEMA = """
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
    primary key (run, job, number)
) without rowid;
create table transitions (
    run text, seq integer, job text, attempt integer, state text, previous text, time real, native_id text,
    exit_code integer, signal integer, reason text,
    primary key (run, seq)
) without rowid;
create table planned (run text, job text, place integer, plan text, primary key (run, job)) without rowid;
create table promised (run text, job text, number integer, native_id text, primary key (run, job)) without rowid;
create table told (
    run text, extension text, seq integer, problem text, primary key (run, extension)
) without rowid;
create table fired (key text primary key, last real) without rowid;
create table asked (id integer primary key, run text, job text, what text, grace real, time real, done integer);
"""
_MIGRATIONS = {  # from version N: the statements that lead to N + 1
    1: """
create table promised (run text, job text, number integer, native_id text, primary key (run, job)) without rowid""",
    2: """
create table planned (run text, job text, place integer, plan text, primary key (run, job)) without rowid;
insert into planned select jobs.run, jobs.name, jobs.place, each.value from runs
    cross join json_each(runs.plan, '$.jobs') as each
    cross join jobs on jobs.run = runs.run and jobs.name = each.key where json_valid(runs.plan);
update runs set plan = json_remove(plan, '$.jobs') where json_valid(plan)""",
    # Until then all extensions of a run were told together: theirs is the row without a name.
    3: """
alter table attempts add column refused integer default 0;
alter table told rename to told_together;
create table told (
    run text, extension text, seq integer, problem text, primary key (run, extension)
) without rowid;
insert into told select run, '', seq, null from told_together;
drop table told_together""",
}
_ATTEMPT = ("native_id", "folder", "state", "step", "submitted_at", "started_at", "ended_at", "exit_code", "signal",
            "reason", "stop_requested", "timed_out", "disruption", "unreachable", "restarts", "cleaned",
            "refused")  # fmt: skip
_PUT_ATTEMPT = (
    f"insert or replace into attempts (run, job, number, {', '.join(_ATTEMPT)}) "
    f"values ({','.join('?' * (len(_ATTEMPT) + 3))})"
)
_values_of = attrgetter(*_ATTEMPT)
_STATE = _ATTEMPT.index("state")
_TEXTS = [_ATTEMPT.index(name) for name in ("native_id", "folder", "reason")]
_PUT_TRANSITION = "insert into transitions values (?,?,?,?,?,?,?,?,?,?,?)"
_DAMAGED = "move it and the folder runs away to start anew, or restore a copy; the logs are in that folder"
_FLAGS = ("stop_requested", "timed_out", "disruption", "unreachable", "cleaned", "refused")


class Store:
    """The store of one project's state folder. Not for use by several threads at once.

    Raises StateError where it cannot be opened: a newer version wrote it, it is damaged, the folder cannot be written,
    lies on a network file system, or the disk is full.
    """

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        self.path = folder / FILE
        if not create and not self.path.exists():
            raise StateError("there are no runs here", where=str(folder), hint="aiflow-ext run PROJECT makes one")
        with self._told("opened"):
            if create:
                folder.mkdir(parents=True, exist_ok=True)
                ignored = folder / ".gitignore"
                if not ignored.exists():
                    ignored.write_text("*\n")
            refuse_network_folder(folder)
            runs = folder / "runs"
            if self.path.exists() and not self.path.stat().st_size and runs.is_dir() and any(runs.iterdir()):
                # A run's folder is made after the store.
                raise StateError("the store of runs is damaged: it is empty, and there are folders of runs beside it",
                                 where=str(self.path), hint=_DAMAGED)  # fmt: skip
            self._db = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
            self._use_wal()
            self._db.execute("pragma synchronous=normal")
            self._migrate()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def version(self) -> int:
        """Another number than before where another process has changed anything since."""
        with self._told("read"):
            return int(self._db.execute("pragma data_version").fetchone()[0])

    # -- runs -------------------------------------------------------------------------------------------------------

    def add_run(
        self, record: RunRecord, plan: Mapping[str, Any], options: dict[str, Any], firing: str | None = None
    ) -> None:
        """A new run with its jobs; ``plan`` as :func:`~aiflow_ext.run.planning.plan_codec.plan_to_data` makes it.

        Raises sqlite3.IntegrityError where the firing has had its run.
        """
        own = {key: value for key, value in plan.items() if key != "jobs"}
        own["inputs"] = [each.to_data() for each in record.inputs]
        with self.writing() as db:
            db.execute(
                "insert into runs values (?,?,?,?,?,?,?,?,?,?)",
                (record.run_id, record.workflow, to_column(record.project), to_column(record.folder), str(record.state),
                 record.started_at, None, json.dumps(own), json.dumps(options), to_column(firing)),
            )  # fmt: skip
            db.executemany(
                "insert into planned values (?,?,?,?)",
                [
                    (record.run_id, name, place, json.dumps(job))
                    for place, (name, job) in enumerate(plan["jobs"].items())
                ],
            )
            db.executemany(
                "insert into jobs values (?,?,?,?,?,?,?)",
                [(record.run_id, job.name, place, job.platform, job.engine, str(job.state), to_column(job.reason))
                 for place, job in enumerate(record.jobs.values())],
            )  # fmt: skip

    def run(self, run_id: str) -> RunRecord:
        """The record of a run, with its jobs and attempts. Raises KeyError where there is none."""
        with self._told("read"), paused():
            row = self._db.execute(
                "select workflow, project, folder, started_at, ended_at, state, "
                "case when json_valid(plan) then json_extract(plan, '$.defaults') end, "
                "case when json_valid(plan) then json_extract(plan, '$.inputs') end from runs where run = ?",
                (run_id,),
            ).fetchone()
            if row is None:
                raise KeyError(run_id)
            project, folder = map(from_column, row[1:3])
            now = self._moved(project, folder)
            record = RunRecord(run_id, row[0], now(project), now(folder), row[3])
            record.ended_at, record.state = row[4], JobState(row[5])
            defaults = json.loads(row[6] or "{}")
            record.inputs = [Input.from_data(each) for each in json.loads(row[7] or "[]")]
            for name, platform, engine, state, reason in self._db.execute(
                "select name, platform, engine, state, reason from jobs where run = ? order by place", (run_id,)
            ):
                job = record.jobs[name] = JobRecord(name, platform, engine, defaults.get(name, ()))
                job.state, job.reason = JobState(state), from_column(reason)
            for name, number, *values in self._db.execute(
                f"select job, number, {', '.join(_ATTEMPT)} from attempts where run = ? order by job, number", (run_id,)
            ):
                attempt = AttemptRecord(name, number, "")
                vars(attempt).update(zip(_ATTEMPT, values, strict=True))
                for flag in _FLAGS:
                    setattr(attempt, flag, bool(getattr(attempt, flag)))
                attempt.state = JobState(attempt.state)
                attempt.folder, attempt.reason = now(from_column(attempt.folder)), from_column(attempt.reason)
                attempt.native_id = None if attempt.native_id is None else now(from_column(attempt.native_id))
                record.jobs[name].attempts.append(attempt)
            record.told = self.all_told(run_id)
            return record

    def plan(self, run_id: str) -> tuple[Any, dict[str, Any]]:
        """A run's plan, all but its jobs, and options as they were stored."""
        with self._told("read"):
            plan, options, project, folder = self._db.execute(
                "select plan, options, project, folder from runs where run = ?", (run_id,)
            ).fetchone()
            data, now = json.loads(plan), self._moved(from_column(project), from_column(folder))
            desc = data["project"]
            desc.update({key: now(desc[key]) for key in ("root", "artifacts")})
            desc["resources"] = {name: now(path) for name, path in desc["resources"].items()}
            data.update(given={key: now(url) for key, url in data.get("given", {}).items()})
            return data, json.loads(options)

    def planned(self, run_id: str, jobs: Iterable[str] | None = None) -> dict[str, Any]:
        """The stored plan of a run's jobs, all in the workflow's order, or of these alone."""
        with self._told("read"), paused():
            if jobs is None:
                rows = self._db.execute(
                    "select job, plan from planned where run = ? order by place", (run_id,)
                ).fetchall()
            else:
                one = "select job, plan from planned where run = ? and job = ?"
                rows = [row for job in jobs for row in self._db.execute(one, (run_id, job))]
            plans = json.loads(f"[{','.join(plan for _, plan in rows)}]")
            return dict(zip((job for job, _ in rows), plans, strict=True))

    def runs(self) -> list[dict[str, Any]]:
        """Every run, newest first, with how many jobs are in each state."""
        with self._told("read"):
            counts: dict[str, dict[str, int]] = {}
            for run_id, state, count in self._db.execute("select run, state, count(*) from jobs group by run, state"):
                counts.setdefault(run_id, {})[state] = count
            rows = self._db.execute(
                "select run, workflow, project, folder, state, started_at, ended_at from runs order by started_at desc"
            )
            keys = ("run", "workflow", "project", "folder", "state", "started_at", "ended_at")
            found = [{**dict(zip(keys, row, strict=True)), "jobs": counts.get(row[0], {})} for row in rows]
            for run in found:
                project, folder = from_column(run["project"]), from_column(run["folder"])
                now = self._moved(project, folder)
                run.update(project=now(project), folder=now(folder))
            return found

    def settle(self, run_id: str) -> str | None:
        """Have a run's records name its folders where they are now; the project's folder before, where it was moved.

        For who drives the run: everybody else is shown them so.
        """
        with self._told("read"):
            row = self._db.execute("select project, folder from runs where run = ?", (run_id,)).fetchone()
            project, folder = map(from_column, row)
        record, plan, promised = self.run(run_id), self.plan(run_id)[0], self.start_intents(run_id)
        if record.folder == folder:
            return None
        with self.writing() as db:
            db.execute("update runs set project = ?, folder = ?, plan = ? where run = ?",
                       (to_column(record.project), to_column(record.folder), json.dumps(plan), run_id))  # fmt: skip
            db.executemany(
                "update attempts set folder = ?, native_id = ? where run = ? and job = ? and number = ?",
                [(to_column(attempt.folder), to_column(attempt.native_id), run_id, job.name, attempt.number)
                 for job in record.jobs.values() for attempt in job.attempts],
            )  # fmt: skip
            db.executemany("update promised set native_id = ? where run = ? and job = ?",
                           [(to_column(native_id), run_id, job) for job, _, native_id in promised])  # fmt: skip
        return str(project)

    def _moved(self, project: str, folder: str) -> Callable[[str], str]:
        """Where a path of a run is now: its project, and this file in it, may have been moved since it was recorded."""
        state, now = os.path.dirname(os.path.dirname(folder)), str(self.path.parent)
        here = os.path.join(now, "runs", os.path.basename(folder))
        if state == now or not os.path.isdir(here) or (os.path.isdir(folder) and os.path.samefile(folder, here)):
            return lambda path: path
        inside = os.path.relpath(state, project)
        root = now[: -len(inside) - 1] if now.endswith(os.sep + inside) else None  # else the state is kept elsewhere

        def found(path: str) -> str:
            for before, after in ((state, now), (project, root)):
                if after is not None and (path == before or path.startswith(before + os.sep)):
                    return after + path[len(before) :]
            return path

        return found

    def end_run(self, record: RunRecord, reopened: Iterable[JobRecord] = ()) -> None:
        """Note a run's verdict, or that it goes on again with these jobs waiting for another attempt."""
        with self.writing() as db:
            db.executemany(
                "update jobs set state = ?, reason = ? where run = ? and name = ?",
                [(str(job.state), to_column(job.reason), record.run_id, job.name) for job in reopened],
            )
            values = (str(record.state), record.ended_at, record.run_id)
            db.execute("update runs set state = ?, ended_at = ? where run = ?", values)
            if record.ended_at is not None:
                db.execute("delete from promised where run = ?", (record.run_id,))

    def forget(self, run_id: str) -> None:
        """Remove a run and all that belongs to it."""
        with self.writing() as db:
            for table in ("runs", "jobs", "planned", "attempts", "transitions", "promised", "told", "asked"):
                db.execute(f"delete from {table} where run = ?", (run_id,))

    def fired(self, firing: str) -> str | None:
        """The run that a firing has had; None where it has had none."""
        with self._told("read"):
            row = self._db.execute("select run from runs where firing = ?", (to_column(firing),)).fetchone()
        return row[0] if row else None

    def last_firing(self, key: str) -> float | None:
        """The moment of a periodic job's last firing; None where it has had none."""
        with self._told("read"):
            row = self._db.execute("select last from fired where key = ?", (key,)).fetchone()
        return row[0] if row else None

    def set_last_firing(self, key: str, moment: float) -> None:
        """Note a periodic job's last firing."""
        with self.writing() as db:
            db.execute("insert or replace into fired values (?, ?)", (key, moment))

    def unended_firings(self, key: str) -> list[str]:
        """The runs of a periodic job's firings that have not ended."""
        with self._told("read"):
            rows = self._db.execute(
                "select run from runs where ended_at is null and substr(firing, 1, length(?)) = ?",
                (f"{key}@", f"{key}@"),
            )
            return [row[0] for row in rows]

    # -- what a driver writes ---------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, committed at the end. Raises StateError where it cannot be."""
        with self._told("written"):
            self._db.execute("begin immediate")
            try:
                yield self._db
                self._db.execute("commit")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("rollback")
                raise

    @contextlib.contextmanager
    def durable(self) -> Iterator[None]:
        """Within it, a commit returns only once a power loss cannot undo it."""
        self._db.execute("pragma synchronous=full")
        try:
            yield
        finally:
            self._db.execute("pragma synchronous=normal")

    def write(
        self,
        run_id: str,
        attempts: Sequence[AttemptRecord],
        jobs: Sequence[JobRecord],
        transitions: Sequence[Transition],
        start_intents: Mapping[str, tuple[int, str]],
    ) -> None:
        """Attempts and jobs as they are now, and the transitions that led there, in one transaction.

        ``start_intents``: by job, number and native id of the attempt that may be started next.
        """
        with self.writing() as db:
            db.executemany(_PUT_ATTEMPT, [(run_id, each.job, each.number, *_values(each)) for each in attempts])
            db.executemany("update jobs set state = ?, reason = ? where run = ? and name = ?",
                           [(job.state.value, to_column(job.reason), run_id, job.name) for job in jobs])  # fmt: skip
            db.executemany(
                _PUT_TRANSITION,
                [(run_id, t.seq, t.job, t.attempt, t.state.value, t.previous.value, t.time, to_column(t.native_id),
                  t.exit_code, t.signal, to_column(t.reason)) for t in transitions],
            )  # fmt: skip
            if start_intents:
                db.executemany("insert or replace into promised values (?, ?, ?, ?)",
                               [(run_id, job, number, to_column(native_id))
                                for job, (number, native_id) in start_intents.items()])  # fmt: skip

    def start_intents(self, run_id: str) -> list[tuple[str, int, str]]:
        """Job, number and native id of attempts that may have been started whatever is recorded of them."""
        with self._told("read"):
            rows = self._db.execute("select job, number, native_id from promised where run = ?", (run_id,)).fetchall()
            if not rows:
                return []
            row = self._db.execute("select project, folder from runs where run = ?", (run_id,)).fetchone()
            now = self._moved(*map(from_column, row))
            return [(job, number, now(from_column(native_id))) for job, number, native_id in rows]

    def drop_start_intents(self, run_id: str) -> None:
        """Nothing of a run may have been started but what is on record."""
        with self.writing() as db:
            db.execute("delete from promised where run = ?", (run_id,))

    def last_seq(self, run_id: str) -> int:
        """The number of a run's latest transition."""
        with self._told("read"):
            return int(self._db.execute("select ifnull(max(seq), 0) from transitions where run = ?",
                                        (run_id,)).fetchone()[0])  # fmt: skip

    def transitions(self, run_id: str, after: int = 0, most: int = -1) -> list[Transition]:
        """A run's transitions after number ``after``, in order: all, or ``most`` at most."""
        with self._told("read"):
            rows = self._db.execute("select * from transitions where run = ? and seq > ? order by seq limit ?",
                                    (run_id, after, most))  # fmt: skip
            return [
                Transition(seq, run, job, attempt, JobState(state), JobState(previous), moment,
                           native_id=from_column(native_id), exit_code=exit_code, signal=signal,
                           reason=from_column(reason))
                for run, seq, job, attempt, state, previous, moment, native_id, exit_code, signal, reason in rows
            ]  # fmt: skip

    def told(self, run_id: str, extension: str) -> int:
        """The number of the last transition that an extension has been told of."""
        with self._told("read"):
            rows = dict(self._db.execute("select extension, seq from told where run = ? and extension in (?, '')",
                                         (run_id, extension)))  # fmt: skip
        return int(rows.get(extension, rows.get("", 0)))

    def set_told(self, run_id: str, extension: str, seq: int, problem: str | None = None) -> None:
        """Note that an extension has been told of a transition, and what is wrong with it."""
        with self.writing() as db:
            db.execute("insert or replace into told values (?, ?, ?, ?)", (run_id, extension, seq, problem))

    def all_told(self, run_id: str) -> list[Told]:
        """How far each extension that is told of a run's transitions has been told."""
        with self._told("read"):
            rows = self._db.execute(
                "select extension, seq, (select ifnull(max(seq), 0) from transitions where run = told.run), problem "
                "from told where run = ? and extension != '' order by extension",
                (run_id,),
            )
            return [Told(*row) for row in rows]

    # -- what others ask of a driver --------------------------------------------------------------------------------

    def ask(self, run_id: str, what: str, job: str | None = None, grace: float | None = None) -> int:
        """Ask whoever drives the run for something; returns the request's number."""
        with self.writing() as db:
            cursor = db.execute("insert into asked (run, job, what, grace, time, done) values (?,?,?,?,?,0)",
                                (run_id, job, what, grace, time.time()))  # fmt: skip
            return int(cursor.lastrowid or 0)

    def asked(self, run_id: str) -> list[tuple[int, str, str | None, float | None]]:
        """What has been asked and not been done: number, what, job, grace."""
        with self._told("read"):
            rows = self._db.execute(
                "select id, what, job, grace from asked where run = ? and done = 0 order by id", (run_id,)
            )
            return list(rows)

    def done(self, number: int) -> None:
        """A request has been taken up."""
        with self.writing() as db:
            db.execute("update asked set done = 1 where id = ?", (number,))

    def drop_requests(self, run_id: str) -> None:
        """Nothing more is to be done of what has been asked."""
        with self.writing() as db:
            db.execute("update asked set done = 1 where run = ?", (run_id,))

    # -- the file ---------------------------------------------------------------------------------------------------

    def _use_wal(self) -> None:
        """Switch to write-ahead logging. While another process makes the store, SQLite refuses that at once instead of
        waiting for it."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._db.execute("pragma journal_mode=wal")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(0.01)

    def _migrate(self) -> None:
        (version,) = self._db.execute("pragma user_version").fetchone()
        if version > VERSION:
            raise StateError(
                f"the store was written by a newer aiflow-ext (its version is {version}, this one reads {VERSION})",
                where=str(self.path),
                hint="pip install --upgrade aiflow-ext, or name another folder for state: AIFLOW_STATE=/path",
            )
        if version == VERSION:
            return
        self._db.execute("begin exclusive")
        (version,) = self._db.execute("pragma user_version").fetchone()  # another process may have been quicker
        if version == 0:
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            version = VERSION
        while version < VERSION:
            for statement in _MIGRATIONS[version].split(";"):
                self._db.execute(statement)
            version += 1
        self._db.execute(f"pragma user_version = {VERSION}")
        self._db.execute("commit")

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """SQLite's errors in words that say what to do."""
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except ValueError as error:  # a state or a plan that nobody has written so
            raise StateError(
                f"the store of runs is damaged: {error}",
                where=str(self.path),
                hint=_DAMAGED,
            ) from error
        except sqlite3.DatabaseError as error:
            words = str(error)
            damaged = "malformed" in words or "not a database" in words
            hint = (
                _DAMAGED
                if damaged
                else "make room or give permission there; AIFLOW_STATE=/path names another folder for state"
            )
            state = "is damaged" if damaged else f"cannot be {what}"
            raise StateError(f"the store of runs {state}: {words}", where=str(self.path), hint=hint) from error
        except OSError as error:
            raise StateError(
                f"the state folder cannot be {what}: {error.strerror}",
                where=str(self.path.parent),
                hint="give permission or make room there, or name another folder for state: AIFLOW_STATE=/path",
            ) from error


def _values(attempt: AttemptRecord) -> list[Any]:
    values = list(_values_of(attempt))
    values[_STATE] = attempt.state.value
    for place in _TEXTS:
        values[place] = to_column(values[place])
    return values


def to_column(text: str | None) -> str | bytes | None:
    """A path, or words that may quote one, as SQLite takes it: text; of what is not UTF-8 on disk, its bytes."""
    if text is None or text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        with contextlib.suppress(UnicodeEncodeError):
            return os.fsencode(text)
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def from_column(value: Any) -> Any:
    """What :func:`to_column` was given."""
    if isinstance(value, bytes):
        return os.fsdecode(value)
    return value
