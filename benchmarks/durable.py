"""What durable local runs cost: latency, waiting, growth, looking, resuming: ``python benchmarks/durable.py [PART]``

Every part prints one line with what it measured; all of them run through the public commands, in folders of their own.
Quiet machine wanted: wall times are beside whatever else runs.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STATE = '"*": {platform: local, engine: cmd_line}\n'


def project(folder: Path, jobs: int, body: str) -> Path:
    """A project whose workflow is ``body``, with ``jobs`` jobs ``j0``, ``j1``, ..."""
    folder.mkdir()
    (folder / "workflow.py").write_text(f"import aiflow_ext as af\n@af.workflow\ndef bench():\n{body}")
    (folder / "workflow.yaml").write_text(STATE + "".join(f"j{number}: {{}}\n" for number in range(jobs)))
    return folder


def layered(width: int, jobs: int, command: str) -> str:
    """Layers of ``width`` jobs; each job waits for the one before it in its column."""
    return (
        f"    for n in range({jobs}):\n"
        f"        with af.job(f'j{{n}}'): af.cmd({command})\n"
        f"        if n >= {width}: af.run_after(f'j{{n}}', f'j{{n - {width}}}')\n"
    )


def aiflow(*words: str, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    """The command line, started; what it prints goes nowhere, for nobody would read it."""
    return subprocess.Popen([sys.executable, "-m", "aiflow_ext", *words], stdout=stdout, text=True)


def ran(*words: str) -> tuple[float, str]:
    """Seconds that a command took, and what it printed."""
    start = time.perf_counter()
    process = aiflow(*words, stdout=subprocess.PIPE)
    said, _ = process.communicate()
    return time.perf_counter() - start, said


def listed(folder: Path) -> list[Any]:
    """The runs of a project, newest first; none before there is a first."""
    found = json.loads(ran("runs", "--project", str(folder), "--json")[1] or "[]")
    return found if isinstance(found, list) else []


def record(folder: Path) -> dict[str, object]:
    """The record of a project's latest run."""
    found = json.loads(ran("status", listed(folder)[0]["run"], "--project", str(folder), "--json")[1])
    return found  # type: ignore[no-any-return]


def memory_mb(pids: list[int]) -> float:
    """Proportional resident memory."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def ours(folder: Path) -> list[int]:
    """The processes of a project: its driver and its supervisors."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                words = (each / "cmdline").read_bytes().decode(errors="replace")
                links = [os.readlink(link) for link in (each / "fd").iterdir()]
            except OSError:
                continue
            if "python" in words and any(link.startswith(f"{folder}/.aiflow/") for link in links):
                found.append(int(each.name))
    return found


def cpu(pids: list[int]) -> float:
    """Seconds of CPU that processes have had."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def latency(work: Path) -> str:
    """A chain of 100: from one end to the next."""
    folder = project(work / "chain", 100, layered(1, 100, "'/bin/true'"))
    ran("run", str(folder), "--jobs", "2")
    jobs = record(folder)["jobs"]
    ends = sorted(job["attempts"][0]["ended_at"] for job in jobs)  # type: ignore[attr-defined,index]
    steps = sorted(after - before for before, after in itertools.pairwise(ends))
    return f"one job, ready to noticed end, median of a chain of 100: {steps[len(steps) // 2] * 1000:.1f} ms (bar 5)"


def growth(work: Path) -> str:
    """Cost per job in runs of 100, 1,000 and 10,000, a hundred wide; memory of the largest."""
    took, most = {}, 0.0
    for jobs in (100, 1000, 10000):
        folder = project(work / f"wide{jobs}", jobs, layered(100, jobs, "'/bin/true'"))
        start = time.perf_counter()
        process = aiflow("run", str(folder), "--jobs", "2")
        while True:
            try:
                process.wait(0.5)
                break
            except subprocess.TimeoutExpired:
                most = max(most, memory_mb(ours(folder)))
        took[jobs] = time.perf_counter() - start
    small, large = (took[1000] - took[100]) / 900, (took[10000] - took[1000]) / 9000
    return (
        f"cost per job: {small * 1000:.2f} ms up to 1,000, {large * 1000:.2f} ms up to 10,000 = {large / small:.2f}x "
        f"(bar 1.2); driver and supervisor {most:.0f} MB (bar 150)"
    )


def waiting(work: Path) -> str:
    """CPU of driver and supervisor while 200 jobs sleep."""
    body = "".join(f"    with af.job('j{number}'): af.cmd(['/bin/sleep', '600'])\n" for number in range(200))
    folder = project(work / "sleep", 200, body)
    process = aiflow("run", str(folder), "--jobs", "200")
    running = 0
    while running < 200:
        time.sleep(1.0)
        running = sum(job["state"] == "RUNNING" for job in record(folder)["jobs"])  # type: ignore[attr-defined,index]
    pids = ours(folder)
    before = cpu(pids)
    time.sleep(30.0)
    spent = cpu(pids) - before
    process.send_signal(signal.SIGTERM)
    process.wait()
    ran("stop", str(record(folder)["run"]), "--project", str(folder), "--grace", "1")
    return f"waiting for 200 sleeping jobs for 30 s: {spent:.2f} s of CPU (bar 0.1)"


def looking(work: Path) -> str:
    """``status`` of a run of 10,000 jobs, killed half-way, and its resume."""
    folder = project(work / "half", 10000, layered(100, 10000, "'/bin/true'"))
    process = aiflow("run", str(folder), "--jobs", "2")
    finished = 0
    while finished < 5000:
        time.sleep(1.0)
        runs = listed(folder)
        finished = runs[0]["jobs"].get("FINISHED", 0) if runs else 0
    process.kill()
    process.wait()
    run = str(runs[0]["run"])
    first_look, *looks = (ran("status", run, "--project", str(folder))[0] for _ in range(4))
    start, began = time.perf_counter(), time.time()
    process = aiflow("resume", run, "--project", str(folder))
    first = 0.0
    while not first:
        time.sleep(0.2)
        jobs = record(folder)["jobs"]
        starts = [job["attempts"][-1]["submitted_at"] for job in jobs if job["attempts"]]  # type: ignore[attr-defined,index]
        first = min((moment for moment in starts if moment and moment > began), default=0.0)
        if time.perf_counter() - start > 60:
            break
    process.kill()
    process.wait()
    return (
        f"status of 10,000 jobs: {first_look:.2f} s after a kill, then {min(looks):.2f} s (bar 0.5); "
        f"resume with {finished:,} finished: "
        f"{first - began:.2f} s until the next job (bar 3)"
    )


PARTS: dict[str, Callable[[Path], str]] = {
    "latency": latency,
    "waiting": waiting,
    "growth": growth,
    "looking": looking,
}


def main() -> None:
    """Measure the parts named on the command line, or all."""
    with tempfile.TemporaryDirectory() as work:
        os.environ["XDG_STATE_HOME"] = f"{work}/state"
        for name in sys.argv[1:] or PARTS:
            print(PARTS[name](Path(work)), flush=True)


if __name__ == "__main__":
    main()
