"""Removes a run's artifacts at a URL, by fsspec: for ``gc``, where it is asked to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from aiflow_ext.bounded_call import result_within
from aiflow_ext.model.errors import PlatformError, UnreachableError, text_of
from aiflow_ext.model.names import safe_name

T = TypeVar("T")
PATIENCE = 120.0  # seconds that one call of a file system may take; a large folder is one call
CHECKPOINTS = "checkpoints"  # as engines.environment.checkpoint_url has it


def folders_of(jobs: Iterable[str]) -> list[str]:
    """What the jobs with these names have below the URL of their run's artifacts."""
    return [each for job in jobs for each in (safe_name(job), f"{CHECKPOINTS}/{safe_name(job)}")]


def remove_remote_artifacts(url: str, folders: Sequence[str]) -> list[str]:
    """Remove folders below the URL of a run's artifacts, and that folder itself if nothing else is in it.

    Idempotent. Returns what else is there, and stays; a link is something else, and never followed. Raises
    PlatformError if that cannot be removed from here, and UnreachableError where the file system does not answer.
    """
    system, path = _within(url, lambda: _system(url))
    if _within(url, lambda: _is_folder(system, path)) is False:
        return [path.rpartition("/")[2]]
    for folder in folders:
        _within(url, lambda folder=folder: _remove(system, f"{path}/{folder}"))  # type: ignore[misc]
    _within(url, lambda: _remove_empty(system, f"{path}/{CHECKPOINTS}"))
    return _within(url, lambda: _remove_empty(system, path))


def _system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path there."""
    from fsspec.core import url_to_fs

    system, path = url_to_fs(url)
    system.invalidate_cache()
    return system, str(path).rstrip("/")


def _is_folder(system: Any, path: str) -> bool | None:
    """Whether a folder is there, and no link to one, as far as the file system tells; None if there is nothing."""
    try:
        found = system.info(path)
    except FileNotFoundError:
        return None
    return not found.get("islink") and found.get("type") not in ("link", "other")


def _remove(system: Any, folder: str) -> None:
    way = folder.rpartition("/")[0]
    if _is_folder(system, way) and _is_folder(system, folder):
        with contextlib.suppress(FileNotFoundError):
            system.rm(folder, recursive=True)


def _remove_empty(system: Any, folder: str) -> list[str]:
    """Remove a folder that is empty; returns the names of what is in it. An object store has no folders to remove."""
    system.invalidate_cache()
    if _is_folder(system, folder) is False:
        return []
    try:
        names = [str(each).rstrip("/").rpartition("/")[2] for each in system.ls(folder, detail=False)]
    except FileNotFoundError:
        return []
    names = [name for name in names if name != folder.rpartition("/")[2]]  # a store's mark of an empty folder
    if not names:
        with contextlib.suppress(FileNotFoundError, NotImplementedError):
            system.rmdir(folder)
    return sorted(names)


def _within(url: str, call: Callable[[], T]) -> T:
    """The result of a call, which has PATIENCE; signals are answered meanwhile, whatever it waits for."""
    try:
        return result_within(PATIENCE, call)
    except ImportError as error:
        raise PlatformError(f"artifacts at {url} cannot be removed from here: {_words(error)}",
                            hint="install fsspec and the file system's package: pip install 'aiflow-ext[remote]' "
                            "for the former") from error  # fmt: skip
    except Exception as error:
        raise UnreachableError(
            f"artifacts at {url} cannot be removed now: {type(error).__name__}: {_words(error)}",
            hint="does this machine reach that file system, with credentials that may delete there?",
        ) from error


def _words(error: Exception) -> str:
    return text_of(error).strip().partition("\n")[0][:500] or "it does not say why"
