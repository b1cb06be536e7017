"""What a job has kept: listed, previewed, and handed out as it is."""

from __future__ import annotations

import csv
import io
import itertools
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from aiflow_ext.api.artifacts import Artifact, kept
from aiflow_ext.engines.artifacts import fetch_opened
from aiflow_ext.engines.pickles import ArtifactError
from aiflow_ext.engines.remote_service import AwayError
from aiflow_ext.model.errors import ConfigError, DataError
from aiflow_ext.run.operations.observe import Observed
from aiflow_ext.run.operations.outputs import places_of

PICTURES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp",
            "svg": "image/svg+xml"}  # fmt: skip
_TEXTS = ("txt", "md", "json", "jsonl", "yaml", "yml", "log", "out", "py", "toml", "ini", "cfg", "xml")
_KINDS = {**dict.fromkeys(PICTURES, "picture"), "html": "page", "htm": "page", "csv": "table", "tsv": "table",
          **dict.fromkeys(_TEXTS, "text")}  # fmt: skip
LARGEST = 64 << 20  # bytes of what is previewed: all of it is read and checked first
_TEXT, _ROWS, _COLUMNS, _CELL = 256 << 10, 200, 50, 200  # of a preview: bytes, rows, columns, characters of a cell
# A page of a job's making: it runs nothing, asks nobody, and is of no origin.
_SANDBOX = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; frame-ancestors 'self'; "
    "base-uri 'none'; form-action 'none'"
)


def listed(observed: Observed, job: str) -> list[dict[str, Any]]:
    """The artifacts of a job, in the shape of ``aiflow-ext artifacts --json``, each with how it may be ``shown``:
    ``picture``, ``page``, ``table``, ``text``, or None. Raises DataError for a damaged record, or where the file system
    of the artifacts does not answer."""
    return [
        {"job": each.job, "name": each.name, "kind": each.kind, "size": each.size, "sha256": each.sha256,
         "path": each.path, "shown": _shown(each)}
        for each in _all(observed, job)
    ]  # fmt: skip


def preview(observed: Observed, job: str, name: str) -> dict[str, Any]:
    """The beginning of a text or a table. Raises DataError where it cannot be had."""
    artifact = _named(observed, job, name)
    kind = _shown(artifact)
    if kind not in ("text", "table"):
        raise ConfigError(f"{name} is shown neither as text nor as a table")
    with tempfile.TemporaryDirectory(prefix="aiflow-ui-") as home, _opened(artifact, Path(home)) as file:
        data = file.read(_TEXT + 1)
    text = data[:_TEXT].decode("utf-8", "replace")
    cut = len(data) > _TEXT
    if kind == "text":
        return {"text": text, "cut": cut}
    reader = csv.reader(io.StringIO(text), delimiter="\t" if artifact.path.endswith(".tsv") else ",")
    try:
        rows = [[cell[:_CELL] for cell in row[:_COLUMNS]] for row in itertools.islice(reader, _ROWS + 1)]
    except csv.Error:
        return {"text": text, "cut": cut}
    return {"rows": rows[:_ROWS], "cut": cut or len(rows) > _ROWS}


class Tickets:
    """Addresses that answer once, within a minute: for what a browser fetches by itself, without the token."""

    LASTS, MOST = 60.0, 500

    def __init__(self) -> None:
        self._made: dict[str, tuple[float, Callable[[], Response]]] = {}
        self._lock = threading.Lock()

    def add(self, answer: Callable[[], Response]) -> str:
        """The id of a new one; ``answer`` is called, in a thread, when it is used."""
        number, now = secrets.token_urlsafe(32), time.monotonic()
        with self._lock:
            self._made = {key: each for key, each in self._made.items() if each[0] > now}
            if len(self._made) >= self.MOST:
                raise ConfigError("too much is asked for at once", hint="try again in a minute")
            self._made[number] = now + self.LASTS, answer
        return number

    def take(self, number: str) -> Callable[[], Response] | None:
        """What answers, once; None for one that was used, is too old, or never was."""
        with self._lock:
            until, answer = self._made.pop(number, (0.0, None))
        return answer if until > time.monotonic() else None


class Wanted(NamedTuple):
    """An artifact of a job, as a page asks for it: ``how`` is ``picture``, ``page`` or ``file``."""

    job: str
    name: str
    how: str


class _FileOf(FileResponse):
    """A file that is open, whatever is at its path by now; it is closed, and the folder that was made for it removed,
    however the answer ends."""

    def __init__(self, home: Path, file: IO[bytes], **options: Any) -> None:
        super().__init__(f"/proc/self/fd/{file.fileno()}", **options)
        self._home, self._file = home, file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (https://asgi.readthedocs.io)."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()
            shutil.rmtree(self._home, ignore_errors=True)


def answer_with(observed: Observed, wanted: Wanted) -> Response:
    """An artifact as it is: a picture, a page without any rights, or a file to be saved. Raises DataError where it
    cannot be had, ConfigError where it is not of that kind."""
    artifact = _named(observed, wanted.job, wanted.name)
    if wanted.how != "file" and _shown(artifact) != wanted.how:
        raise ConfigError(f"{wanted.name} is not shown as a {wanted.how}")
    home = Path(tempfile.mkdtemp(prefix="aiflow-ui-"))
    try:
        file = _opened(artifact, home)
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    headers = {"Content-Security-Policy": _SANDBOX}
    if wanted.how == "file":
        name = artifact.path.rpartition("/")[2].encode("utf-8", "replace").decode()
        return _FileOf(home, file, headers=headers, media_type="application/octet-stream", filename=name)
    kind = PICTURES[_ending(artifact)] if wanted.how == "picture" else "text/html; charset=utf-8"
    return _FileOf(home, file, headers=headers, media_type=kind)


def _all(observed: Observed, job: str) -> Iterator[Artifact]:
    """A job's artifacts, with the files inside of values."""
    plan = observed.stored.holding([job])
    for each in kept(place for place in places_of(plan, observed.record) if place.job == job):
        yield each
        yield from each.files


def _named(observed: Observed, job: str, name: str) -> Artifact:
    found = next((each for each in _all(observed, job) if each.name == name), None)
    if found is None:
        raise ConfigError(f"job {job!r} has kept nothing that is called {name!r}")
    return found


def _ending(artifact: Artifact) -> str:
    return artifact.path.rpartition("/")[2].rpartition(".")[2].lower()


def _shown(artifact: Artifact) -> str | None:
    if artifact.size > LARGEST:
        return None
    if artifact.kind == "str":
        return "text"
    return _KINDS.get(_ending(artifact)) if artifact.kind == "file" else None


def _opened(artifact: Artifact, home: Path) -> IO[bytes]:
    """The file that was checked against the artifact's record, open: its own, or a copy in ``home``."""
    try:
        return fetch_opened(artifact.url, home, in_memory=False)[1]
    except (ArtifactError, AwayError) as error:
        raise DataError(str(error)) from error
