"""One daemon per folder: finds it, starts it if there is none, and connects to it."""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import time
from collections.abc import Sequence
from typing import Any

from aiflow_ext.model.errors import StateError
from aiflow_ext.shared_folder import share_file
from aiflow_ext.supervise import proc
from aiflow_ext.supervise.journal import LOCK, LOG, SAFELY, SOCKET, encode

IDLE = 1.0
PATIENCE = 15.0
MOST_WORDLESS = 5
_PASSED_ON = ("LD_LIBRARY_PATH", "AIFLOW_MARK")


class SupervisorError(StateError):
    """The supervisor of a folder cannot be started or reached, or could not execute a request."""


class OthersSupervisorError(SupervisorError):
    """Another user's daemon serves the folder."""


class JournalError(SupervisorError):
    """The journal of a folder's processes cannot be read, and another try will not change that."""


class Gone(Exception):
    """The daemon exited during a request. Every request may be repeated."""


class Connection:
    """A connection to the daemon; for one thread at a time."""

    def __init__(self, folder: int) -> None:
        """Connect. OSError: there is no daemon."""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._in = bytearray()
        self._number = 0
        try:
            self.socket.connect(f"/proc/self/fd/{folder}/{SOCKET}")
            found = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            self.pid, self.uid, _ = struct.unpack("3i", found)
        except BaseException:
            self.socket.close()
            raise

    def ask(self, requests: Sequence[dict[str, Any]], timeout: float | None = None) -> list[dict[str, Any]]:
        """Send ``requests`` at once; returns the answers in the same order. TimeoutError: not all arrived in time."""
        first = self._number + 1
        lines = []
        for request in requests:
            self._number += 1
            lines.append(encode({"n": self._number, **request}))
        answers: dict[int, dict[str, Any]] = {}
        deadline = None if timeout is None else time.monotonic() + timeout
        self._send("\n".join(lines), deadline)
        while len(answers) < len(requests):
            for line in self.lines(None if deadline is None else deadline - time.monotonic()):
                answer = json.loads(line.decode())
                answers[answer["n"]] = answer
        return [answers[number] for number in range(first, first + len(requests))]

    def subscribe(self, brief: bool) -> None:
        """Subscribe to the journal's lines as they are written; the first line is the answer to this request.

        ``brief``: a start is reported once, when the process runs.
        """
        self._send(encode({"n": 0, "op": "subscribe", "brief": brief}), None)

    def tell(self, requests: Sequence[dict[str, Any]], timeout: float) -> None:
        """Send requests that have no answer. TimeoutError: not all could be written in time."""
        self._send("\n".join(encode({"n": 0, **request}) for request in requests), time.monotonic() + timeout)

    def lines(self, timeout: float | None) -> list[bytes]:
        """The lines that have arrived, or the next ones. TimeoutError: none arrived; Gone: EOF."""
        while b"\n" not in self._in:
            try:
                self.socket.settimeout(None if timeout is None else max(0.0, timeout))
                data = self.socket.recv(1 << 16)
            except (TimeoutError, BlockingIOError):
                raise TimeoutError from None
            except OSError as error:
                raise Gone from error
            if not data:
                raise Gone
            self._in += data
        whole, _, rest = self._in.rpartition(b"\n")
        self._in = bytearray(rest)
        return bytes(whole).split(b"\n")

    def _send(self, text: str, deadline: float | None) -> None:
        try:
            self.socket.settimeout(None if deadline is None else max(0.01, deadline - time.monotonic()))
            self.socket.sendall(text.encode() + b"\n")
        except TimeoutError:
            raise
        except OSError as error:
            raise Gone from error

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


def connect(folder: int) -> Connection | None:
    """A connection to the folder's daemon, or None if there is none. Raises OthersSupervisorError."""
    try:
        return Connection(folder)
    except (FileNotFoundError, ConnectionError):
        return None
    except PermissionError as error:
        owner = os.stat(SOCKET, dir_fd=folder, follow_symlinks=False).st_uid
        raise OthersSupervisorError(
            f"its processes on this machine belong to {_user_name(owner)}, who alone may stop them or start more",
            where=os.readlink(f"/proc/self/fd/{folder}"),
            hint="act as that user, or as root",
        ) from error


def _user_name(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def launch(folder: int, path: str, idle: float = IDLE) -> Connection:
    """A connection to the folder's daemon, which is started if needed. Concurrent callers get the same daemon.

    Another user's daemon is waited for as long as it needs to exit once its last process has ended.
    """
    began = time.monotonic()
    deadline = began + PATIENCE
    wordless = 0
    while True:
        try:
            connection = connect(folder)
        except OthersSupervisorError:
            if time.monotonic() > began + 3 * IDLE:
                raise
            time.sleep(0.02)
            continue
        if connection is not None:
            return connection
        said = _start(folder, path, idle)
        if not said:  # killed before it was ready
            wordless += 1
            if wordless == MOST_WORDLESS:
                said = f"failed it ended without a word; see {os.path.join(path, LOG)}"
        if said.startswith("failed"):
            raise SupervisorError(
                f"the supervisor of local processes cannot start in {path}: {said[7:]}",
                hint="the folder must be writable, on a local disk with room, on a file system that has unix sockets",
            )
        if said == "taken":
            # Another one is just starting or exiting.
            time.sleep(0.005)
        if time.monotonic() > deadline:
            raise unreachable(folder, path)


def unreachable(folder: int, path: str) -> SupervisorError:
    """The error for a daemon that exists and does not answer."""
    try:
        descriptor = os.open(LOCK, os.O_RDONLY | SAFELY, dir_fd=folder)
        with os.fdopen(descriptor) as file:
            pid = int(file.read(100).split()[0])
    except (OSError, ValueError, IndexError):
        return SupervisorError(f"the supervisor of {path} does not answer", hint=f"see {path}/{LOG}, then try again")
    stat = proc.read_stat(pid)
    if stat is not None and stat.state == "T":
        return SupervisorError(
            f"the supervisor of {path} (process {pid}) is stopped", hint=f"let it go on: kill -CONT {pid}"
        )
    return SupervisorError(
        f"the supervisor of {path} (process {pid}) does not answer", hint=f"see {path}/{LOG}, then try again"
    )


def _start(folder: int, path: str, idle: float) -> str:
    import subprocess

    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "daemon.py")
    try:
        log = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT | SAFELY, 0o600, dir_fd=folder)
        share_file(log, folder)
    except OSError as error:
        return f"failed {error.strerror}: {os.path.join(path, LOG)}"
    hear, say = os.pipe()
    try:
        command = [sys.executable, "-I", "-S", "-X", "utf8", script, str(folder), str(say), str(idle)]
        # The environment of whoever came first is nobody else's business. A mark is kept: a supervisor that a job
        # started belongs to that job.
        env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        child = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            pass_fds=(folder, say),
        )  # fmt: skip
        os.close(say)
        say = -1
        with os.fdopen(hear, "rb") as file:
            hear = -1
            said = file.read().decode(errors="replace").strip()
        child.wait()
        return said
    except OSError as error:
        return f"failed {error}"
    finally:
        for descriptor in (log, hear, say):
            if descriptor >= 0:
                os.close(descriptor)
