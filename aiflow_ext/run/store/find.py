"""Finds a run by its id, or the beginning of it, from any folder."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from aiflow_ext.model.errors import ConfigError, Problem, StateError
from aiflow_ext.model.names import path_shown
from aiflow_ext.model.spelling import near
from aiflow_ext.regular_file import open_regular, open_to_append
from aiflow_ext.run.store.database import has_database
from aiflow_ext.run.store.lock import holder
from aiflow_ext.run.store.records import AttemptRecord, JobRecord, RunRecord
from aiflow_ext.run.store.state_folder import state_folder
from aiflow_ext.run.store.store import Store
from aiflow_ext.translate.project_root import project_root

_log = logging.getLogger("aiflow_ext")
LATEST = "latest"
_LARGEST_LIST = 16 << 20  # bytes of the list of projects that are read


def known_states() -> list[Path]:
    """The state folders of this user's projects, the last used first; those that are gone are left out."""
    return [Path(line) for line in _listed() if not _is_gone(line)]


def _gone_states() -> list[str]:
    return [line for line in _listed() if _is_gone(line)]


def _is_gone(folder: str) -> bool:
    """Whether a folder is not there; one that may not be looked at may be there."""
    try:
        return not stat.S_ISDIR(os.stat(folder).st_mode)
    except PermissionError:
        return False
    except (OSError, ValueError):
        return True


def _listed() -> list[str]:
    lines = _lines(_list_file())
    return list(reversed([_path_in(line) for line in dict.fromkeys(lines) if line]))


def _lines(path: Path | None) -> list[bytes]:
    """The lines of the user's list; none where it cannot be read, or is another user's: HOME may be that user's."""
    if path is None:
        return []
    try:
        with open_regular(path, follow=False) as file:
            return file.read(_LARGEST_LIST).split(b"\n") if _is_own(file.fileno()) else []
    except OSError:
        return []


def _is_own(descriptor: int) -> bool:
    status = os.fstat(descriptor)
    return status.st_uid in (0, os.geteuid()) and status.st_nlink == 1


def remember_state(folder: Path) -> None:
    """Add a project's state folder to the user's list. An error is ignored: then it is only found from its folder."""
    path, line = _list_file(), _line_of(os.path.realpath(folder))
    if path is None:
        return
    try:
        if line in _lines(path):
            return
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)  # whatever an access control list gives to others
        with open(open_to_append(path), "ab") as file:
            if _is_own(file.fileno()):
                file.write(line + b"\n")
    except OSError:
        return


def _line_of(path: str) -> bytes:
    """A path as a line of the list: its bytes, or JSON where it has a newline in it."""
    return json.dumps(path).encode() if "\n" in path else os.fsencode(path)


def _path_in(line: bytes) -> str:
    with contextlib.suppress(ValueError):
        if line.startswith(b'"'):
            return str(json.loads(line))
    return os.fsdecode(line)


def no_such_job(run_id: str, job: str, jobs: Iterable[str]) -> ConfigError:
    """The error for a job that is none of a run's ``jobs``."""
    names = list(jobs)
    hint = near(job, names) or f"its jobs are {', '.join(names)}"
    return ConfigError(f"run {run_id} has no job {job!r}", hint=hint)


def job_of(record: RunRecord, job: str) -> JobRecord:
    """A job of a run, by its key. Raises ConfigError where the run has none."""
    if job not in record.jobs:
        raise no_such_job(record.run_id, job, record.jobs)
    return record.jobs[job]


def attempt_of(record: RunRecord, job: str, number: int) -> AttemptRecord:
    """An attempt of a job of a run, by its number. Raises ConfigError where there is none."""
    attempts = job_of(record, job).attempts
    if not 1 <= number <= len(attempts):
        had = f"{len(attempts)} attempt{'' if len(attempts) == 1 else 's'}"
        raise ConfigError(f"job {job!r} has had {had}: there is no attempt {number}")
    return attempts[number - 1]


