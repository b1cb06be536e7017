"""Requests to the driver of a run, from other processes: it takes each up once, and a later driver what is left."""

from __future__ import annotations

import time
from typing import NamedTuple

from aiflow_ext.run.store.database import Database


class DriverRequest(NamedTuple):
    """A request to whoever drives a run.

    Attributes:
        number: by which :meth:`Requests.complete` knows it.
        what: ``stop``.
        job: the job's key; None: the whole run.
        grace: seconds between asking a job to end and ending it; None: the default.
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
        """Ask whoever drives the run for something, as :class:`DriverRequest` says. Wakes nobody."""
        with self._database.writing() as db:
            db.execute("insert into requests (run, job, what, grace, time, done) values (?,?,?,?,?,0)",
                       (run_id, job, what, grace, time.time()))  # fmt: skip

    def pending(self, run_id: str) -> list[DriverRequest]:
        """The requests that no driver has taken up, the oldest first."""
        with self._database.reading() as db:
            rows = db.execute("select id, what, job, grace from requests where run = ? and done = 0 order by id",
                              (run_id,))  # fmt: skip
            return [DriverRequest(*row) for row in rows]

    def complete(self, number: int) -> None:
        """A request has been taken up."""
        with self._database.writing() as db:
            db.execute("update requests set done = 1 where id = ?", (number,))

    def drop(self, run_id: str) -> None:
        """Nothing more is to be done of what is pending for a run."""
        with self._database.writing() as db:
            db.execute("update requests set done = 1 where run = ?", (run_id,))
