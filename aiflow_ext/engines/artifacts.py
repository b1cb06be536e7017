"""Artifacts as a job reads and writes them: whole or not at all, with size and sha256 on record. Runs inside jobs.

Standard library only; fsspec is imported where the URL is of a file system that is not this machine's.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import sys
import tarfile
import tempfile
import uuid
from pathlib import Path
from typing import IO, Any


class ArtifactError(Exception):
    """An artifact is missing, damaged or cannot be opened here; the message is for the job's log."""


def save(url: str, value: Any) -> dict[str, Any]:
    """Store ``value`` at ``url`` and return its record: file, form, size, sha256, and versions for a pickle.

    A Path is stored as the file it is (a folder as a tar), str as UTF-8, bytes raw, anything else as ``.pkl``. The
    record is written last: an artifact without it is not there.
    """
    record: dict[str, Any] = {}
    if isinstance(value, os.PathLike):
        path = Path(value)
        if path.is_dir():
            with tempfile.TemporaryDirectory() as folder:
                packed = Path(folder, "folder.tar")
                with tarfile.open(packed, "w") as tar:
                    tar.add(path, arcname=path.name or "folder")
                with open(packed, "rb") as file:
                    record = _store(url, f"{path.name or 'folder'}.tar", file)
            record |= {"form": "folder", "name": path.name or "folder"}
        else:
            try:
                with open(path, "rb") as file:
                    record = {"form": "path", **_store(url, path.name, file)}
            except FileNotFoundError as error:
                raise ArtifactError(f"{path} was returned as a file but is not there") from error
    else:
        record = _save_value(url, value)
    _write(f"{url}.json", json.dumps(record).encode())
    return record


def _save_value(url: str, value: Any) -> dict[str, Any]:
    import io

    if type(value) is str:
        return {"form": "str", **_store(url, "value.txt", io.BytesIO(value.encode("utf-8", "surrogatepass")))}
    if type(value) in (bytes, bytearray):
        return {"form": "bytes", **_store(url, "value.bin", io.BytesIO(value))}
    import cloudpickle

    try:
        data = cloudpickle.dumps(value)
    except Exception as error:
        raise ArtifactError(f"a value of type {type(value).__name__} cannot be stored: {error}") from error
    versions = {"python": _python(), "cloudpickle": cloudpickle.__version__}
    return {"form": "pickle", **versions, **_store(url, "value.pkl", io.BytesIO(data))}


def load(url: str, folder: Path) -> Any:
    """The value stored at ``url``. Files and folders come as Paths: where they are, or fetched into ``folder``."""
    path, record = fetch(url, folder)
    form = record["form"]
    if form == "path":
        return path
    if form == "folder":
        home = Path(tempfile.mkdtemp(prefix="input-", dir=folder))
        with tarfile.open(path) as tar:
            if hasattr(tarfile, "data_filter"):
                tar.extractall(home, filter="data")
            else:
                tar.extractall(home)
        return home / record["name"]
    if form == "str":
        return path.read_bytes().decode("utf-8", "surrogatepass")
    if form == "bytes":
        return path.read_bytes()
    if record["python"] != _python():
        raise ArtifactError(
            f"{url} was pickled by Python {record['python']} and this job runs Python {_python()}: run both jobs with "
            "the same version, or pass a file, str or bytes"
        )
    return open_pickle(path.read_bytes(), url)


def fetch(url: str, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The artifact's file (where it is, or copied into ``folder``), checked against its record; and the record."""
    try:
        record = json.loads(_read(f"{url}.json"))
    except FileNotFoundError as error:
        raise ArtifactError(f"the artifact {url} is not there, or was never completed") from error
    source = f"{url}/{record['file']}"
    local = _local(source)
    if local is None:
        home = Path(tempfile.mkdtemp(prefix="input-", dir=folder))
        local = home / record["file"]
        fs, path = _remote(source)
        fs.get_file(path, str(local))
    digest, size = hashlib.sha256(), 0
    try:
        with open(local, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
    except FileNotFoundError as error:
        raise ArtifactError(f"the artifact {source} is gone; its record is still there") from error
    if (digest.hexdigest(), size) != (record["sha256"], record["size"]):
        raise ArtifactError(f"the artifact {source} is not what its producer recorded (sha256 or size differ)")
    return local, record


def open_pickle(data: bytes, what: str) -> Any:
    """Open a pickle whose sha256 has been checked. Raises ArtifactError in the words of what went wrong."""
    try:
        return pickle.loads(data)
    except Exception as error:
        raise ArtifactError(f"{what} cannot be opened here: {type(error).__name__}: {error}") from error


def _store(url: str, name: str, source: IO[bytes]) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    target = f"{url}/{name}"
    local = _local(target)
    if local is not None:
        local.parent.mkdir(parents=True, exist_ok=True)
        temporary = local.parent / f".{uuid.uuid4().hex}.part"
        try:
            with open(temporary, "wb") as sink:
                while chunk := source.read(1 << 20):
                    digest.update(chunk)
                    size += len(chunk)
                    sink.write(chunk)
            temporary.chmod(0o444)  # what is complete does not change
            temporary.replace(local)
        finally:
            temporary.unlink(missing_ok=True)
    else:
        fs, path = _remote(target)
        fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        with fs.open(path, "wb") as sink:
            while chunk := source.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
                sink.write(chunk)
    return {"file": name, "size": size, "sha256": digest.hexdigest()}


def _write(url: str, data: bytes) -> None:
    local = _local(url)
    if local is not None:
        local.parent.mkdir(parents=True, exist_ok=True)
        temporary = local.parent / f".{uuid.uuid4().hex}.part"
        try:
            temporary.write_bytes(data)
            temporary.replace(local)
        finally:
            temporary.unlink(missing_ok=True)
    else:
        fs, path = _remote(url)
        fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        fs.pipe_file(path, data)


def _read(url: str) -> bytes:
    local = _local(url)
    if local is not None:
        return local.read_bytes()
    fs, path = _remote(url)
    return bytes(fs.cat_file(path))


def _local(url: str) -> Path | None:
    if url.startswith("file://"):
        return Path(url[len("file://") :])
    return None if "://" in url else Path(url)


def _remote(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise ArtifactError(f"{url} needs the package fsspec in the job's python") from error
    try:
        fs, path = url_to_fs(url)
    except ImportError as error:
        raise ArtifactError(f"{url} needs another package in the job's python: {error}") from error
    return fs, path


def _python() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def copy_out(source: Path, target: Path) -> None:
    """Copy a file to where a command is told to find it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
