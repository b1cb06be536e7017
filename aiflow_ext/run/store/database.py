"""The SQLite database of a project's runs: its connection, its transactions, and its errors.

WAL mode: what was committed survives the death of any process. ``durable()`` makes the next commit survive a power
loss too (https://www.sqlite.org/pragma.html#pragma_synchronous). Several processes read and write at once.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiflow_ext.model.errors import StateError
from aiflow_ext.regular_file import kind_of
from aiflow_ext.run.store.filesystem import refuse_network_folder
from aiflow_ext.run.store.ownership import refuse_foreign, refuse_links
from aiflow_ext.run.store.schema import migrate
from aiflow_ext.run.store.state_folder import IN_PROJECT
from aiflow_ext.shared_folder import make_folder, share_file

FILE = "state.db"
_PATIENCE = 30.0  # seconds to wait for another process that writes
# Exceptions because of damaged values: a state, a plan, a path.
_NOT_OURS = (LookupError, TypeError, AttributeError, OverflowError, RecursionError)
# SQLite's messages for a file that is not a database, and for one with other tables.
_DAMAGES = ("malformed", "not a database", "no such table", "no such column", "has no column", "already exists",
            "is a view", "Could not decode")  # fmt: skip
_DAMAGED = "move it and the folder runs away to start anew, or restore a copy; the logs are in that folder"


class Database:
    """The open database in one project's state folder. Not for use by several threads at once.

    Args:
        folder: the state folder.
        create: make the folder and the database if they are missing.

    Attributes:
        path: the database's file.

    Raises StateError where it cannot be opened: a newer version wrote it, it is damaged, the folder cannot be written,
    can be written by others, lies on a network file system, or the disk is full.
    """

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        self.path = folder / FILE
        if not create and not has_database(folder):
            raise StateError("there are no runs here", where=str(folder), hint="aiflow-ext run PROJECT makes one")
        with self._errors_in_words("opened"):
            if create and not folder.is_dir():
                refuse_foreign(folder, missing=True)  # before anything is made
                folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                _make(folder)
            refuse_foreign(folder)
            refuse_links(folder, FILE, "runs", ".gitignore")
            if create:
                ignored = folder / ".gitignore"
                if not ignored.exists():
                    ignored.touch(0o644)
                    ignored.write_text("*\n")
            refuse_network_folder(folder)
            self._refuse_other_file()
            if create:
                with contextlib.suppress(FileExistsError):  # SQLite's own files get the permissions of this one
                    made = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                    try:
                        share_file(made, folder)
                    finally:
                        os.close(made)
            self._unchanged: tuple[int, ...] | None = None  # of the file, where SQLite takes for granted that it stays
            if create or not self._is_at_rest():
                self._connection = self._connect(os.fspath(self.path))
                self._use_wal()
            else:
                self._unchanged = _identity(self.path)
                self._connection = self._connect(f"file:{_quoted(self.path)}?immutable=1")
            self._connection.execute("pragma synchronous=normal")
            migrate(self._connection, self.path)
            self._refuse_programs()

    def _connect(self, where: str) -> sqlite3.Connection:
        return sqlite3.connect(where, timeout=_PATIENCE, isolation_level=None, check_same_thread=False,
                               uri=where.startswith("file:"))  # fmt: skip

    def _is_at_rest(self) -> bool:
        """Whether the file system is read-only and nobody has the database open: SQLite can then make no files beside
        it, and needs none. Raises StateError if the latest changes are in a file that needs them."""
        if not os.statvfs(self.path.parent).f_flag & os.ST_RDONLY:
            return False
        log, index = (Path(f"{self.path}-{end}") for end in ("wal", "shm"))
        if log.exists() and index.exists():
            return False  # SQLite reads both without writing
        if log.exists() and log.stat().st_size:
            raise StateError(
                f"the latest changes of the store of runs are in {log.name}, which cannot be read on a read-only file "
                f"system without {index.name}",
                where=str(self.path),
                hint="copy the project to where it can be written, its .aiflow included, and look there; or mount it "
                "writable",
            )
        return True

    def _refuse_other_file(self) -> None:
        """Raise StateError if another kind of file is in the database's place, or an unexpected empty file."""
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(self.path)
            if not stat.S_ISREG(status.st_mode):
                raise self._damaged(f"it is {kind_of(status.st_mode)}, not a regular file")
            runs = self.path.parent / "runs"
            if (
                not status.st_size and runs.is_dir() and any(runs.iterdir())
            ):  # a run's folder is made after the database
                raise self._damaged("it is empty, and there are folders of runs beside it")

    def _refuse_programs(self) -> None:
        """Raise StateError if the database has views or triggers: aiflow-ext makes none, and they may never end."""
        found = self._connection.execute("select type from sqlite_master where type in ('view', 'trigger')").fetchone()
        if found is not None:
            raise self._damaged(f"there is a {found[0]} in it")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def data_version(self) -> int:
        """A number that changes when another process changes anything."""
        with self.reading() as db:
            return int(db.execute("pragma data_version").fetchone()[0])

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, to read. Raises StateError if that fails, or the data is damaged."""
        try:
            with self._errors_in_words("read"):
                yield self._connection
                if self._unchanged is not None and self._unchanged != _identity(self.path):
                    raise StateError("the store of runs was changed from elsewhere while it was read",
                                     where=str(self.path), hint="try again")  # fmt: skip
        except _NOT_OURS as error:
            raise self._damaged(f"{type(error).__name__}: {error}") from error

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, committed at the end. Raises StateError where it cannot be; sqlite3.IntegrityError as it
        is."""
        with self._errors_in_words("written"):
            self._connection.execute("begin immediate")
            try:
                yield self._connection
                self._connection.execute("commit")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("rollback")
                raise

    @contextlib.contextmanager
    def durable(self) -> Iterator[None]:
        """Within it, a commit returns only once a power loss cannot undo it."""
        self._connection.execute("pragma synchronous=full")
        try:
            yield
        finally:
            self._connection.execute("pragma synchronous=normal")

    def _use_wal(self) -> None:
        """Switch to write-ahead logging. While another process makes the database, SQLite refuses that at once instead
        of waiting for it."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._connection.execute("pragma journal_mode=wal")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(0.01)

    def _damaged(self, words: str) -> StateError:
        return StateError(f"the store of runs is damaged: {words}", where=str(self.path), hint=_DAMAGED)

    @contextlib.contextmanager
    def _errors_in_words(self, what: str) -> Iterator[None]:
        """Errors of SQLite and of the file system as a StateError that says what to do.

        ``what``: what could not be done with the database, as a participle.
        """
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except ValueError as error:  # a damaged state or plan
            raise self._damaged(str(error)) from error
        except sqlite3.DatabaseError as error:
            words = str(error)
            damaged = any(each in words for each in _DAMAGES)
            hint = (
                _DAMAGED
                if damaged
                else "make room or give permission there; AIFLOW_STATE=/path names another folder for state"
            )
            state = "is damaged" if damaged else f"cannot be {what}"
            raise StateError(f"the store of runs {state}: {words}", where=str(self.path), hint=hint) from error
        except OSError as error:
            raise StateError(
                f"the state folder cannot be {what}: {error.strerror}",
                where=str(self.path.parent),
                hint="give permission or make room there, or name another folder for state: AIFLOW_STATE=/path",
            ) from error


def has_database(folder: Path) -> bool:
    """Whether a state folder has a database, or a folder that may not be read."""
    try:
        os.lstat(folder / FILE)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _identity(path: Path) -> tuple[int, ...]:
    """What changes when a file is written or replaced."""
    status = os.stat(path)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _quoted(path: Path) -> str:
    """An absolute path as a part of a URI."""
    from urllib.parse import quote

    return quote(os.fsencode(os.path.abspath(path)))


def _make(folder: Path) -> None:
    """Make a state folder. One in a project is its owner's alone; one below $AIFLOW_STATE is shared as that is."""
    with contextlib.suppress(FileExistsError):  # another process was quicker
        if folder.name == IN_PROJECT:
            folder.mkdir(0o700)
        else:
            make_folder(folder)


def to_column(text: str | None) -> str | bytes | None:
    """A path, or text that may quote one, as a value for SQLite: text, or bytes if it is not UTF-8 on disk."""
    if text is None or text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        with contextlib.suppress(UnicodeEncodeError):
            return os.fsencode(text)
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def from_column(value: Any) -> Any:
    """The inverse of :func:`to_column`."""
    if isinstance(value, bytes):
        return os.fsdecode(value)
    return value
