"""Records what code opens, writes, starts and connects to, by the interpreter's audit hooks, and refuses it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Collection
from types import TracebackType
from typing import Any

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_FILES = {"os.mkdir": "makes the folder", "os.rename": "renames", "os.remove": "removes", "os.rmdir": "removes",
          "os.link": "links", "os.symlink": "links", "os.truncate": "changes", "os.chmod": "changes",
          "shutil.rmtree": "removes", "shutil.copyfile": "copies", "shutil.move": "moves",
          "tempfile.mkstemp": "makes the file", "tempfile.mkdtemp": "makes the folder", "os.chown": "changes",
          "sqlite3.connect": "opens the database", "os.chdir": "goes to the folder"}  # fmt: skip
_VARIABLES = ("os.putenv", "os.unsetenv")
_PROCESSES = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.startfile"}
_NAMES = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}


class Watching:
    """While it is entered, effects of code outside of its process are refused and recorded, in this and in new threads.

    Args:
        readable: folders whose files may be read, beside those of the interpreter and of what is importable; None: all.

    Attributes:
        seen: what was done, in words.
    """

    def __init__(self, readable: Collection[str] | None = None) -> None:
        self.seen: list[str] = []
        self._readable = None if readable is None else _folders([*readable, *_ALWAYS, *sys.path])
        self._others: set[int | None] = set()
        self._hears = False

    def __enter__(self) -> Watching:
        sys.addaudithook(self._hear)  # cannot be removed again; it does nothing after the exit
        # Its own thread, and those that are started meanwhile.
        self._others = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}
        self._hears = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._hears = False

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._hears or threading.get_ident() in self._others:
            return
        words = self._words(event, arguments)
        if words is None:
            return
        self.seen.append(words)
        if event.startswith("socket."):
            raise OSError(f"the conformance kit lets nothing out here: it {words}")

    def _words(self, event: str, arguments: tuple[Any, ...]) -> str | None:
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not isinstance(path, (str, bytes)) or _is_cache(path):
                return None
            if flags & _WRITES:
                return f"writes {os.fsdecode(path)}"
            path = os.path.realpath(os.fsdecode(path))
            return None if self._readable is None or path.startswith(self._readable) else f"reads {path}"
        if event in _FILES:
            return f"{_FILES[event]} {_text(arguments[0])}" if not _is_cache(arguments[0]) else None
        if event in _VARIABLES:
            return f"changes the environment's variable {_text(arguments[0])}"
        if event in _PROCESSES:
            return f"starts a process: {arguments[:2]}"
        if event in _NAMES:
            return f"asks for the address of {arguments[0]}"
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            return f"connects to {_text(arguments[1])}"
        return None


class Made:
    """Records the files and folders that the code of this process makes from now on.

    Attributes:
        paths: their paths, whether they still exist or not.
    """

    def __init__(self) -> None:
        self.paths: set[str] = set()
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            made = path if isinstance(flags, int) and flags & os.O_CREAT else None
        else:
            made = arguments[_MADE[event]] if event in _MADE else None
        if isinstance(made, (str, bytes)) and not _is_cache(made):
            self.paths.add(os.path.abspath(os.fsdecode(made)))


# The audit events that make a file, and the index of the argument that is its path.
_MADE = {"os.mkdir": 0, "os.rename": 1, "os.link": 1, "os.symlink": 1, "tempfile.mkstemp": 0, "tempfile.mkdtemp": 0}
# Files that the interpreter and its libraries read: local time, host names, types of files.
_ALWAYS = (sys.prefix, sys.base_prefix, "/usr", "/lib", "/proc", "/dev", "/etc/localtime", "/etc/mime.types")


def _folders(paths: Collection[str]) -> tuple[str, ...]:
    real = {os.path.realpath(path) for path in paths if path}
    return tuple(path if os.path.isfile(path) else os.path.join(path, "") for path in real)


def _text(value: Any) -> str:
    return os.fsdecode(value) if isinstance(value, (str, bytes)) else str(value)


def _is_cache(path: Any) -> bool:
    return isinstance(path, (str, bytes)) and (b"__pycache__" in os.fsencode(path) or os.fsencode(path) == b"/dev/null")
