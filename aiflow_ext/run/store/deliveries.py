"""What was delivered to each extension of a run: transitions up to its delivery offset, and the run's end.

The delivery offset is the number of the last transition that was delivered.
"""

from __future__ import annotations

from aiflow_ext.run.store.database import Database, from_column
from aiflow_ext.run.store.records import Delivery
from aiflow_ext.run.store.row_types import MOMENT, TEXT, WHOLE, RowTypes

_OFFSET = RowTypes("deliveries", extension=(str,), seq=WHOLE)
_RUN_END = RowTypes("run_ends", ended_at=MOMENT)
_DELIVERY = RowTypes("deliveries", extension=(str,), seq=WHOLE, last=WHOLE, problem=(*TEXT, None))


class Deliveries:
    """The delivery offsets in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def offset(self, run_id: str, extension: str) -> int:
        """The number of the last transition that was delivered to an extension; 0 where none was.

        The row without a name is of a version that had one offset for all extensions.
        """
        with self._database.reading() as db:
            rows = db.execute("select extension, seq from deliveries where run = ? and extension in (?, '')",
                              (run_id, extension)).fetchall()  # fmt: skip
            found: dict[str, int] = dict(_OFFSET.checked(rows))  # type: ignore[arg-type]
        return found.get(extension, found.get("", 0))

    def set_offset(self, run_id: str, extension: str, seq: int, problem: str | None = None) -> None:
        """Record that transition ``seq`` was delivered to an extension, and what is wrong with it, in words."""
        with self._database.writing() as db:
            db.execute("insert or replace into deliveries values (?, ?, ?, ?)", (run_id, extension, seq, problem))

    def run_end(self, run_id: str, extension: str) -> float | None:
        """The end of the run that was delivered to an extension last, in seconds since the epoch; None: none was."""
        with self._database.reading() as db:
            rows = db.execute("select ended_at from run_ends where run = ? and extension = ?",
                              (run_id, extension)).fetchall()  # fmt: skip
            return next((float(ended_at) for (ended_at,) in _RUN_END.checked(rows)), None)

    def set_run_end(self, run_id: str, extension: str, ended_at: float) -> None:
        """Record that this end of the run was delivered to an extension."""
        with self._database.writing() as db:
            db.execute("insert or replace into run_ends values (?, ?, ?)", (run_id, extension, ended_at))

    def note(self, run_id: str, extension: str, problem: str | None) -> None:
        """Record what is wrong with an extension, in words; one without ``on_transition`` has received all of those."""
        with self._database.writing() as db:
            db.execute(
                "insert into deliveries values (?1, ?2, "
                "(select ifnull(max(seq), 0) from transitions where run = ?1), ?3) "
                "on conflict do update set problem = ?3",
                (run_id, extension, problem),
            )

    def of_run(self, run_id: str) -> list[Delivery]:
        """The deliveries to each extension that gets a run's transitions, by name."""
        with self._database.reading() as db:
            rows = db.execute(
                "select extension, seq, (select ifnull(max(seq), 0) from transitions where run = deliveries.run), "
                "problem from deliveries where run = ? and extension != '' order by extension",
                (run_id,),
            ).fetchall()
            return [Delivery(extension, offset, last, from_column(problem))
                    for extension, offset, last, problem in _DELIVERY.checked(rows)]  # fmt: skip
