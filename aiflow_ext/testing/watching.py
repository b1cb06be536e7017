"""What a piece of code opens, writes, starts and connects to: told by the interpreter's audit hooks, while refused."""

from __future__ import annotations

import os
import socket
import sys
import threading
from types import TracebackType
from typing import Any

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_FILES = {"os.mkdir": "makes the folder", "os.rename": "renames", "os.remove": "removes", "os.rmdir": "removes",
          "os.link": "links", "os.symlink": "links", "os.truncate": "changes", "os.chmod": "changes",
          "shutil.rmtree": "removes", "shutil.copyfile": "copies", "shutil.move": "moves",
          "tempfile.mkstemp": "makes the file", "tempfile.mkdtemp": "makes the folder"}  # fmt: skip
_PROCESSES = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.startfile"}
_NAMES = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}


class Watching:
    """While it is entered, the code of this thread that reaches for the network is refused and told.

    Attributes:
        seen: what was done, in words.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._thread = 0

    def __enter__(self) -> Watching:
        sys.addaudithook(self._hear)  # cannot be taken away again; deaf once it is left
        self._thread = threading.get_ident()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._thread = 0

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if threading.get_ident() != self._thread:
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
            writes = isinstance(flags, int) and flags & _WRITES and isinstance(path, (str, bytes))
            return None if not writes or _is_cache(path) else f"writes {os.fsdecode(path)}"
        if event in _FILES:
            return f"{_FILES[event]} {arguments[0]}" if not _is_cache(arguments[0]) else None
        if event in _PROCESSES:
            return f"starts a process: {arguments[:2]}"
        if event in _NAMES:
            return f"asks for the address of {arguments[0]}"
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            unix = getattr(arguments[0], "family", None) == socket.AF_UNIX
            return None if unix else f"connects to {arguments[1]}"
        return None


def _is_cache(path: Any) -> bool:
    return isinstance(path, (str, bytes)) and (b"__pycache__" in os.fsencode(path) or os.fsencode(path) == b"/dev/null")
