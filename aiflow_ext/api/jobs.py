"""The jobs of a run that was opened, and their results."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from aiflow_ext.api.artifacts import Artifact, kept
from aiflow_ext.model.errors import DataError
from aiflow_ext.model.states import JobState
from aiflow_ext.run.operations.outputs import Place
from aiflow_ext.run.store.find import no_such_job
from aiflow_ext.run.store.records import JobRecord


class JobResults:
    """A job of a run, and what it has kept.

    Attributes:
        name: its key in the workflow.
        state: a JobState.
        reason: why it is in this state, where that is known.
        attempts: how many it has had.
    """

    def __init__(self, record: JobRecord, places: list[Place]) -> None:
        self.name, self.state, self.reason = record.name, record.state, record.reason
        self.attempts, self._places = len(record.attempts), places

    @cached_property
    def artifacts(self) -> dict[str, Artifact]:
        """What it has kept, by name. Reads the records, not the values. Raises DataError for a damaged record, or where
        the file system of the artifacts does not answer."""
        return {each.name: each for each in kept(self._places)}

    @property
    def result(self) -> Any:
        """The value of its only artifact; see :meth:`Artifact.load`. Raises DataError where it has kept none, or
        several: then ``artifacts`` has them by name."""
        found = list(self.artifacts.values())
        if self.state is not JobState.FINISHED:
            raise DataError(f"job {self.name!r} is {self.state}, so that it has no result"
                            + (f": {self.reason}" if self.reason else ""))  # fmt: skip
        if not found:
            raise DataError(
                f"job {self.name!r} has kept no result, or it was removed since",
                hint="kept are values that are not None, but none where its config says keep: false, and none in a "
                "container that reaches neither this machine nor a URL: see its stderr",
            )
        if len(found) > 1:
            raise DataError(f"job {self.name!r} has kept {len(found)} results", hint=_named(self.artifacts))
        return found[0].load()

    def __repr__(self) -> str:
        return f"<job {self.name}: {self.state}>"


class JobsByName(dict[str, JobResults]):
    """Says which names there are where one is missing."""

    def __init__(self, run_id: str, jobs: dict[str, JobResults]) -> None:
        super().__init__(jobs)
        self._run_id = run_id

    def __missing__(self, name: str) -> JobResults:
        raise no_such_job(self._run_id, name, self)


def _named(found: dict[str, Artifact]) -> str:
    return "take one of them: " + ", ".join(f"artifacts[{name!r}]" for name in found)
