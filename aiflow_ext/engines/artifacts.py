"""Artifacts as a job reads and writes them: whole or not at all, with size and sha256 on record. Runs inside jobs.

Standard library only; fsspec is imported where the URL is of a file system that is not this machine's.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

from aiflow_ext.engines import folders, moved
from aiflow_ext.engines.held_files import bring
from aiflow_ext.engines.pickles import ArtifactError as ArtifactError
from aiflow_ext.engines.pickles import check_versions, open_pickle, pickle_of, too_large
from aiflow_ext.engines.remote_service import AwayError, persist, with_deadlines
from aiflow_ext.model.artifact_record import LONGEST, ArtifactRecord
from aiflow_ext.model.names import local_path
from aiflow_ext.model.own_imports import without_project
from aiflow_ext.regular_file import open_regular, read_regular

T = TypeVar("T")
_IN_MEMORY = ("str", "bytes", "bytearray", "pickle")


def save(url: str, value: Any, most: int | None = None) -> ArtifactRecord:
    """Store ``value`` at ``url`` and return its record.

    Args:
        url: an fsspec URL or an absolute path.
        value: a Path is stored as the file itself (a folder as a tar), str as UTF-8, bytes raw, anything else as
            ``.pkl``, with the files that it holds beside it.
        most: bytes that it may have, files and folders apart; None by default, for no limit.

    The record is written last: without it, the artifact does not exist. Raises ArtifactError, and AwayError where a
    remote file system does not answer for minutes.
    """
    try:
        record = _save_path(url, Path(value)) if isinstance(value, os.PathLike) else _save_value(url, value, most)
        _write(f"{url}.json", record.to_bytes())
    except (ArtifactError, AwayError):
        raise
    except Exception as error:  # a remote file system raises what it likes
        raise ArtifactError(f"the artifact {url} cannot be written: {_told(error)}") from error
    return record


def _save_path(url: str, path: Path) -> ArtifactRecord:
    if path.is_dir():
        name = os.path.basename(os.path.abspath(path)) or "folder"
        with tempfile.TemporaryDirectory() as folder:
            packed = Path(folder, "folder.tar")
            folders.pack(path, packed, name)
            with open(packed, "rb") as file:
                return ArtifactRecord("folder", *_store(url, f"{name}.tar", file), name=name)
    try:
        with open(path, "rb") as file:
            return ArtifactRecord("path", *_store(url, path.name, file))
    except FileNotFoundError as error:
        if path.exists():
            raise
        raise ArtifactError(f"{path} was returned as a file but is not there") from error


def _save_value(url: str, value: Any, most: int | None) -> ArtifactRecord:
    if type(value) in (str, bytes, bytearray):
        data = value.encode("utf-8", "surrogatepass") if type(value) is str else value
        if most is not None and len(data) > most:
            raise too_large(most)
        name = "value.txt" if type(value) is str else "value.bin"
        return ArtifactRecord(type(value).__name__, *_store(url, name, io.BytesIO(data)))
    made = pickle_of(value, most)
    for number, path in enumerate(made.held):
        save(f"{url}/files/{number}", path)
    stored = _store(url, "value.pkl", io.BytesIO(made.data))
    return ArtifactRecord("pickle", *stored, python=made.python, cloudpickle=made.cloudpickle, files=len(made.held))


class Fetched(NamedTuple):
    """An artifact that was checked against its record.

    Args:
        url: the artifact's.
        path: its file, where it is or as a copy.
        data: the bytes that were checked, of a form that is opened in memory; None for a file or a folder.
    """

    url: str
    record: ArtifactRecord
    path: Path
    data: bytes | None


def load(url: str, folder: Path) -> Any:
    """The value stored at ``url``.

    Args:
        url: as given to :func:`save`.
        folder: files and folders at a remote URL are fetched into it; those on this machine stay where they are. The
            value has their Paths.

    Raises ArtifactError if it does not exist, cannot be read, or differs from its record; AwayError where a remote file
    system does not answer for minutes.
    """
    return value_of(fetch(url, folder), folder)


def value_of(fetched: Fetched, folder: Path) -> Any:
    """The value of an artifact.

    Args:
        fetched: the result of :func:`fetch`.
        folder: as in :func:`load`.

    Raises ArtifactError if it cannot be opened in this process.
    """
    url, record, data = fetched.url, fetched.record, fetched.data
    if record.form == "path":
        return fetched.path
    if record.form == "folder":
        return _unpacked(fetched, folder)
    if data is None:
        raise ArtifactError(f"the artifact {url} has the form {record.form!r}, which this version does not know")
    if record.form == "str":
        return data.decode("utf-8", "surrogatepass")
    if record.form in ("bytes", "bytearray"):
        return data if record.form == "bytes" else bytearray(data)
    check_versions(url, data, record.python, record.cloudpickle)
    bring([load(f"{url}/files/{number}", folder) for number in range(record.files)])
    return open_pickle(data, url)


def _unpacked(fetched: Fetched, folder: Path) -> Path:
    """The folder that was packed; what is unpacked is checked, and not only what had been checked before."""
    home = Path(tempfile.mkdtemp(prefix="input-", dir=folder))
    try:
        with open(fetched.path, "rb") as file:
            source = _Hashing(file)
            folders.unpack(source, home)  # type: ignore[arg-type]
            while source.read(1 << 20):
                pass
    except ValueError as error:
        shutil.rmtree(home, ignore_errors=True)
        raise ArtifactError(f"the folder {fetched.url} cannot be unpacked: {error}") from error
    if not source.is_of(fetched.record):
        shutil.rmtree(home, ignore_errors=True)
        raise _differs(fetched.url)
    return home / fetched.record.name


class _Hashing:
    """A file that is read once, and the sha256 of what was read of it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._digest, self._size = file, hashlib.sha256(), 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._digest.update(data)
        self._size += len(data)
        return data

    def is_of(self, record: ArtifactRecord) -> bool:
        """Whether size and sha256 are those of the record."""
        return (self._digest.hexdigest(), self._size) == (record.sha256, record.size)


