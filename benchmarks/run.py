#!/usr/bin/env python3
"""Every figure that the README and the issues speak of, side by side with peers, in one run and one table.

The peers are run by a harness of their own (``bench_discovery.py`` and its siblings), which stands beside this
repository or where ``--bench`` says. Its environments come from PyPI and take a few minutes the first time; keep
``--work`` between runs. Compare ratios within a run, not milliseconds across runs.

    python benchmarks/run.py --work /path/to/scratch            # all of it, about 25 minutes
    python benchmarks/run.py --work /path/to/scratch discovery split
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
Row = tuple[str, str, str, str]


class Harness:
    """The peers' harness and the folder that it works in."""

    def __init__(self, home: Path, work: Path) -> None:
        self.home, self.work = home, work
        self.env = {**os.environ, "BENCH_EXTRA": str(HERE / "contenders.py")}

    def run(self, script: str, *args: str) -> None:
        """Run one of its scripts; its own tables go to stderr."""
        argv = [sys.executable, str(self.home / script), "--work", str(self.work), *args]
        subprocess.run(argv, env=self.env, check=True, stdout=sys.stderr)

    def results(self, name: str) -> list[dict[str, Any]]:
        """What a script has measured."""
        found: list[dict[str, Any]] = json.loads((self.work / "results" / f"{name}.json").read_text())["results"]
        return found


def discovery(harness: Harness, rounds: int) -> list[Row]:
    """Listing and resolving over synthetic site-packages."""
    harness.run("envs.py", "plugins")
    harness.run("bench_discovery.py", "--rounds", str(rounds))
    found = {(r["dists"], r["plugins"], r["cost_ms"], r["task"], r["name"]): r["lib"]
             for r in harness.results("discovery")}  # fmt: skip

    def at(task: str, name: str, dists: int = 1000, plugins: int = 300, cost: float = 0) -> float:
        return float(found[dists, plugins, cost, task, name])

    warm, bound = at("list", "aiflow-ext warm"), at("list", "bound: scandir + entry_points.txt")
    cold, metadata = at("list", "aiflow-ext, no index"), at("list", "importlib-metadata backport")
    one, stevedore = at("one", "aiflow-ext warm"), at("one", "stevedore Driver, warm cache")
    few, many = at("one", "aiflow-ext warm", 100, 30), at("one", "aiflow-ext warm", 5000, 300)
    costly, eager = at("one", "aiflow-ext warm", cost=20), at("one", "pluggy eager all, then get_plugin", cost=20)
    return [
        ("list 300 of 1,000, warm", f"{warm:.1f} ms", "<= 15 ms, below scandir", f"scandir {bound:.1f} ms"),
        ("list, cold", f"{cold:.0f} ms = {cold / metadata:.2f}x", "<= 1.3x importlib_metadata", f"{metadata:.0f} ms"),
        ("resolve one, warm", f"{one:.1f} ms", "<= 60 ms", f"stevedore {stevedore:.0f} ms"),
        ("  100 / 5,000 distributions", f"{few / one:.2f}x / {many / one:.2f}x", "within 15 %", ""),
        ("  20 ms to import each of 300", f"+{costly - one:.0f} ms", "costs one", f"pluggy eager {eager:.0f} ms"),
        whole_process(harness, rounds),
    ]


def whole_process(harness: Harness, rounds: int) -> Row:
    """``aiflow-ext plugins --json`` on the site with 1,000 distributions of which 300 advertise."""
    python = harness.work / "sites" / "n1000p300" / "bin" / "python"
    env = {**os.environ, "XDG_CACHE_HOME": str(harness.work / "cache")}
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        argv = [python, "-m", "aiflow_ext", "plugins", "--json"]
        subprocess.run(argv, env=env, check=True, stdout=subprocess.DEVNULL)
        times.append((time.perf_counter() - start) * 1000)
    return "aiflow-ext plugins --json", f"{statistics.median(times[1:]):.0f} ms", "<= 150 ms", ""


def imports(harness: Harness, rounds: int) -> list[Row]:
    """What ``import aiflow_ext`` costs."""
    harness.run("envs.py", "plugins", "libs")
    harness.run("bench_imports.py", "--rounds", str(rounds))
    net = {r["module"]: r["net_wall_ms"] for r in harness.results("imports")}
    peers = f"pluggy {net['pluggy']:.0f}, attrs {net['attrs']:.0f} ms"
    return [("import aiflow_ext, net", f"{net['aiflow_ext']:.1f} ms", "<= 10 ms", peers)]


def hooks(harness: Harness, rounds: int) -> list[Row]:
    """One hook call through a resolved plugin."""
    harness.run("envs.py", "plugins")
    harness.run("bench_hooks.py")
    ns = {r["name"]: r["ns"] for r in harness.results("hooks")}
    base = ns["pluggy firstresult, 1 plugin"]
    last = ns["pluggy firstresult, 30 plugins, only the last answers"]
    alone, crowd = ns["aiflow-ext resolved plugin"], ns["aiflow-ext resolved plugin, 300 others"]
    return [
        ("hook call", f"{alone / base:.2f}x", "<= 1.2x pluggy with one", f"pluggy, 30 plugins {last / base:.1f}x"),
        ("  with 300 others installed", f"{crowd / base:.2f}x", "<= 1.2x", ""),
    ]


