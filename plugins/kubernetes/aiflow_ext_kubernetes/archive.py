"""The project's archive, sent once a run: a Secret where it is small enough, else a file under the artifacts URL."""

from __future__ import annotations

import io
import uuid
from typing import Any
from weakref import WeakKeyDictionary

from aiflow_ext.plugin import CodeError, JobContext, PlatformError, UnreachableError
from aiflow_ext.plugin.engines import Bundle, ProjectArchive, is_remote, result_within
from aiflow_ext_kubernetes import manifest

SECRET_LIMIT = 2**20 - 2**14  # bytes: a Secret's data is at most 1 MiB (MaxSecretSize), names and keys included
HOPELESS = 2**26  # bytes unpacked: larger ones are not compressed to see whether they fit
PATIENCE, RATE = 120.0, 64 << 10  # seconds for an upload or a removal, and bytes for which it may take a second more

_packed: WeakKeyDictionary[ProjectArchive, bytes | None] = WeakKeyDictionary()


def packed(archive: ProjectArchive) -> bytes | None:
    """The archive as a gzipped tar, where a Secret can hold it; None where none can."""
    if archive not in _packed:
        data: bytes | None = None
        if archive.size <= HOPELESS:
            buffer = io.BytesIO()
            archive.pack(buffer)
            data = buffer.getvalue() if buffer.tell() <= SECRET_LIMIT else None
        _packed[archive] = data
    return _packed[archive]


def where(bundle: Bundle, context: JobContext) -> str:
    """The name of the Secret with the project's archive, or the archive's URL. Raises CodeError."""
    if packed(bundle.archive) is not None:
        return manifest.archive_name(str(context.run_id))
    artifacts = bundle.project.artifacts
    if is_remote(artifacts):
        return f"{artifacts.rstrip('/')}/{context.run_id}/.project/{manifest.PROJECT_FILE}"
    raise CodeError(
        f"the project's files are {bundle.archive.size} bytes; a Secret of Kubernetes holds 1 MiB of them, compressed",
        where=bundle.project.root,
        hint="name an artifacts URL that client and pods reach (artifacts: s3://... in project.yaml), or leave files "
        "out: exclude: in project.yaml",
    )


def upload(archive: ProjectArchive, url: str) -> None:
    """Put the archive at ``url``: all of it or none. Raises PlatformError, UnreachableError if it takes too long."""

    def put() -> None:
        fs, path = _file_system(url)
        if fs.exists(path):
            return
        fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        part = f"{path}.{uuid.uuid4().hex[:16]}.part"  # its own: one that has taken too long may still be written
        with fs.open(part, "wb") as file:
            archive.pack(file)
        fs.mv(part, path)

    try:
        result_within(PATIENCE + archive.size / RATE, put)
    except PlatformError:
        raise
    except TimeoutError as error:
        raise UnreachableError(f"the project cannot be put at {url}: {error}", hint="it is tried again") from error
    except Exception as error:  # a remote file system may raise anything
        raise PlatformError(
            f"the project cannot be put at {url}: {type(error).__name__}: {error}",
            hint="see that this machine may write there: artifacts in project.yaml, and its credentials",
        ) from error


def remove(url: str) -> None:
    """Remove what :func:`upload` put there, if it is there. Raises UnreachableError if that takes too long."""

    def drop() -> None:
        fs, path = _file_system(url)
        if fs.exists(path):
            fs.rm(path)

    try:
        result_within(PATIENCE, drop)
    except TimeoutError as error:
        raise UnreachableError(f"{url} cannot be removed: {error}", hint="it is tried again") from error


def _file_system(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs

        fs, path = url_to_fs(url)
    except ImportError as error:
        raise PlatformError(
            f"{url} needs a package on this machine: {error}", hint="pip install 'aiflow-ext-kubernetes[remote]', and "
            "the file system's package (s3fs for s3://)",
        ) from error  # fmt: skip
    return fs, str(path)
