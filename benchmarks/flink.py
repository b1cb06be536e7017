"""What the submission of a Flink job costs the client, beside ``flink run -d``.

``session``: a jar to a session cluster of this machine. ``kubernetes``: an application on the tests' own Kubernetes,
into a namespace that lets no pod in. Each is measured from the start of the command until the cluster has the job: the
seconds, and the processor's of all of its processes, the one of the attempt included (a control group of version 1;
needs root). Whether one of them was a JVM is told besides.
"""

# ruff: noqa: E402
from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != HERE]  # a package is called like a file here
CLUSTERS = HERE.parent / "tests" / "clusters"
sys.path[:0] = [str(HERE.parent), str(CLUSTERS / "flink"), str(CLUSTERS / "kubernetes")]

import argparse
import json
import os
import secrets
import statistics
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import flink_install
from kubernetes_bed import Bed
from kubernetes_bed.images import NAMES
from session_cluster import SessionCluster

COUNTED = Path("/sys/fs/cgroup/cpuacct")
WITHIN = 300.0  # seconds for one submission


class Spent(NamedTuple):
    """What a submission has cost.

    Attributes:
        seconds: until the cluster had the job.
        cpu: seconds of the processor until then.
        java: whether a JVM was among its processes.
    """

    seconds: float
    cpu: float
    java: bool


