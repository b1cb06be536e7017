"""The transitions of runs, in the order of their numbers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from aiflow_ext.model.states import JobState
from aiflow_ext.run.store.database import Database, from_column, to_column
from aiflow_ext.run.store.records import Transition
from aiflow_ext.run.store.row_types import MOMENT, TEXT, WHOLE, RowTypes

_ROW = RowTypes("transitions", seq=WHOLE, run=(str,), job=(str,), attempt=(*WHOLE, None), state=(str,), previous=(str,),
                time=MOMENT, native_id=(*TEXT, None), exit_code=(*WHOLE, None), signal=(*WHOLE, None),
                reason=(*TEXT, None))  # fmt: skip
_LAST = RowTypes("transitions", seq=WHOLE)
# The others are of the job and the attempt, whose records have them.
_FIELDS = tuple(name for name in Transition._fields if name not in ("platform", "engine", "node", "started_at"))
_COLUMNS = ", ".join("run" if field == "run_id" else field for field in _FIELDS)
_STATE, _PREVIOUS = _FIELDS.index("state"), _FIELDS.index("previous")
_NATIVE_ID, _REASON = _FIELDS.index("native_id"), _FIELDS.index("reason")
_PUT = f"insert into transitions ({_COLUMNS}) values ({','.join('?' * len(_FIELDS))})"
_AFTER = f"select {_COLUMNS} from transitions where run = ? and seq > ? order by seq limit ?"


class Transitions:
    """The transitions in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last_seq(self, run_id: str) -> int:
        """The number of a run's latest transition; 0 where there is none."""
        with self._database.reading() as db:
            row = db.execute("select ifnull(max(seq), 0) from transitions where run = ?", (run_id,)).fetchone()
            return int(_LAST.checked([row])[0][0])

    def of_run(self, run_id: str, after: int = 0, most: int = -1) -> list[Transition]:
        """A run's transitions after number ``after``, in order: all, or ``most`` at most."""
        with self._database.reading() as db:
            return [_transition(row) for row in _ROW.checked(db.execute(_AFTER, (run_id, after, most)).fetchall())]


def put_transitions(db: sqlite3.Connection, transitions: Iterable[Transition]) -> None:
    """Write new transitions; for use within a transaction."""
    rows = []
    for transition in transitions:
        values: list[object] = list(transition[: len(_FIELDS)])
        values[_STATE], values[_PREVIOUS] = str(transition.state), str(transition.previous)
        for place, text in ((_NATIVE_ID, transition.native_id), (_REASON, transition.reason)):
            if text is not None and not text.isascii():  # most are, as in put_attempts
                values[place] = to_column(text)
        rows.append(values)
    db.executemany(_PUT, rows)


def _transition(row: Iterable[object]) -> Transition:
    found = Transition(*row)  # type: ignore[arg-type]
    return found._replace(state=JobState(found.state), previous=JobState(found.previous),
                          native_id=from_column(found.native_id), reason=from_column(found.reason))  # fmt: skip
