"""Detects whether a run's folder was moved or deleted while a driver works in it."""

from __future__ import annotations

import os

from aiflow_ext.model.errors import StateError
from aiflow_ext.run.store.records import RunRecord


class RunFolder:
    """The folder of a run, identified by device and inode."""

    def __init__(self, record: RunRecord) -> None:
        self._record, self._identity = record, _identity(record.folder)

    @property
    def is_there(self) -> bool:
        """Whether the run's path still leads to it."""
        return _identity(self._record.folder) == self._identity

    def gone(self) -> StateError:
        """The error that it does not exist any more."""
        record = self._record
        ended = f", which has ended as {record.state}," if record.state.ended else ""
        return StateError(
            f"the folder of run {record.run_id}{ended} is not there any more: the project was moved or deleted",
            where=record.folder,
            hint="move it back, or go to the project's new folder",
        )


def _identity(folder: str) -> tuple[int, int] | None:
    """Device and inode that a path leads to; None: it leads nowhere."""
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return found.st_dev, found.st_ino
