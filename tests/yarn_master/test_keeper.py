"""The keeper: tells how the child ended, and leaves nothing, whoever of the three dies first."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# A daemon as they are made: a session and a parent of its own; here even without the mark.
DAEMON = """\
import os, sys
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
open("daemon.part", "w").write(str(os.getpid()))
os.rename("daemon.part", "daemon")
os.execve("/bin/sleep", ["sleep", "1000"], {})
"""


class Kept:
    """A master, its keeper, and a child that runs a script."""

    def __init__(self, folder: Path, script: str, grace: float = 5.0) -> None:
        self.folder = folder
        call = [sys.executable, str(Path(__file__).with_name("run_keeper.py")), str(folder), str(grace), script]
        self.master = subprocess.Popen(call, stdout=subprocess.PIPE, text=True)
        self.keeper = int(self.said()["pid"])

    def said(self) -> dict[str, Any]:
        """What the keeper says next; ``{}``: nothing any more."""
        assert self.master.stdout is not None
        line = self.master.stdout.readline()
        found: dict[str, Any] = json.loads(line) if line else {}
        return found

    def rest(self) -> list[dict[str, Any]]:
        """All that it says until the end, without what depends on the run."""
        found = []
        while said := self.said():
            found.append({key: value for key, value in said.items() if key not in ("pid", "start", "usage")})
        return found

    def marked(self) -> list[int]:
        found = []
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                try:
                    environ = Path(entry.path, "environ").read_bytes().split(b"\0")
                    state = Path(entry.path, "stat").read_text().rpartition(")")[2].split()[0]
                except OSError:
                    continue
                if f"AIFLOW_MARK=mark:{self.folder}".encode() in environ and state != "Z":
                    found.append(int(entry.name))
        return found

    def end(self) -> None:
        self.master.kill()
        self.master.communicate()
        self.until(lambda: self.marked() == [])

    def until(self, met: Any, timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        while not met():
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Any]:
    made: list[Kept] = []

    def make(script: str, grace: float = 5.0) -> Kept:
        made.append(Kept(tmp_path, script, grace))
        return made[0]

    yield make
    for one in made:
        one.end()


def test_an_exit_code(kept: Any, tmp_path: Path) -> None:
    one = kept("echo out; echo err >&2; exit 3")
    assert one.rest() == [{"what": "started"}, {"what": "ended", "exit": 3}, {"what": "swept", "left": []}]
    assert ((tmp_path / "stdout").read_text(), (tmp_path / "stderr").read_text()) == ("out\n", "err\n")


def test_what_the_child_and_those_it_waited_for_have_used(kept: Any) -> None:
    eats = "import time; eaten = bytearray(100 << 20)\nwhile time.process_time() < 0.3: pass"
    one = kept(f"""{sys.executable} -c '{eats}'; kill -9 $$""")
    assert one.said()["what"] == "started"
    used = one.said()["usage"]
    assert 100 << 20 < used["peak_memory"] < 300 << 20
    assert 0.3 <= used["cpu_seconds"] < 5


def test_a_signal(kept: Any) -> None:
    assert kept("kill -9 $$").rest()[1] == {"what": "ended", "signal": 9}


def test_what_it_left_behind(kept: Any, tmp_path: Path) -> None:
    (tmp_path / "daemon.py").write_text(DAEMON)
    one = kept(f"{sys.executable} daemon.py; setsid sleep 1000 & while [ ! -e daemon ]; do sleep 0.01; done; exit 4")
    assert one.rest()[1:] == [{"what": "ended", "exit": 4}, {"what": "swept", "left": []}]
    assert not Path("/proc", (tmp_path / "daemon").read_text(), "stat").exists()
    assert one.marked() == []


def test_a_stop(kept: Any) -> None:
    one = kept("trap 'exit 6' TERM; touch ready; while :; do sleep 0.05; done")
    one.until((one.folder / "ready").exists)
    one.master.send_signal(signal.SIGTERM)
    one.master.send_signal(signal.SIGTERM)
    assert one.rest()[1:] == [{"what": "ended", "exit": 6}, {"what": "swept", "left": []}]


def test_a_stop_that_is_not_listened_to(kept: Any) -> None:
    one = kept("trap '' TERM; touch ready; while :; do sleep 0.05; done", grace=0.3)
    one.until((one.folder / "ready").exists)
    begun = time.monotonic()
    one.master.send_signal(signal.SIGTERM)
    assert one.rest()[1:] == [{"what": "ended", "signal": 9}, {"what": "swept", "left": []}]
    assert time.monotonic() - begun > 0.3


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_the_master_dies(kept: Any, number: int, tmp_path: Path) -> None:
    (tmp_path / "daemon.py").write_text(DAEMON)
    one = kept(f"trap '' TERM; {sys.executable} daemon.py & setsid sleep 1000 & touch ready; sleep 1000 & wait")
    one.until((tmp_path / "daemon").exists)
    one.master.send_signal(number)
    one.until(lambda: one.marked() == [])
    one.until(lambda: not Path("/proc", (tmp_path / "daemon").read_text(), "stat").exists())
    one.until(lambda: not Path("/proc", str(one.keeper), "stat").exists())


def test_the_keeper_dies(kept: Any, tmp_path: Path) -> None:
    (tmp_path / "daemon.py").write_text(DAEMON)
    one = kept(f"{sys.executable} daemon.py & setsid sleep 1000 & sleep 1000")
    one.until((tmp_path / "daemon").exists)
    os.kill(one.keeper, signal.SIGKILL)
    assert one.rest()[-1] == {"what": "gone"}
    assert one.marked() == []
    assert not Path("/proc", (tmp_path / "daemon").read_text(), "stat").exists()


def test_a_keeper_that_is_told_to_end(kept: Any) -> None:
    one = kept("trap 'exit 6' TERM; touch ready; while :; do sleep 0.05; done")
    one.until((one.folder / "ready").exists)
    os.kill(one.keeper, signal.SIGTERM)
    assert one.rest()[1:] == [{"what": "ended", "exit": 6}, {"what": "swept", "left": []}]


def test_no_descriptor_of_ours(kept: Any, tmp_path: Path) -> None:
    kept("exec ls /proc/self/fd").rest()
    assert (tmp_path / "stdout").read_text().split() == ["0", "1", "2", "3"]  # 3: the folder that ls reads
