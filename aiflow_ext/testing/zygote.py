"""Processes that call the plugin, forked from one that has loaded it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NO_ANSWER, ENDED = "no answer", "the process that made the call ended"


class Raised(Exception):
    """A call into the plugin raised; or the client that made it died, or did not answer."""

    def __init__(self, call: str, kind: str, words: str, trace: str = "") -> None:
        super().__init__(f"{call}: {kind}: {words}")
        self.call, self.kind, self.words, self.trace = call, kind, words, trace


class Client:
    """A process of its own that calls the plugin: ``client("submit_job")`` calls it there and returns the result."""

    def __init__(self, zygote: Zygote, channel: socket.socket, pid: int, log: Path, patience: float) -> None:
        self.zygote, self.pid, self.log, self.patience = zygote, pid, log, patience
        self._channel = channel
        self._status: int | None = None
        self._in = b""

    def __call__(self, call: str, /, *, timeout: float | None = None, **arguments: Any) -> Any:
        """Make a call in the client. Raises Raised."""
        self.send(call, **arguments)
        return self.answer(call, timeout)

    def send(self, call: str, /, **arguments: Any) -> None:
        """Request a call; ``answer`` waits for its result."""
        with contextlib.suppress(OSError):  # that it is dead is reported by ``answer``
            self._channel.sendall(json.dumps({"call": call, "arguments": arguments}).encode() + b"\n")

    def answer(self, call: str, timeout: float | None = None) -> Any:
        """Wait for the result of the last request."""
        line = self._line(call, self.patience if timeout is None else timeout)
        if line is None:
            status = self.wait()
            end = f"signal {-status}" if status < 0 else f"exit code {status}"
            raise Raised(call, ENDED, end, self._tail())
        found = json.loads(line)
        if "raised" in found:
            raise Raised(call, *found["raised"])
        value = found["value"]
        return base64.b64decode(value["base64"]) if isinstance(value, dict) and set(value) == {"base64"} else value

    def wait(self) -> int:
        """Its exit code once it has ended; negative for a signal."""
        if self._status is None:
            self._status = self.zygote.wait(self.pid)
        return self._status

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.wait()
        self._channel.close()

    def _line(self, call: str, timeout: float) -> bytes | None:
        deadline = time.monotonic() + timeout
        while b"\n" not in self._in:
            self._channel.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self._channel.recv(1 << 16)
            except TimeoutError:
                os.kill(self.pid, signal.SIGUSR1)  # faulthandler writes where it is
                with contextlib.suppress(OSError):
                    self._channel.settimeout(0.2)
                    self._channel.recv(1)
                trace = self._tail()
                self.kill()
                raise Raised(call, NO_ANSWER, f"it has not returned within {timeout:g} s", trace) from None
            except OSError:
                return None
            if not data:
                return None
            self._in += data
        line, _, self._in = self._in.partition(b"\n")
        return line

    def _tail(self) -> str:
        try:
            return self.log.read_text(encoding="utf-8", errors="replace")[-3000:]
        except OSError:
            return ""


class Nursery:
    """The process that has loaded everything but a plugin, and forks the zygotes; one for each session."""

    def __init__(self, folder: Path) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        path = json.dumps([os.path.abspath(entry) for entry in sys.path])
        script = str(Path(__file__).with_name("server.py"))
        with open(folder / "nursery.log", "wb") as log:
            self._process = subprocess.Popen([sys.executable, script, path], env=clean_env({}), stdin=theirs.fileno(),
                                             stdout=log, stderr=log, cwd=folder, start_new_session=True)  # fmt: skip
        theirs.close()

    def fork(self, options: Mapping[str, Any], descriptor: int) -> None:
        """Fork a zygote that communicates through ``descriptor``."""
        socket.send_fds(self._control, [json.dumps(options).encode()], [descriptor])
        assert self._control.recv(16), "the process that forks the clients has ended; see its nursery.log"

    def close(self) -> None:
        """End it."""
        self._control.close()
        self._process.wait()


class Zygote:
    """The process that has the plugin loaded, and forks the clients.

    Attributes:
        error: why the plugin cannot be loaded, or None.
        facts: of the plugin: ``offers``, ``durable``, ``files``, ``distribution``, ``version``.
        env: the environment of its clients.
    """

    def __init__(self, nursery: Nursery, platform: str, engine: str, folder: Path, env: Mapping[str, str]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.env = clean_env(env)
        log = folder / "zygote.log"
        nursery.fork({"platform": platform, "engine": engine, "env": self.env, "log": str(log)}, theirs.fileno())
        theirs.close()
        hello = self._read()
        if hello is None:
            words = log.read_text(encoding="utf-8", errors="replace")[-3000:]
            hello = {"error": f"loading it ended the process that did\n{words}", "facts": {}}
        self.error: str | None = hello["error"]
        self.facts: dict[str, Any] = hello["facts"]

    def client(self, root: Path, patience: float) -> Client:
        """A new client of the project in ``root``."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        log = root / "client.log"
        options = {"fork": str(root), "log": str(log), "out": str(root / "client.out")}
        socket.send_fds(self._control, [json.dumps(options).encode()], [theirs.fileno()])
        theirs.close()
        found = self._read()
        assert found is not None, "the zygote is gone"
        return Client(self, ours, found["pid"], log, patience)

    def wait(self, pid: int) -> int:
        """The exit code of a client."""
        self._control.sendall(json.dumps({"wait": pid}).encode())
        found = self._read()
        return os.waitstatus_to_exitcode(found["status"]) if found is not None else -signal.SIGKILL

    def close(self) -> None:
        """End it."""
        self._control.close()

    def _read(self) -> Any:
        data = b""
        while not data.endswith(b"\n"):
            more = self._control.recv(1 << 16)
            if not more:
                return None
            data += more
        return json.loads(data)


def clean_env(more: Mapping[str, str]) -> dict[str, str]:
    """The environment of a client: this process's, without variables of an attempt or a test runner."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIFLOW_", "PYTEST_"))}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **more}
