#!/usr/bin/env python3
"""Platform yarn beside what Hadoop itself offers, on the tests' own cluster: how long a trivial job takes, how many of
them a second, and how often the cluster is asked while jobs run.

    python benchmarks/yarn.py              # all of it, about five minutes; needs Java and Maven, as the bed does
    python benchmarks/yarn.py trivial      # one of trivial, many, waiting

What many clients, and many jobs of one, cost: yarn_clients.py.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests/clusters/yarn"))

import yarn_hadoop  # noqa: E402
from yarn_bed import Bed  # noqa: E402
from yarn_runs import Workflow  # noqa: E402
from yarn_tap import Tap  # noqa: E402

ROUNDS = 5
SHELL = "org.apache.hadoop:hadoop-yarn-applications-distributedshell:3.4.2"  # Maven has no newer one
Row = tuple[str, str, str]


def trivial(bed: Bed) -> list[Row]:
    """One job of /bin/true, from the command line's start to its end, in turns with Hadoop's distributed shell."""
    jar = yarn_hadoop.extra(SHELL)
    ours, run_alone, theirs = [], [], []
    with _workflow(bed) as workflow:
        conf = _with_classes(bed, workflow.project.parent / "java-conf")
        workflow.write({"job": "true"})
        workflow.run()  # warm: the file system cache, the node's copy of the application master
        for _ in range(ROUNDS):
            began = time.monotonic()
            record = workflow.run()
            ours.append(time.monotonic() - began)
            assert record["exit"] == 0, record["said"]
            run_alone.append(record["ended_at"] - record["started_at"])
            began = time.monotonic()
            _shell(conf, jar)
            theirs.append(time.monotonic() - began)
    one, other = statistics.median(ours), statistics.median(theirs)
    return [
        ("a trivial job, whole command", f"{one:.2f} s (the run alone {statistics.median(run_alone):.2f} s)", ""),
        ("the same under Hadoop's distributed shell", f"{other:.2f} s", ""),
        ("ours / theirs", f"{one / other:.2f}", "<= 0.33"),
    ]


def many(bed: Bed) -> list[Row]:
    """60 trivial jobs, 8 at once."""
    rates = []
    with _workflow(bed) as workflow, _tapped(bed, workflow) as taps:
        workflow.write({f"j{number}": "true" for number in range(60)})
        for _ in range(3):
            record = workflow.run("--jobs", "8")
            assert record["exit"] == 0, record["said"]
            rates.append(60 / (record["ended_at"] - record["started_at"]))
        each = [len(tap.requests) / 180 for tap in taps]
    return [
        ("60 trivial jobs, 8 at once", f"{statistics.median(rates):.1f} jobs/s", ">= 3"),
        ("requests a job", f"{each[0]:.1f} to the ResourceManager, {each[1]:.1f} to the NameNode", ""),
    ]


def waiting(bed: Bed) -> list[Row]:
    """Requests to ResourceManager and NameNode in a minute in which 50 jobs run."""
    with _workflow(bed) as workflow, _tapped(bed, workflow) as taps:
        workflow.write({f"j{number}": workflow.until("go") for number in range(50)})
        process = workflow.begin("--jobs", "50")
        workflow.wait(lambda: workflow.count("start") == 50, 180)
        before = sum(len(tap.requests) for tap in taps)
        time.sleep(60)  # no synchronisation: what is measured is a minute
        after = sum(len(tap.requests) for tap in taps)
        workflow.put("go")
        record = workflow.finish(process)
        assert record["exit"] == 0, record["said"]
    return [("requests while 50 jobs run for a minute", f"{(after - before) / 60:.2f} a second", "<= 2")]


@contextmanager
def _workflow(bed: Bed) -> Iterator[Workflow]:
    with tempfile.TemporaryDirectory() as folder:
        workflow = Workflow(Path(folder), bed)
        try:
            yield workflow
        finally:
            workflow.close()


@contextmanager
def _tapped(bed: Bed, workflow: Workflow) -> Iterator[list[Tap]]:
    """Proxies in front of both services, to which the workflow is led."""
    taps = [Tap(bed.rm), Tap(bed.webhdfs)]
    conf = workflow.project.parent / "conf"
    shutil.copytree(bed.conf, conf)
    for name, tap in zip(("yarn-site.xml", "hdfs-site.xml"), taps, strict=True):
        text = (conf / name).read_text()
        (conf / name).write_text(text.replace(tap.target.netloc, urlsplit(tap.url).netloc))
    workflow.env["HADOOP_CONF_DIR"] = str(conf)
    try:
        yield taps
    finally:
        for tap in taps:
            tap.close()


def _with_classes(bed: Bed, folder: Path) -> Path:
    """The bed's configuration, and in it where containers find Hadoop's classes: a cluster for Java has that."""
    shutil.copytree(bed.conf, folder)
    value = f"{folder},{yarn_hadoop.install()}/lib/*"
    line = f"<property><name>yarn.application.classpath</name><value>{value}</value></property></configuration>"
    site = folder / "yarn-site.xml"
    site.write_text(site.read_text().replace("</configuration>", line))
    return folder


def _shell(conf: Path, jar: Path) -> None:
    home = yarn_hadoop.install()
    classes = f"{conf}:{jar}:{home}/lib/*"
    argv = [yarn_hadoop.java(), "--add-opens=java.base/java.lang=ALL-UNNAMED", "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1", "-cp", classes, "org.apache.hadoop.yarn.applications.distributedshell.Client",
            "-jar", str(jar), "-shell_command", "true", "-num_containers", "1", "-container_memory", "128",
            "-master_memory", "256", "-timeout", "120000"]  # fmt: skip
    env = {"PATH": "/usr/bin:/bin", "HADOOP_CONF_DIR": str(conf), "HADOOP_USER_NAME": "root"}
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
    )
    if "completed successfully" not in done.stdout:
        raise SystemExit(f"the distributed shell failed:\n{done.stdout[-3000:]}")


def main() -> None:
    """Measure and print a table."""
    measures = {"trivial": trivial, "many": many, "waiting": waiting}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", choices=[[], *measures], default=[])
    chosen = parser.parse_args().which or list(measures)
    bed = Bed.chosen()
    there = any(bed.status().values()) if bed.folder.exists() else False
    bed.up()
    try:
        rows = [row for name in chosen for row in measures[name](bed)]
    finally:
        if not there:
            bed.down()
    width = max(len(row[0]) for row in rows)
    for what, found, bar in rows:
        print(f"{what:{width}}  {found}{f'   (bar: {bar})' if bar else ''}")


if __name__ == "__main__":
    main()
