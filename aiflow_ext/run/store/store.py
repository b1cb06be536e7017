"""A project's runs on disk, with their jobs and attempts; other data of runs is in parts of the store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiflow_ext.model.collector import paused
from aiflow_ext.model.states import JobState
from aiflow_ext.run.store.attempts import attempts_of, put_attempts
from aiflow_ext.run.store.database import Database, from_column, to_column
from aiflow_ext.run.store.deliveries import Deliveries
from aiflow_ext.run.store.records import AttemptRecord, Input, JobRecord, Parameter, RunRecord, Transition
from aiflow_ext.run.store.relocation import check_attempt_folder, check_paths, relocation
from aiflow_ext.run.store.row_types import MOMENT, TEXT, WHOLE, RowTypes
from aiflow_ext.run.store.transitions import Transitions, put_transitions

if TYPE_CHECKING:
    from aiflow_ext.run.store.firings import Firings
    from aiflow_ext.run.store.requests import Requests

_RUN = RowTypes("runs", run=(str,), workflow=(str,), project=TEXT, folder=TEXT, state=(str,), started_at=MOMENT,
                ended_at=(*MOMENT, None))  # fmt: skip
_JOB = RowTypes("jobs", name=(str,), platform=(str,), engine=(str,), state=(str,), reason=(*TEXT, None))
_PLANNED = RowTypes("planned", job=(str,), plan=(str,))
_START_INTENT = RowTypes("start_intents", job=(str,), number=WHOLE, native_id=TEXT)
_OF_RUNS = ("runs", "jobs", "planned", "attempts", "transitions", "start_intents", "deliveries", "run_ends",
            "requests")  # fmt: skip


class Store:
    """The store of one project's state folder. Not for use by several threads at once.

    Args:
        folder: the state folder.
        create: make it where it is missing.

    Attributes:
        path: the database's file.
        database: what its tables are in.
        transitions: of the runs' jobs and attempts.
        deliveries: how many of them were delivered to each extension.

    Raises StateError where it cannot be opened: a newer version wrote it, it is damaged, the folder cannot be written,
    lies on a network file system, or the disk is full. Reading and writing raise StateError where that fails.
    """

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        self.database = Database(folder, create=create)
        self.path = self.database.path
        self.transitions = Transitions(self.database)
        self.deliveries = Deliveries(self.database)

    @cached_property
    def requests(self) -> Requests:
        """Requests to the drivers of runs."""
        from aiflow_ext.run.store.requests import Requests

        return Requests(self.database)

    @cached_property
    def firings(self) -> Firings:
        """Firings of periodic jobs."""
        from aiflow_ext.run.store.firings import Firings

        return Firings(self.database)

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def add_run(
        self, record: RunRecord, plan: Mapping[str, Any], options: dict[str, Any], firing: str | None = None
    ) -> None:
        """Add a run with its jobs; ``plan`` as :func:`~aiflow_ext.run.planning.plan_codec.plan_to_data` makes it.

        Raises sqlite3.IntegrityError where the firing has had its run.
        """
        with self.database.writing() as db:
            db.execute(
                "insert into runs values (?,?,?,?,?,?,?,?,?,?)",
                (record.run_id, record.workflow, to_column(record.project), to_column(record.folder), str(record.state),
                 record.started_at, None, "", json.dumps(options), to_column(firing)),
            )  # fmt: skip
            self._put_plan(db, record, plan)

    def run(self, run_id: str, only: str | None = None) -> RunRecord:
        """The record of a run, with its jobs and attempts. ``only``: the one job that is read; where the run lacks it,
        the record has none. Raises KeyError where there is no such run."""
        with self.database.reading() as db:
            row = db.execute(
                "select run, workflow, project, folder, state, started_at, ended_at, "
                "case when json_valid(plan) then json_extract(plan, '$.defaults') end, "
                "case when json_valid(plan) then json_extract(plan, '$.inputs') end, "
                "case when json_valid(plan) then json_extract(plan, '$.provenance') end from runs where run = ?",
                (run_id,),
            ).fetchone()
        if row is None:
            raise KeyError(run_id)
        with self.database.reading() as db, paused():
            ((_, workflow, project, folder, state, started_at, ended_at),) = _RUN.checked([row[:7]])
            project, folder = from_column(project), from_column(folder)
            check_paths(run_id, project, folder)
            now = self._relocation(project, folder)
            record = RunRecord(run_id, workflow, now(project), now(folder), started_at)
            record.ended_at, record.state = ended_at, JobState(state)
            defaults = json.loads(row[7] or "{}")
            record.inputs = [Input.from_data(each) for each in json.loads(row[8] or "[]")]
            record.provenance = dict(json.loads(row[9] or "{}"))
            rows = db.execute(
                "select name, platform, engine, state, reason from jobs where run = ? "
                + ("order by place" if only is None else "and name = ?"),
                (run_id,) if only is None else (run_id, only),
            ).fetchall()
            for name, platform, engine, state, reason in _JOB.checked(rows):
                job = record.jobs[name] = JobRecord(name, platform, engine, defaults.get(name, ()))
                job.state, job.reason = JobState(state), from_column(reason)
            if not record.jobs and only is None:
                raise ValueError(f"run {run_id} has no jobs")
            for attempt in attempts_of(db, run_id, only):
                check_attempt_folder(attempt.folder, folder)
                attempt.folder = now(attempt.folder)
                attempt.native_id = None if attempt.native_id is None else now(attempt.native_id)
                job = record.jobs[attempt.job]
                job.attempts.append(attempt)
                if attempt.number != len(job.attempts):
                    raise ValueError(f"attempt {attempt.number} of {job.name} follows none")
            record.deliveries = self.deliveries.of_run(run_id)
            return record

    def plan(self, run_id: str) -> tuple[Any, dict[str, Any]]:
        """A run's plan, all but its jobs, and options as they were stored."""
        with self.database.reading() as db:
            plan, options, project, folder = db.execute(
                "select plan, options, project, folder from runs where run = ?", (run_id,)
            ).fetchone()
            data, now = json.loads(plan), self._relocation(from_column(project), from_column(folder))
            desc = data["project"]
            desc.update({key: now(desc[key]) for key in ("root", "artifacts")})
            desc["resources"] = {name: now(path) for name, path in desc["resources"].items()}
            data.update(given={key: now(url) for key, url in data.get("given", {}).items()})
            return data, json.loads(options)

    def planned(self, run_id: str, jobs: Iterable[str] | None = None) -> dict[str, Any]:
        """The stored plan of a run's jobs, all in the workflow's order, or of these alone."""
        with self.database.reading() as db, paused():
            if jobs is None:
                rows = db.execute("select job, plan from planned where run = ? order by place", (run_id,)).fetchall()
            else:
                one = "select job, plan from planned where run = ? and job = ?"
                rows = [row for job in jobs for row in db.execute(one, (run_id, job))]
            plans = json.loads(f"[{','.join(plan for _, plan in _PLANNED.checked(rows))}]")
            return dict(zip((job for job, _ in rows), plans, strict=True))

    def runs(self) -> list[dict[str, Any]]:
        """Every run, newest first, with how many jobs are in each state."""
        with self.database.reading() as db:
            counts: dict[str, dict[str, int]] = {}
            for run_id, state, count in db.execute("select run, state, count(*) from jobs group by run, state"):
                counts.setdefault(run_id, {})[state] = count
            rows = db.execute(
                "select run, workflow, project, folder, state, started_at, ended_at from runs order by started_at desc"
            ).fetchall()
            keys = ("run", "workflow", "project", "folder", "state", "started_at", "ended_at")
            found = [
                {**dict(zip(keys, row, strict=True)), "jobs": counts.get(row[0], {})} for row in _RUN.checked(rows)
            ]
            for run in found:
                JobState(run["state"])
                project, folder = from_column(run["project"]), from_column(run["folder"])
                check_paths(run["run"], project, folder)
                now = self._relocation(project, folder)
                run.update(project=now(project), folder=now(folder))
            return found

    def parameters(self) -> dict[str, list[Parameter]]:
        """The parameters of every run, by its id; none of a run of an older version."""
        with self.database.reading() as db:
            rows = db.execute(
                "select run, case when json_valid(plan) then json_extract(plan, '$.provenance.parameters') end "
                "from runs"
            ).fetchall()
            return {run: [Parameter.from_data(each) for each in json.loads(found or "[]")] for run, found in rows}

    def relocate(self, run_id: str) -> str | None:
        """Update the paths in a moved run's records; returns the earlier project's folder, or None if it was not moved.

        For the driver of the run: readers get the present paths in any case.
        """
        with self.database.reading() as db:
            row = db.execute("select project, folder from runs where run = ?", (run_id,)).fetchone()
            project, folder = map(from_column, row)
        record, plan, intents = self.run(run_id), self.plan(run_id)[0], self.start_intents(run_id)
        if record.folder == folder:
            return None
        with self.database.writing() as db:
            db.execute("update runs set project = ?, folder = ?, plan = ? where run = ?",
                       (to_column(record.project), to_column(record.folder), json.dumps(plan), run_id))  # fmt: skip
            put_attempts(db, run_id, [attempt for job in record.jobs.values() for attempt in job.attempts])
            db.executemany("update start_intents set native_id = ? where run = ? and job = ?",
                           [(to_column(native_id), run_id, job) for job, _, native_id in intents])  # fmt: skip
        return str(project)

    def end_run(self, record: RunRecord, reopened: Iterable[JobRecord] = ()) -> None:
        """Record a run's final state, or that it goes on again with these jobs waiting for another attempt."""
        with self.database.writing() as db:
            db.executemany(
                "update jobs set state = ?, reason = ? where run = ? and name = ?",
                [(str(job.state), to_column(job.reason), record.run_id, job.name) for job in reopened],
            )
            values = (str(record.state), record.ended_at, record.run_id)
            db.execute("update runs set state = ?, ended_at = ? where run = ?", values)
            if record.ended_at is not None:
                db.execute("delete from start_intents where run = ?", (record.run_id,))

    def replace_plan(
        self,
        record: RunRecord,
        plan: Mapping[str, Any],
        options: dict[str, Any],
        transitions: Sequence[Transition],
    ) -> None:
        """Record another plan for a run, with its jobs and states as they are in ``record``, in one transaction.

        Args:
            record: the run's record; it has a job for each job of the plan, in the plan's order.
            plan: as :func:`~aiflow_ext.run.planning.plan_codec.plan_to_data` makes it.
            options: the run's options.
            transitions: those that led to the states in ``record``.
        """
        with self.database.writing() as db:
            put_transitions(db, transitions)
            self._put_plan(db, record, plan)
            db.execute("update runs set options = ?, state = ?, ended_at = ? where run = ?",
                       (json.dumps(options), str(record.state), record.ended_at, record.run_id))  # fmt: skip

    def _put_plan(self, db: sqlite3.Connection, record: RunRecord, plan: Mapping[str, Any]) -> None:
        own = {key: value for key, value in plan.items() if key != "jobs"}
        own["inputs"] = [each.to_data() for each in record.inputs]
        db.execute("update runs set plan = ? where run = ?", (json.dumps(own), record.run_id))
        for table in ("planned", "jobs"):
            db.execute(f"delete from {table} where run = ?", (record.run_id,))
        db.executemany(
            "insert into planned values (?,?,?,?)",
            [(record.run_id, name, place, json.dumps(job)) for place, (name, job) in enumerate(plan["jobs"].items())],
        )
        db.executemany(
            "insert into jobs values (?,?,?,?,?,?,?)",
            [(record.run_id, job.name, place, job.platform, job.engine, str(job.state), to_column(job.reason))
             for place, job in enumerate(record.jobs.values())],
        )  # fmt: skip

    def forget(self, run_id: str) -> None:
        """Remove a run and all its data."""
        with self.database.writing() as db:
            db.execute("delete from untold where firing = (select firing from runs where run = ?)", (run_id,))
            for table in _OF_RUNS:
                db.execute(f"delete from {table} where run = ?", (run_id,))

    def write(
        self,
        run_id: str,
        attempts: Sequence[AttemptRecord],
        jobs: Sequence[JobRecord],
        transitions: Sequence[Transition],
        start_intents: Mapping[str, tuple[int, str]],
    ) -> None:
        """Write attempts and jobs as they are now, and the transitions that led to that, in one transaction.

        ``start_intents``: by job, number and native id of the attempt that may be started next.
        """
        with self.database.writing() as db:
            put_attempts(db, run_id, attempts)
            db.executemany("update jobs set state = ?, reason = ? where run = ? and name = ?",
                           [(str(job.state), to_column(job.reason), run_id, job.name) for job in jobs])  # fmt: skip
            put_transitions(db, transitions)
            if start_intents:
                db.executemany("insert or replace into start_intents values (?, ?, ?, ?)",
                               [(run_id, job, number, to_column(native_id))
                                for job, (number, native_id) in start_intents.items()])  # fmt: skip

    def start_intents(self, run_id: str) -> list[tuple[str, int, str]]:
        """Job, number and native id of attempts with a start intent: they may have been started without a record."""
        with self.database.reading() as db:
            rows = db.execute("select job, number, native_id from start_intents where run = ?", (run_id,)).fetchall()
            if not rows:
                return []
            row = db.execute("select project, folder from runs where run = ?", (run_id,)).fetchone()
            now = self._relocation(*map(from_column, row))
            return [(job, number, now(from_column(id))) for job, number, id in _START_INTENT.checked(rows)]

    def drop_start_intents(self, run_id: str) -> None:
        """Remove the start intents of a run: everything that was started is recorded now."""
        with self.database.writing() as db:
            db.execute("delete from start_intents where run = ?", (run_id,))

    def _relocation(self, project: str, folder: str) -> Callable[[str], str]:
        """Where a path of a run is now, by its project and folder as they were recorded."""
        return relocation(str(self.path.parent), project, folder)
