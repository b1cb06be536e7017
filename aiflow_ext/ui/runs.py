"""The runs that the page shows, found by their ids; and the present states of those that nothing drives."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiflow_ext.model.errors import AiflowError, ConfigError
from aiflow_ext.run.operations.observe import Observed, list_runs
from aiflow_ext.run.store.find import job_of, state_folders
from aiflow_ext.run.store.lock import holder
from aiflow_ext.run.store.store import Store

REFRESH = 10.0  # seconds between two questions to the platforms of a run that nothing drives


class Runs:
    """All runs of this user, or of one project. Any thread may use it.

    Args:
        project: the project's folder; None for all projects.
    """

    def __init__(self, project: str | None = None) -> None:
        self._project = project
        self._states: dict[str, Path] = {}  # by run, the state folder that has it
        self._refreshed: dict[str, float] = {}  # by run, when its platforms were asked last
        self._lock = threading.Lock()

    def listed(self) -> list[dict[str, Any]]:
        """As ``aiflow-ext runs --json`` lists them."""
        found = list_runs(self._project)
        self._states = {run["run"]: Path(run["folder"]).parents[1] for run in found}
        return found

    def traces(self) -> tuple[object, ...]:
        """What differs where any run may have changed since."""
        found: list[object] = []
        for folder in state_folders(self._project):
            for name in ("state.db", "state.db-wal"):
                with contextlib.suppress(OSError):
                    status = os.stat(folder / name)
                    found.append((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
        return tuple(found)

    @contextlib.contextmanager
    def store(self, run_id: str) -> Iterator[Store]:
        """The store that has a run, for the caller alone. Raises ConfigError where there is no such run."""
        store = self.open_store(run_id)
        try:
            yield store
        finally:
            store.close()

    def open_store(self, run_id: str) -> Store:
        """As :meth:`store`; the caller closes it."""
        if run_id not in self._states:
            self.listed()
        if run_id not in self._states:
            raise ConfigError(
                f"there is no run {run_id!r}", hint="it may have been removed since; see the list of runs"
            )
        return Store(self._states[run_id], create=False)

    @contextlib.contextmanager
    def observed(self, run_id: str, only: str | None = None) -> Iterator[Observed]:
        """A run with its records as they are now, or with that of one job alone: of thousands, reading them takes long.
        Raises as :meth:`store`, and ConfigError for a job that the run lacks."""
        with self.store(run_id) as store:
            try:
                observed = Observed(store, run_id, only)
                if only is not None and not observed.record.jobs:
                    job_of(store.run(run_id), only)  # which says what jobs there are
            except KeyError:
                self._states.pop(run_id, None)
                raise ConfigError(f"run {run_id} was removed", hint="see the list of runs") from None
            yield observed

    def ask_platforms(self, run_id: str) -> None:
        """Have the platforms of a run that nothing drives be asked for its states, in a thread, and recorded; not more
        often than each REFRESH seconds."""
        with self._lock:
            if time.monotonic() - self._refreshed.get(run_id, float("-inf")) < REFRESH:
                return
            self._refreshed[run_id] = float("inf")
        threading.Thread(target=self._refresh, args=(run_id,), daemon=True, name="aiflow-ui-refresh").start()

    def _refresh(self, run_id: str) -> None:
        try:
            with self.observed(run_id) as observed:
                observed.refresh()
        except AiflowError:  # a plugin that is gone, or a store that cannot be written: what is recorded is shown
            pass
        finally:
            with self._lock:
                self._refreshed[run_id] = time.monotonic()


def drivers_of(runs: list[dict[str, Any]]) -> tuple[int | None, ...]:
    """The pids of the drivers of runs that have not ended."""
    return tuple(holder(Path(run["folder"])) for run in runs if run["ended_at"] is None)
