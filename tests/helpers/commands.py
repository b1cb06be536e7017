"""``aiflow-ext ARGS`` as a process of its own, forked from one that has its modules loaded.

Most commands take less time than an interpreter takes to import them. That a command starts without that is tested by
those tests that start ``python -m aiflow_ext`` themselves.
"""

from __future__ import annotations

import io
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

SERVER = Path(__file__).with_name("command_server.py")


class Command:
    """A command that was started: of ``subprocess.Popen``, with text and pipes, what tests use.

    Attributes:
        returncode: its exit code (negative: by that signal); None before ``wait`` or ``poll`` has returned it.
    """

    def __init__(self, args: Sequence[str], stdout: int, stderr: int, answer: socket.socket) -> None:
        self.args, self._answer = list(args), answer
        self.stdout, self.stderr = open(stdout, errors="surrogateescape"), open(stderr, errors="surrogateescape")  # noqa: SIM115
        self.returncode: int | None = None
        self.pid = int(self._receive(None))

    def _receive(self, timeout: float | None) -> bytes:
        self._answer.settimeout(timeout)
        received = self._answer.recv(64)
        assert received, "the process that commands are forked from has ended"
        return received

    def poll(self) -> int | None:
        """Its exit code once it has ended."""
        try:
            return self.wait(0.0)
        except (subprocess.TimeoutExpired, BlockingIOError):
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code; TimeoutExpired after so many seconds."""
        if self.returncode is None:
            try:
                self.returncode = os.waitstatus_to_exitcode(int(self._receive(timeout)))
            except TimeoutError:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0) from None
            self._answer.close()  # the pid is its own until now
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def read(self, timeout: float) -> tuple[bytes, bytes]:
        """Its output to EOF, once it has ended; TimeoutExpired after so many seconds."""
        deadline = time.monotonic() + timeout
        texts = {self.stdout: b"", self.stderr: b""}
        with selectors.DefaultSelector() as selector:
            for stream in texts:
                if not stream.closed:
                    selector.register(stream, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise subprocess.TimeoutExpired(self.args, timeout)
                for key, _ in ready:
                    data = os.read(key.fd, 1 << 16)
                    texts[key.fileobj] += data  # type: ignore[index]
                    if not data:
                        selector.unregister(key.fd)
        self.stdout.close()
        self.stderr.close()
        self.wait(max(0.001, deadline - time.monotonic()))
        return texts[self.stdout], texts[self.stderr]

    def communicate(self, timeout: float = 120.0) -> tuple[str, str]:
        """The same as text."""
        out, err = self.read(timeout)
        return text(out), text(err)


class CommandServer:
    """The process that commands are forked from. Threads may use it at the same time."""

    def __init__(self, python: str = sys.executable, env: Mapping[str, str] | None = None) -> None:
        """Start it.

        Args:
            python: the interpreter, which has aiflow_ext.
            env: the environment that it is started in [default: this one, without PYTHONPATH].
        """
        self._env = {**(os.environ if env is None else env), "PYTHONDONTWRITEBYTECODE": "1"}
        self._env.pop("PYTHONPATH", None)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen([python, SERVER], env=self._env, stdin=theirs.fileno())

    def can_start(self, env: Mapping[str, str]) -> bool:
        """Whether an interpreter that is started in this environment would be as the server is."""
        folders = env.get("PYTHONPATH", "").split(os.pathsep)
        return _of_the_start(env) == _of_the_start(self._env) and not any(
            Path(folder, "sitecustomize.py").exists() for folder in folders if folder
        )

    def start(
        self, args: Sequence[str], env: Mapping[str, str], cwd: Path | str = ".", *, session: bool = False
    ) -> Command:
        """Start a command without standard input.

        Args:
            args: those of ``aiflow-ext``.
            env: its whole environment; see :meth:`can_start`.
            cwd: its current folder.
            session: whether it begins a session of its own.
        """
        out, their_out = os.pipe()
        err, their_err = os.pipe()
        answer, their_answer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = {"args": list(args), "env": dict(env), "cwd": os.path.abspath(cwd), "session": session}
        with open(os.devnull, "rb") as nothing, their_answer:
            theirs = [nothing.fileno(), their_out, their_err, their_answer.fileno()]
            socket.send_fds(self._control, [json.dumps(request).encode()], theirs)
        os.close(their_out)
        os.close(their_err)
        return Command(["aiflow-ext", *args], out, err, answer)

    def close(self) -> None:
        """End it; commands that still run go on."""
        self._control.close()
        self._process.wait()


def text(data: bytes) -> str:
    """Output as text, as ``subprocess`` reads it."""
    return io.TextIOWrapper(io.BytesIO(data)).read()


def _of_the_start(env: Mapping[str, str]) -> dict[str, str]:
    read = {name: value for name, value in env.items() if name.startswith(("PYTHON", "LC_", "LANG"))}
    read.pop("PYTHONPATH", None)  # a command's own is put into its sys.path
    return read