def split(harness: Harness, rounds: int) -> list[Row]:
    """A graph into jobs."""
    harness.run("envs.py", "plugins")
    harness.run("bench_split.py", "--nodes", "5000", "10000", "100000", "--rounds", str(rounds))
    found = {r["name"]: r for r in harness.results("split-10") if r["step"] == "split"}
    ours, least = found["aiflow-ext"], found["stdlib union-find"]
    return [
        ("split 5,000 nodes", f"{ours['s'][0] * 1000:.1f} ms", "<= 50 ms", f"union-find {least['s'][0] * 1000:.1f} ms"),
        ("  growth to 100,000", " ".join(f"{e:.2f}" for e in ours["exponents"]), "<= 1.1", ""),
    ]


def jobs(harness: Harness, rounds: int) -> list[Row]:
    """Local no-op jobs through the public path."""
    harness.run("envs.py", "local")
    harness.run("bench_jobs.py", "--concurrency", "2", "--rounds", "3", "--only", "raw", "aiflow-ext")
    rate = {r["name"]: 1000 / r["per_job_ms"] for r in harness.results("jobs")}
    raw, ours = rate["raw subprocess.Popen"], rate["aiflow-ext"]
    return [("1,000 local jobs, 2 at a time", f"{ours:.0f}/s = {ours / raw:.2f}x", ">= 0.4x", f"Popen {raw:.0f}/s")]


def in_process(harness: Harness, rounds: int) -> list[Row]:
    """``aiflow-ext run --in-process`` of the example hello: three jobs, without a supervisor."""
    project = harness.work / "hello"
    shutil.rmtree(project, ignore_errors=True)
    shutil.copytree(HERE.parent / "examples" / "hello", project, ignore=shutil.ignore_patterns(".aiflow"))
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    argv = [sys.executable, "-m", "aiflow_ext", "run", str(project)]
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds + 1):
        for name, command in {
            "in process": [*argv, "--in-process"], "run": argv, "import": [sys.executable, "-c", "import aiflow_ext"],
        }.items():  # fmt: skip
            start = time.perf_counter()
            subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            seconds.setdefault(name, []).append(time.perf_counter() - start)
    took = {name: f"{statistics.median(times[1:]) * 1000:.0f} ms" for name, times in seconds.items()}
    return [("hello in process", took["in process"], "<= 300 ms", f"run {took['run']}, import {took['import']}")]


MANY = """import aiflow_ext as af

@af.workflow
def many():
    for number in range(1000):
        with af.job(f"step-{number}"):
            af.cmd("true" if number % 10 else "echo wrong >&2; false")
        if number >= 100:
            af.run_after(f"step-{number}", f"step-{number - 100}", when="ended")
"""


def report(harness: Harness, rounds: int) -> list[Row]:
    """``aiflow-ext report`` of a run of 1,000 jobs, of which 100 have failed."""
    project = harness.work / "many"
    shutil.rmtree(project, ignore_errors=True)
    project.mkdir()
    (project / "workflow.py").write_text(MANY)
    (project / "workflow.yaml").write_text('"*": {platform: local, engine: cmd_line}\n')
    argv = [sys.executable, "-m", "aiflow_ext"]
    subprocess.run([*argv, "run", str(project)], check=False, stdout=subprocess.DEVNULL)  # some jobs are to fail
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        made = subprocess.run([*argv, "report", "latest", "--project", str(project)], check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    size = Path(made.stdout.decode().strip()).stat().st_size
    took = f"{statistics.median(seconds):.2f} s, {size / 1e6:.2f} MB"
    return [("report of a run of 1,000 jobs", took, "<= 2 s, <= 2 MB", "")]


MEASURES: dict[str, Callable[[Harness, int], list[Row]]] = {
    "discovery": discovery, "imports": imports, "hooks": hooks, "split": split, "jobs": jobs,
    "in_process": in_process, "report": report,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"of {', '.join(MEASURES)}; all by default")
    parser.add_argument("--work", type=Path, default=HERE / "results", help="a folder to keep between runs")
    parser.add_argument("--bench", type=Path, default=HERE.parents[1] / "shared" / "bench", help="the harness's folder")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    unknown = set(args.measures) - set(MEASURES)
    if unknown:
        parser.error(f"there is no measure {', '.join(sorted(unknown))}")
    if not (args.bench / "bench_discovery.py").exists():
        parser.error(f"the peers' harness is not in {args.bench}: say where it is with --bench")
    args.work.mkdir(parents=True, exist_ok=True)
    harness = Harness(args.bench.resolve(), args.work.resolve())
    rows: list[Row] = [("measure", "here", "bar", "peers")]
    for name in args.measures or MEASURES:
        rows += MEASURES[name](harness, args.rounds)
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for number, row in enumerate(rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


if __name__ == "__main__":
    main()
