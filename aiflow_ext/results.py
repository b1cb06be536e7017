"""What runs have made: the values, files and folders that their jobs keep, for scripts, notebooks and a shell.

Listing reads records alone. A value is read, checked by its size and sha256, and unpickled only when it is asked for.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
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
from aiflow_ext.model.states import JobState
from aiflow_ext.run.operations.observe import Observed, list_runs, observe
from aiflow_ext.run.operations.outputs import Place, places_of
from aiflow_ext.run.store.find import no_such_job
from aiflow_ext.run.store.records import JobRecord

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
        self.job, self.url = place.job, place.url
        self.name = place.node if place.output is None else f"{place.node}.{place.output}"
        self.kind = _KINDS.get(record.form, record.form)
        self.size, self.sha256, self.path = record.size, record.sha256, f"{place.url}/{record.file}"
        self._files = record.files

    def load(self, folder: str | os.PathLike[str] | None = None) -> Any:
        """The value: a Path of a file or folder, or what the function returned.

        A pickle is opened, which runs code: do so only where you trust those who can write to the run's artifacts.

        Args:
            folder: what is at a remote URL, and any folder, is copied into it, where it stays. By default into a
                temporary folder of this process, which is removed at its end.

        Raises DataError where it is gone, differs from its record, or cannot be opened in this process.
        """
        home = _temporary() if folder is None else Path(folder)
        with _errors_in_words(home):
            home.mkdir(parents=True, exist_ok=True)
            return artifacts.load(self.url, home)

    def fetch(self, folder: str | os.PathLike[str]) -> Path:
        """Copy what is stored to ``FOLDER/JOB/NAME/`` and return the path of the copy; a pickle is not opened.

        Args:
            folder: is made where it is not there. Files of the same name in it are replaced.

        Raises DataError as :meth:`load`, and where the folder cannot be written.
        """
        home = Path(folder, safe_name(self.job), self.url.rpartition("/")[2])
        with _errors_in_words(home):
            for number in range(self._files):
                self._copy(f"{self.url}/files/{number}", home / "files" / str(number))
            return self._copy(self.url, home)

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
        return {each.name: each for each in _kept(self._places)}

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


class RunResults:
    """A run as its records have it now, and what its jobs have kept.

    Attributes:
        run_id: its whole id.
        state: a JobState: FINISHED, FAILED or STOPPED; RUNNING while it goes on.
        project: the project's folder.
        jobs: JobResults by the job's key, in the workflow's order.
    """

    def __init__(self, observed: Observed) -> None:
        record = observed.record
        self.run_id, self.state, self.project = record.run_id, record.state, str(observed.stored.desc.root)
        places: dict[str, list[Place]] = {}
        for place in places_of(observed.plan, record):
            places.setdefault(place.job, []).append(place)
        self.jobs = _Jobs(
            self.run_id, {name: JobResults(job, places.get(name, [])) for name, job in record.jobs.items()}
        )

    def __repr__(self) -> str:
        return f"<run {self.run_id}: {self.state}, {len(self.jobs)} job{'s' * (len(self.jobs) != 1)}>"


class _Jobs(dict[str, JobResults]):
    """Says which names there are where one is missing."""

    def __init__(self, run_id: str, jobs: dict[str, JobResults]) -> None:
        super().__init__(jobs)
        self._run_id = run_id

    def __missing__(self, name: str) -> JobResults:
        raise no_such_job(self._run_id, name, self)


def open_run(run: str = "latest", project: str | os.PathLike[str] | None = None) -> RunResults:
    """A run's results, while it goes on or afterwards.

    Args:
        run: its id, the beginning of it, or ``latest``, which is the default.
        project: the project's folder; by default the one that the current folder is in, else any of this user.

    Raises ConfigError if there is no such run, or several, StateError where its records cannot be read.
    """
    observed = observe(run, None if project is None else os.fspath(project))
    try:
        observed.refresh()
        return RunResults(observed)
    finally:
        observed.store.close()


def runs(project: str | os.PathLike[str] | None = None) -> list[dict[str, Any]]:
    """All runs of this user, or of one project, newest first; the keys are those of ``aiflow-ext runs --json``
    (docs/json.md). Raises StateError where the project's records cannot be read."""
    return list_runs(None if project is None else os.fspath(project))


def _kept(places: list[Place]) -> Iterator[Artifact]:
    for place in places:
        with _errors_in_words(place.url):
            record = artifacts.record_of(place.url)
        if record is not None:
            yield Artifact(place, record)


@contextmanager
def _errors_in_words(home: str | os.PathLike[str]) -> Iterator[None]:
    """Have what is wrong with an artifact, or with the folder ``home``, be a DataError."""
    try:
        yield
    except (ArtifactError, AwayError) as error:
        raise DataError(str(error)) from error
    except OSError as error:
        raise DataError(f"{home} cannot be written: {error.strerror}") from error


def _named(found: dict[str, Artifact]) -> str:
    return "take one of them: " + ", ".join(f"artifacts[{name!r}]" for name in found)


_folders: list[Path] = []


def _temporary() -> Path:
    """A folder for what this process has read, removed at its end."""
    if not _folders:
        _folders.append(Path(tempfile.mkdtemp(prefix="aiflow-results-")))
        atexit.register(shutil.rmtree, _folders[0], ignore_errors=True)
    return _folders[0]