def open_run(run: str, project: str | None = None) -> tuple[Store, str]:
    """The store that holds a run, and the run's whole id.

    Args:
        run: the run's id, the beginning of it, or ``latest``.
        project: the project's folder, if the id is ambiguous. Without it ``latest`` is a run of the project that the
            current folder is in, or, if it is in none, of any project of this user.

    Raises ConfigError if there is no such run, or several.
    """
    if not run:
        raise ConfigError("the run's id is empty", hint="aiflow-ext runs lists them; the last one is: latest")
    here = _current_project() if run == LATEST and project is None else None
    folders = state_folders(project) if here is None else [state_folder(here)]
    found: list[tuple[Store, str, float]] = []
    unread: list[Problem] = []
    for folder in folders:
        try:
            store = Store(folder, create=False)
            runs = store.runs()
        except StateError as error:
            if project is not None:
                raise
            unread += error.problems if has_database(folder) else ()
            continue  # one damaged store must not hide another project's run
        for each in runs:
            if run == LATEST or each["run"].startswith(run):
                found.append((store, each["run"], each["started_at"]))
    exact = [each for each in found if each[1] == run]
    if run == LATEST and found:
        exact = [max(found, key=lambda each: each[2])]
    chosen = exact or found
    if len(chosen) == 1:
        for problem in unread if run == LATEST else ():  # where the latest one may be
            _log.warning("left out: %s", problem)
        return chosen[0][0], chosen[0][1]
    if not chosen and unread:
        raise StateError(problems=[Problem(f"there is no run {run!r} in what can be read"), *unread])
    if not chosen and (lost := _unrecorded(run, folders)):
        raise StateError(
            f"there is no run {run!r} on record, but a folder of one", where=str(lost),
            hint="its driver was killed before anything started (aiflow-ext gc removes it in time), or the store has "
            "lost its latest records: was state.db-wal removed? Its logs are in that folder",
        )  # fmt: skip
    if not chosen and here is not None:
        raise ConfigError("no run of this project is on record", where=str(here),
                          hint="aiflow-ext runs lists those of all your projects; name one by its id")  # fmt: skip
    if not chosen and project is None and (gone := _gone_states()):
        listed = ", ".join(map(path_shown, gone[:5]))
        raise ConfigError(
            f"there is no run {run!r}; folders that are not there any more may have had it: {listed}",
            hint="where a project was moved, go to its new folder or name it: --project FOLDER",
        )
    if not chosen:
        raise ConfigError(
            f"there is no run {run!r}",
            hint=near(run, [LATEST]) or "aiflow-ext runs lists them; --project FOLDER says where",
        )
    raise ambiguous(run, [each[1] for each in chosen], "give more of the id, or --project FOLDER")


def ambiguous(run: str, ids: Sequence[str], hint: str) -> ConfigError:
    """The error for the beginning of an id that several runs have."""
    names = ", ".join(sorted(ids)[:5])
    return ConfigError(f"{run!r} fits {len(ids)} runs: {names}", hint=hint)


def _unrecorded(run: str, states: Sequence[Path]) -> Path | None:
    """The latest folder of such a run, if the store has no record of any."""
    begins = "" if run == LATEST else run
    found = [path for state in states for path in state.glob("runs/*") if path.name.startswith(begins)]
    found = [path for path in found if holder(path) is None]  # else it is just being made
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def stores(project: str | None = None) -> list[Store]:
    """The stores of one project, or of every project that this user has run; none if nothing was run."""
    found = []
    for folder in state_folders(project):
        if not has_database(folder):
            continue
        with left_out_if_damaged(project):
            found.append(Store(folder, create=False))
    return found


@contextlib.contextmanager
def left_out_if_damaged(project: str | None) -> Iterator[None]:
    """Leave out a store that cannot be read, with a warning, unless it was named."""
    try:
        yield
    except StateError as error:
        if project is not None:
            raise
        _log.warning("left out: %s", error)


def state_folders(project: str | None) -> list[Path]:
    """The state folder of one project, or of every project that this user has run; some may have no database."""
    if project is not None:
        return [state_folder(project_root(project))]
    found: dict[object, Path] = {}  # by device and inode: a folder may be known by several paths
    for folder in [*_here(), *known_states()]:
        try:
            status = os.stat(folder)
        except PermissionError:
            found.setdefault(folder, folder)  # what uses it tells why it cannot
        except OSError:
            continue
        else:
            found.setdefault((status.st_dev, status.st_ino), folder)
    return list(found.values())


def _current_project() -> Path | None:
    """The folder of the project that the current folder is in; None where it is in none."""
    try:
        here = Path.cwd()
    except FileNotFoundError:  # the current folder was removed
        return None
    found: Path | None = None
    for folder in (here, *here.parents):
        if folder.name == ".aiflow":
            found = None  # what is below it are copies of a project
        elif found is None and os.path.isfile(folder / "workflow.py"):
            found = folder
    return found


def _here() -> list[Path]:
    """The state folder of the current folder, where that is a project which has been run."""
    try:
        here = state_folder(Path.cwd())
    except FileNotFoundError:  # the current folder was removed
        return []
    return [here] if not _is_gone(os.fspath(here)) else []


def _list_file() -> Path | None:
    """None where this user has no home and names no other folder."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(base, "aiflow-ext", "projects") if os.path.isabs(base) else None
