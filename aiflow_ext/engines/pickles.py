"""Values as the pickles of artifacts, with the versions that wrote them. Runs inside jobs."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from aiflow_ext.engines.held_files import opened, paths_in
from aiflow_ext.model.own_imports import without_project
from aiflow_ext.model.pickling import TooLargeError, dumps, dumps_plain, is_plain


class ArtifactError(Exception):
    """An artifact is missing, damaged or cannot be opened here; the message is for the job's log."""


class Pickle(NamedTuple):
    """A value as a pickle.

    Attributes:
        data: its bytes.
        held: the files that the value holds, in the order of their numbers.
        python, cloudpickle: the versions that wrote it; empty where any opens it.
    """

    data: bytes
    held: list[Path]
    python: str = ""
    cloudpickle: str = ""


def pickle_of(value: Any, most: int | None = None) -> Pickle:
    """A value as a pickle of at most ``most`` bytes. Raises ArtifactError where it cannot be one."""
    try:
        if is_plain(value):
            return Pickle(dumps_plain(value, most), [])
        return _pickle_of(value, most)
    except TooLargeError:
        raise too_large(most or 0) from None
    except Exception as error:
        raise ArtifactError(
            f"a value of type {type(value).__name__} cannot be stored: {type(error).__name__}: {error}"
        ) from error


def too_large(most: int) -> ArtifactError:
    """The error for a value of more than ``most`` bytes."""
    return ArtifactError(f"the value has more than {most >> 20} MiB")


def _pickle_of(value: Any, most: int | None) -> Pickle:
    with without_project():
        import cloudpickle

        from aiflow_ext.model.by_module import reduction

    numbers: dict[str, int] = {}
    held = {id(path): (path, numbers.setdefault(os.path.abspath(path), len(numbers))) for path in paths_in(value)}

    def override(each: Any) -> Any:
        if id(each) in held:
            return opened, (held[id(each)][1],)
        return reduction(each, _is_own)

    data = dumps(value, override, most)
    return Pickle(data, [Path(path) for path in numbers], python_version(), cloudpickle.__version__)


def _is_own(module: ModuleType) -> bool:
    """Whether a module is one of the project's files."""
    project, file = os.environ.get("AIFLOW_PROJECT_FOLDER"), getattr(module, "__file__", None)
    return bool(project and file) and str(file).startswith(f"{project}{os.sep}")


def check_versions(what: str, data: bytes, python: str, cloudpickle: str) -> None:
    """Raise ArtifactError if a pickle may not open in this process, because of the versions that wrote it.

    Args:
        what: the pickle, for messages.
        data: its bytes.
        python: the Python version that wrote it, ``major.minor``; empty where any opens it.
        cloudpickle: the version of cloudpickle.
    """
    if not python:
        return
    if python != python_version():
        raise ArtifactError(
            f"{what} was pickled by Python {python} and this is Python {python_version()}: give both the same "
            "version, pass a file, str or bytes, and keep functions in modules of the project"
        )
    if b"cloudpickle" not in data:
        return
    try:
        with without_project():
            import cloudpickle as installed
    except ImportError as error:
        raise ArtifactError(f"{what} needs the package cloudpickle in this python") from error
    if installed.__version__.partition(".")[0] != cloudpickle.partition(".")[0]:
        raise ArtifactError(
            f"{what} was pickled by cloudpickle {cloudpickle} and here is {installed.__version__}: install the "
            "same one in both places"
        )


def open_pickle(data: bytes, what: str) -> Any:
    """Open a pickle whose sha256 has been checked.

    Args:
        data: its bytes.
        what: the pickle, for messages.

    Raises ArtifactError if opening it raises anything.
    """
    try:
        return pickle.loads(data)
    except Exception as error:
        raise ArtifactError(f"{what} cannot be opened here: {type(error).__name__}: {error}") from error


def python_version() -> str:
    """``major.minor`` of this interpreter: pickles are opened by the version that wrote them."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}"
