"""Removes old runs: their folders, their artifacts (at a URL: where asked), and their records."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from aiflow_ext.model.errors import AiflowError, Problem, StateError, UnreachableError, said_by, text_of
from aiflow_ext.model.names import local_path
from aiflow_ext.run.operations.cleaning import clean_up, remove_artifacts, remove_run
from aiflow_ext.run.operations.observe import Observed
from aiflow_ext.run.operations.remote_artifacts import folders_of, remove_remote_artifacts
from aiflow_ext.run.store.artifacts_folder import remove_artifacts_folder
from aiflow_ext.run.store.filesystem import mounted_in
from aiflow_ext.run.store.find import left_out_if_damaged, stores
from aiflow_ext.run.store.in_process import was_in_process
from aiflow_ext.run.store.lock import FILE as LOCK
from aiflow_ext.run.store.lock import DriverLock, holder
from aiflow_ext.run.store.ownership import user_name
from aiflow_ext.run.store.store import Store

_log = logging.getLogger("aiflow_ext")
MAKING = 3600.0  # seconds: a newer folder without a record may be of a run that is being prepared


def collect(
    project: str | None = None,
    *,
    older_than: float | None = None,
    keep: int | None = None,
    dry_run: bool = False,
    artifacts: bool = False,
    kept: list[Problem] | None = None,
) -> list[dict[str, Any]]:
    """Remove runs that have ended.

    Args:
        project: the project's folder; None for every project of this user.
        older_than: remove runs that ended more than so many seconds ago.
        keep: keep so many of each project's newest runs.
        dry_run: only return what would be removed.
        artifacts: remove artifacts at a URL, too; those on this machine are removed in any case.
        kept: gets a problem for each run that stays because its artifacts cannot be removed now.

    Returns the runs that were (or would be) removed. A run stays if it has not ended, has a driver, or if a run that
    has not ended reads its artifacts.
    """
    remote = _Remote(artifacts, [] if kept is None else kept)
    removed: list[dict[str, Any]] = []
    for store in stores(project):
        with left_out_if_damaged(project):
            for run in _collected(store, older_than, keep, dry_run, remote):
                removed.append(run)  # runs that were removed before the store turned out to be damaged are reported too
    return removed


class _Remote(NamedTuple):
    """What to do about artifacts at a URL, and what came of it."""

    remove: bool
    kept: list[Problem]


def _collected(
    store: Store, older_than: float | None, keep: int | None, dry_run: bool, remote: _Remote
) -> Iterator[dict[str, Any]]:
    """Remove the runs of one store, and yield each that is gone."""
    runs = store.runs()
    needed = {each.source.run for run in runs if run["ended_at"] is None for each in store.run(run["run"]).inputs}
    for place, run in enumerate(runs):
        if run["ended_at"] is None or run["run"] in needed or holder(Path(run["folder"])) is not None:
            continue
        if keep is not None and place < keep:
            continue
        if older_than is not None and run["ended_at"] > time.time() - older_than:
            continue
        if dry_run or _remove_alone(store, run, remote):
            yield run
    yield from _unrecorded(store, older_than, dry_run)


def _unrecorded(store: Store, older_than: float | None, dry_run: bool) -> list[dict[str, Any]]:
    """Folders of runs whose driver was killed before the run was recorded: nothing was started from them."""
    removed: list[dict[str, Any]] = []
    known = {run["run"] for run in store.runs()}
    limit = time.time() - max(MAKING, older_than or 0.0)
    for folder in sorted(store.path.parent.glob("runs/*")):
        if folder.name in known:
            continue
        empty = _is_empty_folder(folder)  # its driver was killed before it had made even its lock
        if not empty and (not _is_run_folder(folder, store) or holder(folder) is not None or mounted_in(folder)):
            continue
        made = folder.stat().st_mtime
        if made >= limit:
            continue
        if not dry_run and not empty:
            shutil.rmtree(folder, ignore_errors=True)
        elif not dry_run and not _remove_empty(folder):
            continue
        removed.append({"run": folder.name, "workflow": None, "project": None, "folder": str(folder), "state": None,
                        "started_at": made, "ended_at": None, "jobs": {}})  # fmt: skip
    return removed


def _is_empty_folder(folder: Path) -> bool:
    """Whether ``folder`` is an empty folder, and not a link."""
    try:
        return not folder.is_symlink() and not os.listdir(folder)
    except OSError:
        return False


def _remove_empty(folder: Path) -> bool:
    """Remove a folder; False if it is not empty any more."""
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def _is_run_folder(folder: Path, store: Store) -> bool:
    """Whether a folder is of a run in this state folder, and not a link; each has the driver's lock file."""
    runs = store.path.parent / "runs"
    own = folder.name not in ("", os.curdir, os.pardir) and Path(os.path.abspath(folder)).parent == runs.absolute()
    return own and not folder.is_symlink() and (folder / LOCK).is_file() and not (folder / LOCK).is_symlink()


