"""Jobs a second and CPU a job of the supervisor, beside raw subprocess.Popen in the same run.

``start and wait``: one caller, so many jobs at a time, the oldest awaited first. ``start and events``: the same, ends
taken from the stream of events as a driver takes them. CPU is that of the client and of the supervisor, without the
jobs' own. ``latency`` is start to noticed end of one job after another, the job's own time included.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from aiflow_ext.supervise import ProcessSpec, Supervisor

TICK = os.sysconf("SC_CLK_TCK")


def raw(count: int, width: int) -> None:
    """The same jobs by subprocess.Popen."""
    running: deque[subprocess.Popen[bytes]] = deque()
    for _ in range(count):
        if len(running) == width:
            running.popleft().wait()
        running.append(subprocess.Popen(["/bin/true"]))
    for child in running:
        child.wait()


class Folder:
    """A folder with its supervisor, up and warm."""

    def __init__(self) -> None:
        self.path = tempfile.mkdtemp(prefix="supervise-")
        self.supervisor = Supervisor(self.path)
        self.env = dict(os.environ)
        self.number = 0
        self.events = self.supervisor.events()
        self.wait(self.start())
        self.pid = int(Path(self.path, "supervisor.lock").read_text().split()[0])

    def start(self, *argv: str) -> str:
        """Start the next job; its id."""
        self.number += 1
        id = f"job{self.number}"
        env = {**self.env, "AIFLOW_MARK": id}
        out = f"{self.path}/log"
        self.supervisor.start(ProcessSpec(id, list(argv) or ["/bin/true"], env, self.path, out, out, id))
        return id

    def wait(self, id: str) -> None:
        """Wait for a job's end."""
        record = self.supervisor.wait(id)
        assert record is not None
        assert record.exit_code == 0 or record.signal, record

    def by_wait(self, count: int, width: int) -> None:
        """Jobs by start and wait."""
        running: deque[str] = deque()
        for _ in range(count):
            if len(running) == width:
                self.wait(running.popleft())
            running.append(self.start())
        for id in running:
            self.wait(id)

    def by_events(self, count: int, width: int) -> None:
        """Jobs by start and events."""
        started, running = 0, 0
        seen = {f"job{number}" for number in range(1, self.number + 1)}
        while started < count or running:
            while started < count and running < width:
                self.start()
                started, running = started + 1, running + 1
            for record in self.events:
                if record is not None and record.ended and record.id not in seen:
                    seen.add(record.id)
                    running -= 1
                    break

    def cpu(self) -> float:
        """Seconds of CPU of the supervisor, its jobs' not included, and of this process."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK + time.process_time()

    def resident(self) -> float:
        """Resident megabytes of the supervisor."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def close(self) -> None:
        """Let it all go."""
        self.supervisor.close()
        shutil.rmtree(self.path)


def rate(run: Callable[[int, int], None], count: int, width: int) -> float:
    """Jobs a second."""
    before = time.perf_counter()
    run(count, width)
    return count / (time.perf_counter() - before)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=300, help="jobs a round")
    parser.add_argument("--width", type=int, default=2, help="jobs at a time")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--sleepers", type=int, default=200, help="sleeping jobs to wait for")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to wait for them")
    args = parser.parse_args()
    folder = Folder()
    try:
        contenders = {"raw Popen": raw, "start and wait": folder.by_wait, "start and events": folder.by_events}
        rates: dict[str, list[float]] = {name: [] for name in contenders}
        spent: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(args.rounds):
            for name, run in contenders.items():
                before = folder.cpu()
                rates[name].append(rate(run, args.count, args.width))
                spent[name].append((folder.cpu() - before) / args.count)
        base = statistics.median(rates["raw Popen"])
        for name in contenders:
            median = statistics.median(rates[name])
            cost = statistics.median(spent[name]) * 1000
            print(f"{name:<18}{median:8.0f} jobs/s{median / base:7.2f} x raw{cost:8.2f} ms CPU a job")
        latencies = []
        for _ in range(100):
            before = time.perf_counter()
            folder.by_wait(1, 1)
            latencies.append(time.perf_counter() - before)
        print(f"{'latency':<18}{statistics.median(latencies) * 1000:8.2f} ms (median of 100)")
        print(f"{'supervisor':<18}{folder.resident():8.1f} MB after {folder.number} jobs")
        ids = [folder.start("/bin/sleep", str(args.seconds * 10 + 60)) for _ in range(args.sleepers)]
        for record in folder.events:
            if record is not None and record.id == ids[-1] and record.state == "running":
                break
        before, until = folder.cpu(), time.monotonic() + args.seconds
        while time.monotonic() < until:
            next(folder.events)
        print(f"{'waiting':<18}{folder.cpu() - before:8.3f} s CPU for {args.sleepers} jobs, {args.seconds:.0f} s")
        before_stop = time.perf_counter()
        for id in ids:
            folder.supervisor.stop_nowait(id, 5)
        for id in ids:
            folder.wait(id)
        print(f"{'stopping':<18}{time.perf_counter() - before_stop:8.3f} s for all {args.sleepers}")
    finally:
        folder.close()


if __name__ == "__main__":
    main()
