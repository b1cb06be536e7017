"""How far each extension has been told of a run's transitions: its delivery offset, the number of the last one."""

from __future__ import annotations

from aiflow_ext.run.store.database import Database
from aiflow_ext.run.store.records import Delivery


class Deliveries:
    """The delivery offsets in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def offset(self, run_id: str, extension: str) -> int:
        """The number of the last transition that an extension has been told of; 0 where it was told of none.

        The row without a name is that of a version which told all extensions together.
        """
        with self._database.reading() as db:
            rows = dict(db.execute("select extension, seq from deliveries where run = ? and extension in (?, '')",
                                   (run_id, extension)))  # fmt: skip
        return int(rows.get(extension, rows.get("", 0)))

    def set_offset(self, run_id: str, extension: str, seq: int, problem: str | None = None) -> None:
        """Note that an extension has been told of transition ``seq``, and in words what is wrong with it."""
        with self._database.writing() as db:
            db.execute("insert or replace into deliveries values (?, ?, ?, ?)", (run_id, extension, seq, problem))

    def of_run(self, run_id: str) -> list[Delivery]:
        """How far each extension that is told of a run's transitions has come, by name."""
        with self._database.reading() as db:
            rows = db.execute(
                "select extension, seq, (select ifnull(max(seq), 0) from transitions where run = deliveries.run), "
                "problem from deliveries where run = ? and extension != '' order by extension",
                (run_id,),
            )
            return [Delivery(*row) for row in rows]