def _remove_alone(store: Store, run: dict[str, Any], remote: _Remote) -> bool:
    """Remove a run while its lock is held, so that it cannot be resumed; False if it was just resumed."""
    if not _is_run_folder(Path(run["folder"]), store):
        return _remove(store, run, remote)
    owner = os.stat(run["folder"]).st_uid
    if os.geteuid() not in (0, owner):  # of a shared state folder: only its owner can remove what its jobs have made
        _log.warning("run %s stays: it is of %s, who removes it, or root", run["run"], user_name(owner))
        return False
    if (mounted := mounted_in(run["folder"])) is not None:
        _log.warning("run %s stays: a file system is mounted in its folder; umount %s", run["run"], mounted)
        return False
    try:
        lock = DriverLock(Path(run["folder"]))
    except StateError as error:
        _log.warning("run %s stays: %s", run["run"], error)
        return False
    try:
        return store.run(run["run"]).ended_at is not None and _remove(store, run, remote)
    except KeyError:  # another gc has removed it
        return False
    finally:
        lock.release()


def _remove(store: Store, run: dict[str, Any], remote: _Remote) -> bool:
    """Remove a run; False if its platform or its artifacts cannot be reached now: it stays, for the next time."""
    plan, _ = store.plan(run["run"])
    try:
        observed = Observed(store, run["run"])
        if not was_in_process(observed.record):
            clean_up(observed.plan, observed.record, store)
            remove_run(observed.plan, run["run"], observed.folder)
    except UnreachableError as error:
        _log.warning("run %s stays until its platform can be reached: %s", run["run"], error)
        return False
    except Exception as error:
        _log.warning("run %s may have left something on its platform: %s", run["run"], text_of(error))
    base = plan["project"].get("artifacts") or ""
    if artifacts := local_path(base):
        remove_artifacts_folder(Path(artifacts), run["run"])
    elif base and remote.remove and not _remove_remote(store, run, f"{base.rstrip('/')}/{run['run']}", remote):
        return False
    if _is_run_folder(Path(run["folder"]), store):
        shutil.rmtree(run["folder"], ignore_errors=True)
    elif os.path.lexists(run["folder"]):
        _log.warning("%s is on record as the folder of run %s and is none: left as it is", run["folder"], run["run"])
    store.forget(run["run"])
    return True


def _remove_remote(store: Store, run: dict[str, Any], url: str, remote: _Remote) -> bool:
    """Remove a run's artifacts at a URL, by its platform or by fsspec; False if that cannot be done now."""
    if run["run"] in ("", os.curdir, os.pardir) or os.path.basename(run["run"]) != run["run"]:
        return True  # no run's id: nothing is there
    try:
        observed = Observed(store, run["run"])
        folders = folders_of(observed.record.jobs)
        try:
            plan = observed.plan
        except AiflowError:  # without its plugins fsspec is left
            others = None
        else:
            others = remove_artifacts(plan, run["run"], observed.folder, url, folders)
        if others is None:
            others = remove_remote_artifacts(url, folders)
    except Exception as error:
        problem = Problem(f"run {run['run']} stays: {said_by(error)}")
        _log.warning("%s", problem)
        remote.kept.append(problem)
        return False
    if others:
        _log.warning("%s stays: no job of the run has made %s there", url, ", ".join(others[:5]))
    return True
