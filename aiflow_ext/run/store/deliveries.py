"""How many of a run's transitions were delivered to each extension: its delivery offset, the number of the last one."""

from __future__ import annotations

from aiflow_ext.run.store.database import Database, from_column
from aiflow_ext.run.store.records import Delivery
from aiflow_ext.run.store.row_types import TEXT, WHOLE, RowTypes

_OFFSET = RowTypes("deliveries", extension=(str,), seq=WHOLE)
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