@contextmanager
def spent(argv: list[str], env: dict[str, str], done: Callable[[], bool], found: list[Spent]) -> Iterator[None]:
    """Run a command until ``done``, and note in ``found`` what it has cost; then wait for its end."""
    group = COUNTED / f"bench-{secrets.token_hex(4)}"
    group.mkdir()
    try:
        joined = ["/bin/sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh", *argv]
        java, began = False, time.monotonic()
        with subprocess.Popen(joined, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as command:
            while not done():
                java = java or any(_name(pid) == "java" for pid in (group / "cgroup.procs").read_text().split())
                if time.monotonic() - began > WITHIN or command.poll() not in (None, 0):
                    command.kill()
                    raise SystemExit(f"{argv[:4]} has submitted nothing: {command.communicate()[1][-2000:]}")
                time.sleep(0.01)
            cpu = int((group / "cpuacct.usage").read_text()) / 1e9
            found.append(Spent(time.monotonic() - began, cpu, java))
            yield
    finally:
        for pid in (group / "cgroup.procs").read_text().split():  # they go on, in no group of ours
            (COUNTED / "cgroup.procs").write_text(pid)
        group.rmdir()


def _name(pid: str) -> str:
    try:
        return Path("/proc", pid, "comm").read_text().strip()
    except OSError:
        return ""


def told(what: str, ours: list[Spent], theirs: list[Spent]) -> None:
    """Print the medians."""

    def words(found: list[Spent]) -> str:
        seconds, cpu = (statistics.median(getattr(each, key) for each in found) for key in ("seconds", "cpu"))
        return f"{seconds:.2f} s, CPU {cpu:.2f} s, {'a' if any(each.java for each in found) else 'no'} JVM"

    print(f"{what:<11} {words(ours)} (bar: 0.5 s, no JVM); flink run -d: {words(theirs)}")


def project(folder: Path, call: str, keys: dict[str, Any]) -> list[str]:
    """The command that runs a project of one Flink job."""
    (folder / "workflow.py").write_text(
        f"import aiflow_ext as af\n\n@af.workflow\ndef bench():\n    with af.job('job'):\n        {call}\n"
    )
    (folder / "workflow.yaml").write_text(json.dumps({"job": {"engine": "flink", **keys}}))
    return [sys.executable, "-m", "aiflow_ext", "run", str(folder), "--json"]


def stopped(folder: Path, env: dict[str, str]) -> None:
    """End the run that a project has begun."""
    argv = [sys.executable, "-m", "aiflow_ext", "stop", "latest", "--project", str(folder), "--grace", "0"]
    subprocess.run(argv, env=env, check=True, stdout=subprocess.DEVNULL)


def jar_of(home: Path, folder: Path) -> Path:
    """The jar of the tests' Job.java."""
    libraries = os.pathsep.join(map(str, (home / "lib").glob("*.jar")))
    source = CLUSTERS / "flink" / "Job.java"
    subprocess.run(["javac", "--release", "11", "-cp", libraries, "-d", folder, source], check=True)
    with zipfile.ZipFile(folder / "job.jar", "w") as made:
        for each in folder.glob("*.class"):
            made.write(each, each.name)
    return folder / "job.jar"


def session(rounds: int) -> None:
    """A jar, to a session cluster."""
    home = flink_install.flink() / "pyflink"
    ours: list[Spent] = []
    theirs: list[Spent] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        jar, env = jar_of(home, folder), {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
        cluster = SessionCluster(folder / "cluster", home)
        words = ["sql", "CREATE TABLE n (x INT) WITH ('connector'='datagen', 'rows-per-second'='1')",
                 "CREATE TABLE b (x INT) WITH ('connector'='blackhole')", "INSERT INTO b SELECT x FROM n"]  # fmt: skip
        call = f"af.flink(jar={str(jar)!r}, entry_class='Job', args={words!r})"
        keys = {"platform": "local", "jobmanager": cluster.address, "exec_mode": "STREAM", "on_stop": "cancel"}
        argv = project(folder, call, keys)
        other = ["/bin/bash", str(home / "bin" / "flink"), "run", "-d", "-m", cluster.address, "-c", "Job", str(jar)]
        try:
            for _ in range(rounds):
                known = set(cluster.states())
                with spent(argv, env, lambda known=known: bool(set(cluster.states()) - known), ours):  # type: ignore[misc]
                    stopped(folder, env)
                known = set(cluster.states())
                with spent([*other, *words], {**env, "FLINK_HOME": str(home)},
                           lambda known=known: bool(set(cluster.states()) - known), theirs):  # type: ignore[misc]  # fmt: skip
                    (made,) = set(cluster.states()) - known
                    cluster.cancel(made)
        finally:
            cluster.close()
    told("session", ours, theirs)


def kubernetes(rounds: int, name: str) -> None:
    """An application, on Kubernetes."""
    bed, home = Bed(name), flink_install.flink() / "pyflink"
    if mine := bed.up():
        print(f"bed {name} is up", file=sys.stderr)
    ours: list[Spent] = []
    theirs: list[Spent] = []
    try:
        for _ in range(rounds):
            with bed.namespace() as namespace, tempfile.TemporaryDirectory() as scratch:
                _close(bed, namespace)
                folder = Path(scratch)
                env = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "KUBECONFIG": str(bed.kubeconfig)}
                keys = {"platform": "kubernetes", "image": NAMES["flink"], "namespace": namespace}
                argv = project(folder, "af.flink(sql='SELECT 1')", keys)
                jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
                with spent(argv, env, lambda jobs=jobs: _begun(bed, jobs), ours):  # type: ignore[misc]
                    stopped(folder, env)
                deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
                options = {"kubernetes.cluster-id": "bench", "kubernetes.namespace": namespace,
                           "kubernetes.container.image.ref": NAMES["flink"]}  # fmt: skip
                other = ["/bin/bash", str(home / "bin" / "flink"), "run", "-d", "-t", "kubernetes-application",
                         *(f"-D{key}={value}" for key, value in options.items()),
                         "-py", "/opt/work/job.py"]  # fmt: skip
                with spent(other, {**env, "FLINK_HOME": str(home)},
                           lambda deployments=deployments: bool(bed.api.get(deployments)["items"]), theirs):  # type: ignore[misc]  # fmt: skip
                    pass
    finally:
        if mine:
            bed.down()
    told("kubernetes", ours, theirs)


def _close(bed: Bed, namespace: str) -> None:
    """Let no pod into a namespace: there are as many as may be, which no node takes."""
    quota = {"metadata": {"name": "closed"}, "spec": {"hard": {"pods": "2"}}}
    bed.api.create(f"/api/v1/namespaces/{namespace}/resourcequotas", quota)
    spec = {"containers": [{"name": "first", "image": "localhost/busybox:1"}], "nodeSelector": {"no": "node"}}
    for name in ("one", "two"):
        bed.api.create(f"/api/v1/namespaces/{namespace}/pods", {"metadata": {"name": name}, "spec": spec})


def _begun(bed: Bed, jobs: str) -> bool:
    return any(not each["spec"].get("suspend") for each in bed.api.get(jobs)["items"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["session", "kubernetes"], choices=["session", "kubernetes"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bed", default="bench", help="the Kubernetes; one that is up is used")
    options = parser.parse_args()
    if "session" in options.parts:
        session(options.rounds)
    if "kubernetes" in options.parts:
        kubernetes(options.rounds, options.bed)


if __name__ == "__main__":
    main()
