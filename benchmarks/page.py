"""What it costs a driver that somebody looks at its run: ``python benchmarks/page.py [ROUNDS] [JOBS]``

A run of short jobs alone, and one that a page follows, by turns. Processor seconds of the driver hold on a busy
machine, too; the time on the wall wants a quiet one.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

from durable import aiflow, project


class Took(NamedTuple):
    """Seconds on the wall, processor seconds of the driver and of the page's server, and how many events it sent."""

    wall: float
    driver: float
    server: float
    told: int


class Page:
    """A page that is served."""

    def __init__(self) -> None:
        self._process = aiflow("ui", stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        address, _, self._token = self._process.stdout.readline().strip().partition("/#token=")
        self._port = int(address.rpartition(":")[2])

    def get(self, path: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        connection.request("GET", path, headers={"Authorization": f"Bearer {self._token}"})
        return connection.getresponse()

    def used(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


def run(folder: Path, page: Page, *, looked: bool) -> Took:
    """One run."""
    start, server, told = time.monotonic(), page.used(), [0]
    driver = aiflow("run", str(folder))
    if looked:
        while not (found := [each for each in json.load(page.get("/api/runs")) if each["driver"] == driver.pid]):
            time.sleep(0.05)
        events = f"/api/runs/{found[0]['run']}/events"
        threading.Thread(target=follow, args=(page, events, told), daemon=True).start()
    _, _, used = os.wait4(driver.pid, 0)
    driver.returncode = 0
    return Took(time.monotonic() - start, used.ru_utime + used.ru_stime, page.used() - server, told[0])


def follow(page: Page, path: str, told: list[int]) -> None:
    """Read a stream of events to its end."""
    try:
        answer = page.get(path)
        while line := answer.readline():
            told[0] += line.startswith(b"event")
    except (OSError, http.client.HTTPException):
        return  # the page has ended


def main(rounds: int = 5, jobs: int = 1000) -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ["XDG_STATE_HOME"] = f"{home}/state"
        body = f"    for n in range({jobs}):\n        with af.job(f'j{{n}}'): af.cmd('true')\n"
        folder = project(Path(home, "project"), jobs, body)
        took: dict[bool, list[Took]] = {False: [], True: []}
        for number in range(rounds):
            for looked in (False, True) if number % 2 else (True, False):
                page = Page()
                took[looked].append(run(folder, page, looked=looked))
                page.close()
        alone, seen = (
            [statistics.median(each) for each in zip(*took[looked], strict=True)] for looked in (False, True)
        )
        print(f"{jobs} jobs, median of {rounds}: alone {alone[0]:.1f} s, looked at {seen[0]:.1f} s "
              f"({seen[0] / alone[0]:.3f}x); the driver's processor time {alone[1]:.2f} s, {seen[1]:.2f} s "
              f"({seen[1] / alone[1]:.3f}x); the server's {seen[2]:.2f} s for {seen[3]:.0f} events")  # fmt: skip


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
