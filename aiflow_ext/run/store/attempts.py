"""Attempts as rows of their table: its columns are the run and the fields of AttemptRecord."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from operator import attrgetter

from aiflow_ext.model.states import JobState
from aiflow_ext.run.store.database import from_column, to_column
from aiflow_ext.run.store.records import AttemptRecord
from aiflow_ext.run.store.row_types import MOMENT, TEXT, WHOLE, RowTypes

_TYPES = AttemptRecord.__annotations__  # by name, as they are written there
_COLUMNS = ", ".join(_TYPES)
_STATE = [*_TYPES].index("state")
_FLAGS = [place for place, kind in enumerate(_TYPES.values()) if kind == "bool"]
_TEXTS = [place for place, kind in enumerate(_TYPES.values()) if kind.startswith("str")]
_KINDS = {"str": TEXT, "int": WHOLE, "bool": WHOLE, "float": MOMENT, "JobState": TEXT}
_NULL = {name: (None,) if kind.endswith("None") else () for name, kind in _TYPES.items()}
_ROW = RowTypes("attempts", **{n: (*_KINDS[kind.partition(" ")[0]], *_NULL[n]) for n, kind in _TYPES.items()})
_values_of = attrgetter(*_TYPES)
_PUT = f"insert or replace into attempts (run, {_COLUMNS}) values ({','.join('?' * (len(_TYPES) + 1))})"
_OF_RUN = f"select {_COLUMNS} from attempts where run = ? order by job, number"
_OF_JOB = f"select {_COLUMNS} from attempts where run = ? and job = ? order by number"


def put_attempts(db: sqlite3.Connection, run_id: str, attempts: Iterable[AttemptRecord]) -> None:
    """Write attempts of a run as they are now; for use within a transaction."""
    rows = []
    for attempt in attempts:
        values = list(_values_of(attempt))
        values[_STATE] = str(attempt.state)
        for place in _TEXTS:
            if (text := values[place]) is not None and not text.isascii():  # most are, and this is done at every flush
                values[place] = to_column(text)
        rows.append((run_id, *values))
    db.executemany(_PUT, rows)


def attempts_of(db: sqlite3.Connection, run_id: str, job: str | None = None) -> Iterator[AttemptRecord]:
    """A run's attempts, by job and number; of one job alone where it is named."""
    rows = db.execute(_OF_RUN, (run_id,)) if job is None else db.execute(_OF_JOB, (run_id, job))
    for row in _ROW.checked(rows.fetchall()):
        values = list(row)
        values[_STATE] = JobState(values[_STATE])
        for place in _TEXTS:
            values[place] = from_column(values[place])
        for place in _FLAGS:
            values[place] = bool(values[place])
        attempt = AttemptRecord.__new__(AttemptRecord)
        vars(attempt).update(zip(_TYPES, values, strict=True))
        yield attempt
