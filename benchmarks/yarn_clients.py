#!/usr/bin/env python3
"""Real clients of platform yarn on the tests' fake ResourceManager: what many of them, or many jobs of one, cost.

A fake, because 50 clients and 500 running jobs do not fit into a cluster on one machine; it answers as Hadoop's REST
API does, at once or after ``LATENCY``.

    python benchmarks/yarn_clients.py                # all of it, three minutes
    python benchmarks/yarn_clients.py clients        # one of clients, submissions, memory
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests/yarn"))

from cluster_server import Cluster, Reply  # noqa: E402

CLIENTS, AT_ONCE, SECONDS = 50, 3, 60
LATENCY = 0.06  # seconds before each answer, where submissions are measured
_APP = re.compile(r"/apps/(application_\w+)")
Row = tuple[str, str, str]


class Crowded(Cluster):
    """The fake, which ends each job a few seconds after its submission, and notes when its client is told of it.

    Attributes:
        lasts: seconds that a job takes at least and at most; None: until the end.
        told: by application, how many seconds after its end it was first in an answer.
    """

    def __init__(self, lasts: tuple[float, float] | None, latency: float = 0.0) -> None:
        super().__init__()
        self.lasts, self.told = lasts, dict[str, float]()
        self.submitted_at: list[float] = []
        self._ended: dict[str, float] = {}
        self.before = lambda _: time.sleep(latency)

    def _resource_manager(self, method: str, path: str, query: dict[str, str], body: bytes) -> Reply:
        reply = super()._resource_manager(method, path, query, body)
        if path == "/apps" and method == "POST":
            native_id = self.submitted[-1]
            self.submitted_at.append(time.monotonic())
            if self.lasts is not None:
                timer = threading.Timer(random.uniform(*self.lasts), self._end, (native_id,))
                timer.daemon = True
                timer.start()
        shown = _APP.fullmatch(path)
        if path == "/apps" and method == "GET" and "FINISHED" in query["states"]:
            for app in (reply[1]["apps"] or {"app": []})["app"]:
                self._note(app["id"])
        elif method == "GET" and shown is not None and reply[1].get("app", {}).get("state") == "FINISHED":
            self._note(shown[1])
        return reply

    def _end(self, native_id: str) -> None:
        self._ended[native_id] = time.monotonic()
        self.finish(native_id)

    def _note(self, native_id: str) -> None:
        if native_id in self._ended:
            self.told.setdefault(native_id, time.monotonic() - self._ended[native_id])


def clients(folder: Path) -> list[Row]:
    """So many clients whose jobs change all the time: requests a second in all, and how late ends are noticed."""
    with Crowded((1.0, 5.0)) as rm:
        runs = [_begin(_project(folder / f"client{number}", rm, jobs=200), "--jobs", str(AT_ONCE))
                for number in range(CLIENTS)]  # fmt: skip
        try:
            while len(set(rm.submitted)) < CLIENTS * AT_ONCE:
                time.sleep(0.5)
            rm.told.clear()
            before, began = len(rm.asked), time.monotonic()
            time.sleep(SECONDS)  # no synchronisation: what is measured is a minute
            seconds, asked = time.monotonic() - began, rm.asked[before:]
        finally:
            for run in runs:
                run.kill()
                run.wait()
    jobs = sum(each.startswith("POST /apps?") for each in asked)
    polls = sum(each.startswith("GET /apps") for each in asked) - jobs  # each submission asks whether it is stored
    late = sorted(rm.told.values())
    every = f"{len(asked) / seconds:.0f} a second; {jobs / seconds:.1f} submissions a second"
    told = f"{statistics.median(late):.1f}, {late[len(late) * 99 // 100]:.1f}, {late[-1]:.1f} s"
    return [
        (f"{CLIENTS} clients, {AT_ONCE} jobs of 1 to 5 s each: polls", f"{polls / seconds:.0f} a second", "<= 50"),
        ("all their requests to the ResourceManager", every, ""),
        ("ends noticed after (median, 99 of 100, last)", told, "<= 2"),
    ]


def submissions(folder: Path) -> list[Row]:
    """120 jobs, 60 at once: how many are submitted in a second, and the requests of each."""
    with Crowded((0.5, 0.5), LATENCY) as rm:
        _begin(_project(folder / "submissions", rm, jobs=120), "--jobs", "60").wait()
    first, last = rm.submitted_at[0], rm.submitted_at[59]
    whole = f"{len(rm.asked) / 120:.1f} to the ResourceManager"
    return [
        (f"submissions, {LATENCY * 1000:.0f} ms before each answer", f"{59 / (last - first):.1f} a second", ">= 10"),
        ("requests a job", f"{whole}, {rm.files_asked / 120:.1f} to the NameNode", ""),
    ]


def memory(folder: Path) -> list[Row]:
    """A client with 500 running jobs."""
    with Crowded(None) as rm:
        run = _begin(_project(folder / "memory", rm, jobs=500, command="sleep 1000"), "--jobs", "500")
        try:
            while len(rm.submitted) < 500:
                time.sleep(0.5)
            time.sleep(20)  # no synchronisation: it polls meanwhile
            lines = Path(f"/proc/{run.pid}/status").read_text().splitlines()
        finally:
            run.kill()
            run.wait()
    found = {line.split(":")[0]: float(line.split()[1]) for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    resident = f"{found['VmRSS'] / 1024:.0f} MB resident (most {found['VmHWM'] / 1024:.0f})"
    return [("client memory with 500 running jobs", resident, "<= 65")]


def _project(folder: Path, rm: Cluster, jobs: int, command: str = "sleep 1") -> Path:
    """A project of so many jobs. The fake runs a job with ``sleep`` until it is told that it has ended."""
    folder.mkdir()
    body = "".join(f"    with af.job('j{number}'):\n        af.cmd({command!r})\n" for number in range(jobs))
    (folder / "workflow.py").write_text(f"import aiflow_ext as af\n\n@af.workflow\ndef bench():\n{body}")
    shared = {"platform": "yarn", "engine": "cmd_line", "user": "ada", "resource_manager": rm.url, "webhdfs": rm.url}
    (folder / "workflow.yaml").write_text(json.dumps({"*": shared, **{f"j{number}": {} for number in range(jobs)}}))
    return folder


def _begin(project: Path, *options: str) -> subprocess.Popen[bytes]:
    """A client: ``aiflow-ext run``."""
    env = {**os.environ, "XDG_STATE_HOME": str(project / "state"), "XDG_CACHE_HOME": str(project.parent / "cache")}
    return subprocess.Popen([sys.executable, "-m", "aiflow_ext", "run", str(project), *options], env=env,
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip


def main() -> None:
    """Measure and print a table."""
    measures = {"clients": clients, "submissions": submissions, "memory": memory}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", choices=[[], *measures], default=[])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that clients are ended
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for name in parser.parse_args().which or measures for row in measures[name](Path(folder))]
    width = max(len(row[0]) for row in rows)
    for what, found, bar in rows:
        print(f"{what:{width}}  {found}{f'   (bar: {bar})' if bar else ''}")


if __name__ == "__main__":
    main()
