"""What has changed of a run since it was last read: for readers that follow runs of thousands of jobs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from aiflow_ext.model.states import JobState
from aiflow_ext.run.store.attempts import attempts_of
from aiflow_ext.run.store.database import Database, from_column
from aiflow_ext.run.store.records import JobRecord
from aiflow_ext.run.store.row_types import MOMENT, TEXT, WHOLE, RowTypes

_RUN = RowTypes("runs", state=(str,), ended_at=(*MOMENT, None))
_JOB = RowTypes("jobs", name=(str,), platform=(str,), engine=(str,), state=(str,), reason=(*TEXT, None))
_CHANGED = RowTypes("transitions", seq=WHOLE, job=(str,))
_LIVE = RowTypes("attempts", job=(str,))
_ENDED = ",".join(f"'{state}'" for state in JobState if state.ended)


class RunState(NamedTuple):
    """A run's own state, as it is recorded."""

    state: JobState
    ended_at: float | None


def state_of(database: Database, run_id: str) -> RunState | None:
    """A run's own state; None where the run was removed."""
    with database.reading() as db:
        row = db.execute("select state, ended_at from runs where run = ?", (run_id,)).fetchone()
        if row is None:
            return None
        ((state, ended_at),) = _RUN.checked([row])
        return RunState(JobState(state), ended_at)


def changed_since(database: Database, run_id: str, seq: int) -> tuple[int, set[str]]:
    """The number of a run's last transition, and the jobs that have had one after number ``seq``."""
    with database.reading() as db:
        rows = _CHANGED.checked(
            db.execute("select seq, job from transitions where run = ? and seq > ?", (run_id, seq)).fetchall()
        )
        return max((each for each, _ in rows), default=seq), {job for _, job in rows}


def live_jobs(database: Database, run_id: str) -> set[str]:
    """The jobs with an attempt that has not ended. Facts about these are recorded without a transition."""
    with database.reading() as db:
        query = f"select distinct job from attempts where run = ? and state not in ({_ENDED})"
        return {job for (job,) in _LIVE.checked(db.execute(query, (run_id,)).fetchall())}


def jobs_now(database: Database, run_id: str, names: Iterable[str]) -> list[JobRecord]:
    """The records of these jobs of a run, with their attempts, as they are now. Paths in them are as they were
    recorded, which matters where the project was moved since."""
    found = []
    with database.reading() as db:
        for name in names:
            row = db.execute("select name, platform, engine, state, reason from jobs where run = ? and name = ?",
                             (run_id, name)).fetchone()  # fmt: skip
            if row is None:
                continue
            ((_, platform, engine, state, reason),) = _JOB.checked([row])
            job = JobRecord(name, platform, engine)
            job.state, job.reason = JobState(state), from_column(reason)
            job.attempts = list(attempts_of(db, run_id, name))
            found.append(job)
    return found
