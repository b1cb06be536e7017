"""Requests from other processes to the driver of a run: it handles each once, and a later driver those that are
left."""

from __future__ import annotations

import time
from typing import NamedTuple

from aiflow_ext.run.store.database import Database
from aiflow_ext.run.store.row_types import MOMENT, WHOLE, RowTypes

_ROW = RowTypes("requests", id=WHOLE, what=(str,), job=(str, None), grace=(*MOMENT, None))


class DriverRequest(NamedTuple):
    """A request to the driver of a run.

    Attributes:
        number: its id, for :meth:`Requests.complete`.
        what: ``stop``.
        job: the job's key; None: the whole run.
        grace: seconds between SIGTERM, or the platform's equivalent, and the kill; None: the default.
    """

    number: int
    what: str
    job: str | None
    grace: float | None


class Requests:
    """The requests in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, run_id: str, what: str, job: str | None = None, grace: float | None = None) -> None:
        """Store a request, with the attributes of :class:`DriverRequest`. Does not wake the driver."""
        with self._database.writing() as db:
            db.execute("insert into requests (run, job, what, grace, time, done) values (?,?,?,?,?,0)",
                       (run_id, job, what, grace, time.time()))  # fmt: skip

    def pending(self, run_id: str) -> list[DriverRequest]:
        """The requests that no driver has handled, the oldest first."""
        with self._database.reading() as db:
            rows = db.execute("select id, what, job, grace from requests where run = ? and done = 0 order by id",
                              (run_id,)).fetchall()  # fmt: skip
            return [DriverRequest(*row) for row in _ROW.checked(rows)]

    def complete(self, number: int) -> None:
        """Mark a request as handled."""
        with self._database.writing() as db:
            db.execute("update requests set done = 1 where id = ?", (number,))

    def drop(self, run_id: str) -> None:
        """Mark all requests to a run as handled."""
        with self._database.writing() as db:
            db.execute("update requests set done = 1 where run = ?", (run_id,))
