"""An id starts one process at most, whoever asks, however often, through whichever supervisor."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from aiflow_ext.supervise import Supervisor

MARKING = 'set -C; : > "$MARKS/$ID.$$"'


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    (tmp_path / "marks").mkdir()
    return tmp_path / "marks"


def marking(kit: Any, marks: Path, id: str) -> Any:
    return kit.spec(id, "/bin/sh", "-c", MARKING, env={"MARKS": str(marks), "ID": id})


def runs(marks: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for mark in marks.iterdir():
        id = mark.name.split(".")[0]
        found[id] = found.get(id, 0) + 1
    return found


def test_second_start_returns_the_first_ones_record_and_starts_nothing(kit: Any, marks: Path) -> None:
    spec = marking(kit, marks, "job")
    first = kit.supervisor.start(spec)
    again = kit.supervisor.start(spec)
    assert again.pid == first.pid
    ended = kit.end("job")
    assert kit.supervisor.start(spec) == ended
    assert Supervisor(kit.folder).start(spec) == ended
    kit.kill_daemon()
    assert kit.supervisor.start(spec) == ended
    assert runs(marks) == {"job": 1}


def test_many_clients_starting_the_same_ids_at_once_run_each_once(kit: Any, marks: Path) -> None:
    ids = [f"j{number}" for number in range(20)]
    seen: list[set[int | None]] = [set() for _ in ids]

    def client() -> None:
        with Supervisor(kit.folder) as supervisor:
            for number, record in enumerate(supervisor.start_many([marking(kit, marks, id) for id in ids])):
                seen[number].add(record.pid)
            for id in ids:
                assert supervisor.wait(id, 20) is not None

    # No supervisor yet: they also race to start it.
    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert runs(marks) == dict.fromkeys(ids, 1)
    assert all(len(pids) == 1 for pids in seen)


def test_processes_racing_to_start_the_supervisor_share_one(kit: Any, marks: Path) -> None:
    code = f"""
import os, sys
sys.path.insert(0, {os.getcwd()!r})
from aiflow_ext.supervise import ProcessSpec, Supervisor
here = {str(kit.folder)!r}
env = {{"MARKS": {str(marks)!r}, "ID": "job", "PATH": os.environ["PATH"]}}
sys.stdin.read()
spec = ProcessSpec("job", ["/bin/sh", "-c", {MARKING!r}], env, here, here + "/out", here + "/err", "")
supervisor = Supervisor(here)
supervisor.start(spec)
print(supervisor.wait("job").pid, open(here + "/supervisor.lock").read().split()[0])
"""
    racers = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.close()
    said = set()
    for racer in racers:
        assert racer.stdout is not None
        said.add(racer.stdout.read())
        assert racer.wait() == 0
    assert len(said) == 1
    assert runs(marks) == {"job": 1}
