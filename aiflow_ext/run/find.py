"""A run found by its id, or the beginning of it, from any folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from aiflow_ext.model.errors import ConfigError, Problem, StateError
from aiflow_ext.run.lock import holder
from aiflow_ext.run.store import FILE, Store
from aiflow_ext.translate.state import state_folder

_log = logging.getLogger("aiflow_ext")
LATEST = "latest"


def known_states() -> list[Path]:
    """The state folders of this user's projects, the last used first; those that are gone are left out."""
    return [Path(line) for line in _listed() if os.path.isdir(line)]


def _gone_states() -> list[str]:
    return [line for line in _listed() if not os.path.isdir(line)]


def _listed() -> list[str]:
    try:
        lines = _list_file().read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
    return list(reversed(list(dict.fromkeys(lines))))


def remember_state(folder: Path) -> None:
    """Note a project's state folder in the user's list. A list that cannot be written costs only the finding."""
    path, line = _list_file(), str(folder)
    try:
        if path.exists() and line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8", errors="surrogateescape") as file:
            file.write(f"{line}\n")
    except OSError:
        return


def open_run(run: str, project: str | None = None) -> tuple[Store, str]:
    """The store that holds a run, and the run's whole id.

    Args:
        run: the run's id, the beginning of it, or ``latest``.
        project: the project's folder, where its id alone leaves doubt.

    Raises ConfigError where there is no such run or several.
    """
    if not run:
        raise ConfigError("the run's id is empty", hint="aiflow-ext runs lists them; the last one is: latest")
    found: list[tuple[Store, str, float]] = []
    unread: list[Problem] = []
    for folder in _folders(project):
        try:
            store = Store(folder, create=False)
            runs = store.runs()
        except StateError as error:
            if project is not None:
                raise
            unread += error.problems if (folder / FILE).exists() else ()
            continue  # one damaged store hides no other project's run
        for each in runs:
            if run == LATEST or each["run"].startswith(run):
                found.append((store, each["run"], each["started_at"]))
    exact = [each for each in found if each[1] == run]
    if run == LATEST and found:
        exact = [max(found, key=lambda each: each[2])]
    chosen = exact or found
    if len(chosen) == 1:
        return chosen[0][0], chosen[0][1]
    if not chosen and unread:
        raise StateError(problems=[Problem(f"there is no run {run!r} in what can be read"), *unread])
    if not chosen and (lost := _unrecorded(run, project)):
        raise StateError(
            f"there is no run {run!r} on record, but a folder of one", where=str(lost),
            hint="its driver was killed before anything started (aiflow-ext gc removes it in time), or the store has "
            "lost its latest records: was state.db-wal removed? Its logs are in that folder",
        )  # fmt: skip
    if not chosen and project is None and (gone := _gone_states()):
        raise ConfigError(
            f"there is no run {run!r}; folders that are not there any more may have had it: {', '.join(gone[:5])}",
            hint="where a project was moved, go to its new folder or name it: --project FOLDER",
        )
    if not chosen:
        raise ConfigError(f"there is no run {run!r}", hint="aiflow-ext runs lists them; --project FOLDER says where")
    raise ambiguous(run, [each[1] for each in chosen], "give more of the id, or --project FOLDER")


def ambiguous(run: str, ids: Sequence[str], hint: str) -> ConfigError:
    """What is said of the beginning of an id that several runs have."""
    names = ", ".join(sorted(ids)[:5])
    return ConfigError(f"{run!r} fits {len(ids)} runs: {names}", hint=hint)


def _unrecorded(run: str, project: str | None) -> Path | None:
    """The latest folder of such a run where the store has no record of any."""
    begins = "" if run == LATEST else run
    found = [path for state in _folders(project) for path in state.glob("runs/*") if path.name.startswith(begins)]
    found = [path for path in found if holder(path) is None]  # else it is just being made
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def stores(project: str | None = None) -> list[Store]:
    """The stores of one project, or of every project that this user has run; none where nothing has been run."""
    found = []
    for folder in _folders(project):
        if not (folder / FILE).exists():
            continue
        try:
            found.append(Store(folder, create=False))
        except StateError as error:
            if project is not None:
                raise
            _log.warning("left out: %s", error)
    return found


def _folders(project: str | None) -> list[Path]:
    if project is not None:
        from aiflow_ext.translate.project import load_project

        return [state_folder(load_project(project).desc.root)]
    here = state_folder(Path.cwd())
    return list(dict.fromkeys([*([here] if here.is_dir() else []), *known_states()]))


def _list_file() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return Path(base, "aiflow-ext", "projects")
