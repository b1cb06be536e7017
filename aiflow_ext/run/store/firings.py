"""Firings of periodic jobs: when each was last fired, which run a firing has had, and whose end has not been told.

A periodic job's key is ``WORKFLOW/JOB``, a firing's id ``KEY@MOMENT``.
"""

from __future__ import annotations

from aiflow_ext.run.store.database import Database, from_column, to_column
from aiflow_ext.run.store.row_types import MOMENT, RowTypes

_LAST = RowTypes("firings", last=MOMENT)


class Firings:
    """The firings in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run_of(self, firing: str) -> str | None:
        """The run that a firing has had; None where it has had none."""
        with self._database.reading() as db:
            row = db.execute("select run from runs where firing = ?", (to_column(firing),)).fetchone()
        return row[0] if row else None

    def last(self, key: str) -> float | None:
        """The moment of a periodic job's last firing, in seconds since the epoch; None where it has had none."""
        with self._database.reading() as db:
            rows = db.execute("select last from firings where key = ?", (key,)).fetchall()
            return _LAST.checked(rows)[0][0] if rows else None

    def set_last(self, key: str, moment: float) -> None:
        """Note a periodic job's last firing, in seconds since the epoch."""
        with self._database.writing() as db:
            db.execute("insert or replace into firings values (?, ?)", (key, moment))

    def expect(self, firing: str) -> None:
        """Note that how this firing's run ends is to be told, before it has a run."""
        with self._database.writing() as db:
            db.execute("insert or ignore into untold values (?)", (to_column(firing),))

    def told(self, firing: str) -> None:
        """Note that how this firing's run has ended is told, or that it has none."""
        with self._database.writing() as db:
            db.execute("delete from untold where firing = ?", (to_column(firing),))

    def untold(self) -> list[tuple[str, str, bool]]:
        """The firings that have a run whose end has not been told: the firing, its run, and whether that has ended."""
        with self._database.reading() as db:
            rows = db.execute("select firing, run, ended_at from untold join runs using (firing) order by started_at")
            return [(from_column(firing), run, ended_at is not None) for firing, run, ended_at in rows]

    def unended_runs(self, key: str) -> list[str]:
        """The runs of a periodic job's firings that have not ended."""
        with self._database.reading() as db:
            rows = db.execute(
                "select run from runs where ended_at is null and substr(firing, 1, length(?)) = ?",
                (f"{key}@", f"{key}@"),
            )
            return [row[0] for row in rows]
