"""Checks the types of rows of the database, as SQLite stores values of any type in a column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

TEXT = (str, bytes)  # see database.to_column
WHOLE = (int,)
MOMENT = (int, float)  # seconds since the epoch
LATEST = 1e11  # a moment beyond which no clock is: the year 5138


class RowTypes:
    """The types of a query's columns.

    Args:
        table: its name, for messages.
        columns: by name, in order: the types of its values; with None among them if it may be NULL.
    """

    def __init__(self, table: str, **columns: tuple[type | None, ...]) -> None:
        self._table = table
        self._columns = [(name, {type(None) if each is None else each for each in columns[name]}) for name in columns]

    def checked(self, rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
        """The rows as they are. Raises ValueError that names the table and the column of a value of another type."""
        if not rows:
            return rows
        # Column by column, as there may be thousands of rows.
        for (name, types), values in zip(self._columns, zip(*rows, strict=True), strict=True):
            if not types.issuperset(map(type, values)):
                other = next(value for value in values if type(value) not in types)
                kind = "NULL" if other is None else f"a {type(other).__name__}"
                raise ValueError(f"{self._table}.{name} is {kind}")
            if float in types:
                for moment in (min(filter(None, values), default=0), max(filter(None, values), default=0)):
                    if not 0 <= moment <= LATEST:
                        raise ValueError(f"{self._table}.{name} is {moment}, which is no time")
        return rows
