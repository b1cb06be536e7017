"""Two checkouts side by side in one run: ``python benchmarks/compare.py BEFORE AFTER [--rounds N] [PART ...]``

``BEFORE`` and ``AFTER`` are clones whose ``.venv`` has been made (``make .venv/dev``). Each part is a public command.
The checkouts take turns, so that both see the same load; a ratio is AFTER / BEFORE. ``cpu`` is the user and system time
of the command and of the processes that it waited for; a run's jobs and its supervisor are not among them. ``memory``
is the largest resident size of any one of these processes. The figure is the median of all rounds' ratios. The ratio
of the two fastest rounds is beside it, because it changes least with load.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

CONFIG = '"*": {platform: local, engine: cmd_line}\n'
JOBS = 1000

WORKFLOWS = {
    # Independent jobs, jobs in a row, and independent jobs of which the last fails until a file is there.
    "many": f"    for n in range({JOBS}):\n        with af.job(f'j{{n}}'): af.cmd('/bin/true')\n",
    "chain": (
        "    for n in range(100):\n"
        "        with af.job(f'j{n}'): af.cmd('/bin/true')\n"
        "        if n: af.run_after(f'j{n}', f'j{n - 1}')\n"
    ),
    "failing": (
        f"    for n in range({JOBS}):\n"
        f"        with af.job(f'j{{n}}'): af.cmd('/bin/true' if n < {JOBS - 1} else '/bin/false')\n"
    ),
}


@dataclass
class Sample:
    """What one command cost: seconds of wall time, seconds of CPU, MiB of memory."""

    wall: float
    cpu: float
    memory: float


class Checkout:
    """A checkout with projects and state folders of its own."""

    def __init__(self, source: Path, work: Path) -> None:
        self.python = source.resolve() / ".venv/bin/python"
        self.work = work
        self.env = {**os.environ, "XDG_CACHE_HOME": str(work / "cache"), "XDG_STATE_HOME": str(work / "state")}
        self.env.pop("PYTHONDONTWRITEBYTECODE", None)  # or every command compiles every module
        self.projects = {}
        for name, body in WORKFLOWS.items():
            self.projects[name] = folder = work / name
            folder.mkdir(parents=True)
            (folder / "workflow.py").write_text(f"import aiflow_ext as af\n@af.workflow\ndef {name}():\n{body}")
            jobs = 100 if name == "chain" else JOBS
            (folder / "workflow.yaml").write_text(CONFIG + "".join(f"j{number}: {{}}\n" for number in range(jobs)))

    def measure(self, *argv: str, expected: int = 0) -> Sample:
        """Run the interpreter with these arguments; SystemExit where it ends otherwise than expected."""
        start = time.perf_counter()
        with tempfile.TemporaryFile() as errors:
            child = subprocess.Popen(
                [self.python, *argv], env=self.env, cwd=self.work, stdout=subprocess.DEVNULL, stderr=errors
            )
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            wall = time.perf_counter() - start
            if child.returncode != expected:
                errors.seek(0)
                raise SystemExit(f"{argv} ended with {child.returncode}: {errors.read().decode(errors='replace')}")
        return Sample(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)

    def aiflow(self, command: str, project: str, *words: str, expected: int = 0) -> Sample:
        """Run one command of the product for a project."""
        return self.measure("-m", "aiflow_ext", command, *words, str(self.projects[project]), expected=expected)

    def of_latest(self, command: str, project: str, expected: int = 0) -> Sample:
        """Run one command for the newest run of a project."""
        words = ("-m", "aiflow_ext", command, "latest", "--project", str(self.projects[project]))
        return self.measure(*words, expected=expected)


PARTS = {
    "import": lambda it: it.measure("-c", "import aiflow_ext"),
    "plugins": lambda it: it.measure("-m", "aiflow_ext", "plugins"),
    f"render {JOBS} jobs": lambda it: it.aiflow("render", "many"),
    f"run {JOBS} x /bin/true, 2 at a time": lambda it: it.aiflow("run", "many", "--jobs", "2"),
    "run a chain of 100": lambda it: it.aiflow("run", "chain"),
    f"status of {JOBS} jobs": lambda it: it.of_latest("status", "many"),
    "runs": lambda it: it.measure("-m", "aiflow_ext", "runs"),
    f"resume, {JOBS - 1} of {JOBS} done": lambda it: it.of_latest("resume", "failing", expected=1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("parts", nargs="*", help=f"first words of: {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--work", help="folder for projects and state; a tmpfs takes the disk out of the figures")
    given = parser.parse_args()
    chosen = [part for part in PARTS if not given.parts or part.split(",")[0].split()[0] in given.parts]
    with tempfile.TemporaryDirectory(prefix="compare-", dir=given.work) as work:
        checkouts = [Checkout(given.before, Path(work, "before")), Checkout(given.after, Path(work, "after"))]
        for checkout in checkouts:  # caches are warm, and there are runs to look at
            checkout.aiflow("run", "many", "--jobs", "2")
            checkout.aiflow("run", "failing", "--jobs", "2", expected=1)
        print(
            "| part | before: wall, cpu, memory | wall | cpu | memory | fastest wall, cpu |\n|---|---|---|---|---|---|"
        )
        for part in chosen:
            rounds: list[tuple[Sample, Sample]] = []
            for number in range(given.rounds):
                pair = [PARTS[part](checkout) for checkout in checkouts[:: 1 if number % 2 else -1]]
                rounds.append((pair[0], pair[1]) if number % 2 else (pair[1], pair[0]))
            print(row(part, rounds), flush=True)


def row(part: str, rounds: list[tuple[Sample, Sample]]) -> str:
    """One line of the table."""

    def ratio(name: str) -> float:
        return statistics.median(float(getattr(after, name) / getattr(before, name)) for before, after in rounds)

    def fastest(name: str) -> float:
        return float(min(getattr(after, name) for _, after in rounds) / min(getattr(b, name) for b, _ in rounds))

    wall, cpu, memory = (statistics.median(getattr(b, name) for b, _ in rounds) for name in ("wall", "cpu", "memory"))
    return (
        f"| {part} | {wall:.3f} s, {cpu:.3f} s, {memory:.0f} MiB | {ratio('wall'):.2f} | {ratio('cpu'):.2f} | "
        f"{ratio('memory'):.2f} | {fastest('wall'):.2f}, {fastest('cpu'):.2f} |"
    )


if __name__ == "__main__":
    main()
