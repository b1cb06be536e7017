"""The values, files and folders that jobs keep.

Listing reads records alone. A value is read, checked by its size and sha256, and unpickled only when it is asked for.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from aiflow_ext.engines import artifacts
from aiflow_ext.engines.pickles import ArtifactError
from aiflow_ext.engines.remote_service import AwayError
from aiflow_ext.model.artifact_record import ArtifactRecord
from aiflow_ext.model.errors import DataError
from aiflow_ext.model.names import safe_name
from aiflow_ext.run.operations.outputs import Place

_KINDS = {"path": "file"}  # other forms are called as they are stored: folder, str, bytes, bytearray, pickle


class Artifact:
    """One kept result: the value of a node, or an output of a command.

    Attributes:
        job: the key of its job.
        name: the node's name; for an output of a command ``NODE.OUTPUT``.
        url: its path or URL, without the file's own name.
        kind: ``file``, ``folder``, ``str``, ``bytes``, ``bytearray`` or ``pickle``.
        size: of what is stored, in bytes.
        sha256: of what is stored, in hexadecimal.
    """

    def __init__(self, place: Place, record: ArtifactRecord) -> None:
        self.job, self.name, self.url = place.job, place.name, place.url
        self.kind = _KINDS.get(record.form, record.form)
        self.size, self.sha256, self.path = record.size, record.sha256, f"{place.url}/{record.file}"
        self._files, self._below = record.files, Path(safe_name(place.job), place.url.rpartition("/")[2])
        self._copied = record.name if record.form == "folder" else record.file

    def load(self, folder: str | os.PathLike[str] | None = None) -> Any:
        """The value: a Path of a file or folder, or what the function returned.

        A pickle is opened, which runs code: do so only where you trust those who can write to the run's artifacts.

        Args:
            folder: what is at a remote URL, and any folder, is copied into it, where it stays. By default into a
                temporary folder of this process, which is removed at its end.

        Raises DataError where it is gone, differs from its record, or cannot be opened in this process.
        """
        home = _temporary() if folder is None else Path(folder)
        with errors_in_words(home):
            home.mkdir(parents=True, exist_ok=True)
            return artifacts.load(self.url, home)

    def fetch(self, folder: str | os.PathLike[str]) -> Path:
        """Copy what is stored to ``FOLDER/JOB/NAME/`` and return the path of the copy; a pickle is not opened.

        Args:
            folder: is made where it is not there. Files of the same name in it are replaced.

        Raises DataError as :meth:`load`, and where the folder cannot be written.
        """
        home = Path(folder, self._below)
        with errors_in_words(home):
            for each in self.files:
                self._copy(each.url, Path(folder, each._below))
            return self._copy(self.url, home)

    @cached_property
    def files(self) -> list[Artifact]:
        """The files and folders inside of a value, as a dict of Paths has them; each is called ``NAME/files/NUMBER``.

        Reads their records, to the first that is missing. Raises DataError as :func:`kept`.
        """
        found = []
        for inside in (f"files/{number}" for number in range(self._files)):  # as many as a job says: 10**18 too
            each = next(kept([Place(self.job, f"{self.name}/{inside}", None, f"{self.url}/{inside}")]), None)
            if each is None:
                break
            each._below = self._below / inside
            found.append(each)
        return found

    def copied_to(self, folder: str | os.PathLike[str]) -> Path:
        """The path that :meth:`fetch` gives the copy below ``folder``; files inside of a value are copied with it."""
        return Path(folder, self._below, self._copied)

    def _copy(self, url: str, home: Path) -> Path:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetched-", dir=home) as place:
            fetched = artifacts.fetch(url, Path(place))
            made, there = fetched.path, home / fetched.record.file
            if fetched.record.form == "folder":
                made = Path(artifacts.value_of(fetched, Path(place)))
                there = home / made.name
                if there.is_dir() and not there.is_symlink():
                    shutil.rmtree(there)
            elif not made.is_relative_to(place):  # it is on this machine, and stays where it is
                made = Path(shutil.copyfile(made, Path(place, "copy")))
            os.replace(made, there)
        return there

    def __repr__(self) -> str:
        return f"<artifact {self.job}/{self.name}: {self.kind}, {self.size} bytes>"


def kept(places: Iterable[Place]) -> Iterator[Artifact]:
    """The artifacts that exist at these places. Raises DataError for a damaged record, or where the file system of the
    artifacts does not answer."""
    for place in places:
        with errors_in_words(place.url):
            record = artifacts.record_of(place.url)
        if record is not None:
            yield Artifact(place, record)


@contextmanager
def errors_in_words(home: str | os.PathLike[str]) -> Iterator[None]:
    """Have what is wrong with an artifact, or with the folder ``home``, be a DataError."""
    try:
        yield
    except (ArtifactError, AwayError) as error:
        raise DataError(str(error)) from error
    except OSError as error:
        raise DataError(f"{home} cannot be written: {error.strerror}") from error


_folders: list[Path] = []


def _temporary() -> Path:
    """A folder for what this process has read, removed at its end."""
    if not _folders:
        _folders.append(Path(tempfile.mkdtemp(prefix="aiflow-results-")))
        atexit.register(shutil.rmtree, _folders[0], ignore_errors=True)
    return _folders[0]