def _differs(what: str) -> ArtifactError:
    return ArtifactError(f"the artifact {what} is not what its producer recorded (sha256 or size differ)")


def record_of(url: str) -> ArtifactRecord | None:
    """The record of the artifact at ``url``; None where there is no artifact. Raises ArtifactError and AwayError as
    :func:`load`."""
    try:
        return ArtifactRecord.from_bytes(_read_record(f"{url}.json"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ArtifactError(f"the record of the artifact {url} is damaged: {error}") from error
    except (ArtifactError, AwayError):
        raise
    except Exception as error:
        raise ArtifactError(f"the artifact {url} cannot be read: {_told(error)}") from error


def fetch(url: str, folder: Path) -> Fetched:
    """The artifact, checked against its record.

    Args:
        url: as given to :func:`save`.
        folder: a remote file is copied into it; a local one stays where it is.

    Raises ArtifactError and AwayError as :func:`load`.
    """
    fetched, file = fetch_opened(url, folder)
    file.close()
    return fetched


def fetch_opened(url: str, folder: Path, *, in_memory: bool = True) -> tuple[Fetched, IO[bytes]]:
    """As :func:`fetch`, with the file that was checked, at its begin: another one may be at its path since.

    ``in_memory``: whether the bytes of a form that is opened in memory are kept; there may not be room for them.
    """
    record = record_of(url)
    if record is None:
        raise ArtifactError(f"the artifact {url} is not there, or was never completed")
    source = f"{url}/{record.file}"
    kept = bytearray() if in_memory and record.form in _IN_MEMORY else None
    with ExitStack() as held:
        try:
            local = _local(source)
            if local is None:
                local = Path(tempfile.mkdtemp(prefix="input-", dir=folder), record.file)
                copy = str(local)
                persist(source, lambda address: _copy(address, copy, record.size), record.size)
            file = held.enter_context(open_regular(local))
            whole = _Hashing(file)
            left = record.size + 1  # one byte more shows that it is longer
            while left > 0 and (chunk := whole.read(min(1 << 20, left))):
                left -= len(chunk)
                if kept is not None:
                    kept += chunk
            file.seek(0)
        except (ArtifactError, AwayError):
            raise
        except FileNotFoundError as error:
            raise ArtifactError(f"the artifact {source} is gone; its record is still there") from error
        except Exception as error:
            raise ArtifactError(f"the artifact {source} cannot be read: {_told(error)}") from error
        if not whole.is_of(record):
            raise _differs(source)
        held.pop_all()
    return Fetched(url, record, local, None if kept is None else bytes(kept)), file


def _told(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename}" if error.strerror and error.filename else str(error)
    return f"{type(error).__name__}: {error}"


def _store(url: str, name: str, source: IO[bytes]) -> tuple[str, int, str]:
    """Returns the file's name, size and sha256."""

    def put(address: str) -> tuple[str, int, str]:
        digest, size = hashlib.sha256(), 0
        if source.seekable():  # it is put once more
            source.seek(0)
        with _sink(address, mode=0o444) as sink:  # what is complete does not change
            while chunk := source.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
                sink.write(chunk)
        return name, size, digest.hexdigest()

    if not source.seekable():
        return put(f"{url}/{name}")
    return _persist(f"{url}/{name}", put, source.seek(0, os.SEEK_END))


def _write(url: str, data: bytes) -> None:
    def put(address: str) -> None:
        with _sink(address) as sink:
            sink.write(data)

    _persist(url, put)


def _persist(url: str, operation: Callable[[str], T], size: int = 0) -> T:
    """Repeats an operation on a remote file of ``size`` bytes while its service is away; on this machine it is done
    once."""
    return operation(url) if _path(url) is not None else persist(url, operation, size)


@contextmanager
def _sink(url: str, mode: int | None = None) -> Iterator[IO[bytes]]:
    """A file to write; on this machine it has another name, and then its permissions, until it is complete."""
    local = _local(url)
    if local is None:
        fs, path = _remote(url)
        fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        with fs.open(path, "wb") as sink:
            yield sink
        return
    local.parent.mkdir(parents=True, exist_ok=True)
    temporary = local.parent / f".{uuid.uuid4().hex}.part"
    try:
        with open(temporary, "wb") as sink:
            yield sink
        if mode is not None:
            temporary.chmod(mode)
        temporary.replace(local)
    finally:
        temporary.unlink(missing_ok=True)


def _read_record(url: str) -> bytes:
    """A byte more than a record may have at most."""
    local = _local(url)
    if local is not None:
        return read_regular(local, LONGEST + 1)

    def read(address: str) -> bytes:
        fs, path = _remote(address)
        with fs.open(path, "rb") as file:
            return bytes(file.read(LONGEST + 1))

    return persist(url, read)


def _copy(url: str, local: str, size: int) -> None:
    """Copy a remote file of ``size`` bytes to this machine."""
    fs, path = _remote(url)
    if (found := fs.size(path)) is not None and found != size:
        raise _differs(url)
    fs.get_file(path, local)


def hold(url: str) -> None:
    """Find the artifact's folder again where it is moved to from now on: with the project, while the job runs."""
    path = _path(url)
    if path is not None:
        moved.hold(str(path))


def is_at_hand(url: str) -> bool:
    """Whether the artifact of a job can be kept from where this process runs: at a URL, or in the run's folder, which
    the client has made; in a container there is none."""
    path = _local(url)
    return path is None or path.parents[2].is_dir()  # RUN/JOB/ATTEMPT/NODE


def _local(url: str) -> Path | None:
    path = _path(url)
    return None if path is None else moved.now(path)


def _path(url: str) -> Path | None:
    path = local_path(url)
    return None if path is None else Path(path)


def _whose() -> str:
    """Which python this is, for a message that says what to install."""
    return "the job's python" if "AIFLOW_JOB" in os.environ else f"this python ({sys.executable})"


def _missing(url: str, error: ImportError) -> str:
    """What to install for a URL whose file system's package cannot be imported."""
    words = f"pip install {error.name}" if isinstance(error, ModuleNotFoundError) and error.name else str(error)
    return words + _hdfs(url)


def _hdfs(url: str) -> str:
    needs = (
        "; hdfs:// needs Java and Hadoop's libhdfs there, too; webhdfs://NAMENODE:PORT/PATH fsspec and requests alone"
    )
    return needs if url.startswith("hdfs:") else ""


def _remote(url: str) -> tuple[Any, str]:
    try:
        with without_project():
            from fsspec.core import url_to_fs
    except ImportError as error:
        raise ArtifactError(f"{url} needs the package fsspec in {_whose()}: pip install fsspec") from error
    try:
        with without_project():
            fs, path = url_to_fs(url)
    except ImportError as error:
        raise ArtifactError(f"{url} needs another package in {_whose()}: {_missing(url, error)}") from error
    except ValueError as error:
        raise ArtifactError(f"{url} is of no file system that fsspec knows: {error}") from error
    except OSError as error:
        raise ArtifactError(f"{url} cannot be opened: {error}{_hdfs(url)}") from error
    return with_deadlines(fs), path
