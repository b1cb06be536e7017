"""A folder with its supervisor, and the means to wait for what processes do without sleeping."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aiflow_ext.supervise import ProcessRecord, ProcessSpec, Supervisor, kernel

PATIENCE = 60.0


class Pipe:
    """A named pipe that jobs write lines to; reading waits for them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        # Opened for reading and writing, so that neither side blocks and there is no EOF.
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._rest = b""

    def line(self) -> str:
        """The next line."""
        while b"\n" not in self._rest:
            assert select.select([self._descriptor], [], [], PATIENCE)[0], f"nobody wrote to {self.path}"
            self._rest += os.read(self._descriptor, 4096)
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode()

    def pid(self) -> int:
        """The next line, a pid."""
        return int(self.line())


class Kit:
    """What the tests do with one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.supervisor = Supervisor(folder)
        self._pipes = 0

    def spec(self, id: str, *argv: str, env: dict[str, str] | None = None, **changes: Any) -> ProcessSpec:
        mark = f"mark-{id}-{self.folder}"
        given: dict[str, Any] = {
            "id": id,
            "argv": list(argv),
            "env": {"PATH": os.environ["PATH"], "AIFLOW_MARK": mark, **(env or {})},
            "cwd": str(self.folder),
            "stdout": str(self.folder / f"{id}.out"),
            "stderr": str(self.folder / f"{id}.err"),
            "mark": mark,
        }
        return ProcessSpec(**{**given, **changes})

    def start(self, id: str, *argv: str, **changes: Any) -> ProcessRecord:
        return self.supervisor.start(self.spec(id, *argv, **changes))

    def sh(self, id: str, script: str, **changes: Any) -> ProcessRecord:
        return self.start(id, "/bin/sh", "-c", script, **changes)

    def run(self, id: str, *argv: str, **changes: Any) -> ProcessRecord:
        self.start(id, *argv, **changes)
        return self.end(id)

    def end(self, id: str) -> ProcessRecord:
        record = self.supervisor.wait(id, PATIENCE)
        assert record is not None, f"{id} did not end: {self.supervisor.record(id)}"
        return record

    def out(self, id: str) -> str:
        return (self.folder / f"{id}.out").read_text()

    def pipe(self) -> Pipe:
        self._pipes += 1
        return Pipe(self.folder / f"pipe{self._pipes}")

    def journal(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "processes.jsonl").read_text().splitlines()]

    def daemon(self) -> int:
        """The pid of the folder's supervisor."""
        return int((self.folder / "supervisor.lock").read_text().split()[0])

    def kill_daemon(self) -> None:
        pid = self.daemon()
        os.kill(pid, signal.SIGKILL)
        self.gone(pid)

    @staticmethod
    def gone(pid: int) -> None:
        """Wait until ``pid`` has ended."""
        try:
            descriptor = kernel.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            assert select.select([descriptor], [], [], PATIENCE)[0], f"process {pid} lives"
        finally:
            os.close(descriptor)

    @staticmethod
    def bare_interpreter() -> int:
        """The kB of memory that this interpreter has for itself, without the pages of files, which all share."""
        tell = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('RssAnon')))"
        return int(subprocess.check_output([sys.executable, "-I", "-S", "-c", tell]))

    @staticmethod
    def alive(pid: int) -> bool:
        """Whether ``pid`` is there and no zombie."""
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
        except (FileNotFoundError, ProcessLookupError):
            return False

    def event(self, events: Iterator[ProcessRecord | None], id: str, state: str) -> ProcessRecord:
        """The next event of ``id`` in ``state``."""
        deadline = time.monotonic() + PATIENCE
        for record in events:
            if record is not None and record.id == id and record.state == state:
                return record
            assert time.monotonic() < deadline, f"{id} never became {state}"
        raise AssertionError("the events ended")

    def tear_down(self) -> None:
        if not (self.folder / "processes.jsonl").exists():
            return
        living = [record.id for record in self.supervisor.records().values() if not record.ended]
        for id in living:
            self.supervisor.stop_nowait(id, 0)
        for id in living:
            self.end(id)
        self.supervisor.close()
        try:
            descriptor = kernel.pidfd_open(self.daemon())
        except (ProcessLookupError, FileNotFoundError):
            return
        kernel.pidfd_send_signal(descriptor, signal.SIGTERM)
        assert select.select([descriptor], [], [], PATIENCE)[0], "the supervisor did not leave"
        os.close(descriptor)


@pytest.fixture
def make_kit() -> Iterator[Any]:
    kits: list[Kit] = []

    def make(folder: Path) -> Kit:
        kits.append(Kit(folder))
        return kits[-1]

    yield make
    for kit in kits:
        kit.tear_down()


@pytest.fixture
def kit(tmp_path: Path, make_kit: Any) -> Kit:
    made: Kit = make_kit(tmp_path)
    return made
