"""Logs from the first byte to the last, while the way to the cluster is cut; and what a run leaves behind: nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes_bed import Bed
from kubernetes_bed.waiting import until

from aiflow_ext_kubernetes.streams import ROTATED

LINES = 400
TALKS = f"""\
i=0
while [ $i -lt {LINES} ]; do
  i=$((i+1))
  echo line $i
  echo error $i >&2
  sleep 0.04
done
printf 'no end'
"""


@pytest.fixture
def env(cli_env: dict[str, str], kubeconfig: Path, tmp_path: Path) -> dict[str, str]:
    return {**cli_env, "KUBECONFIG": str(kubeconfig), "XDG_STATE_HOME": str(tmp_path / "state")}


@pytest.fixture
def talking(project: Any, env: dict[str, str], namespace: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run of a job that prints for 20 seconds, driven by a process of its own."""
    config = {"platform": "kubernetes", "engine": "cmd_line", "image": "localhost/busybox:1", "namespace": namespace}
    project.jobs(f"with af.job('job'):\n    af.cmd({TALKS!r})", json.dumps({"job": config}))
    driver = subprocess.Popen(
        [sys.executable, "-m", "aiflow_ext", "run", str(project.root)], env=env, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    yield driver
    driver.kill()
    driver.wait()


def status(project: Any, env: dict[str, str]) -> dict[str, Any]:
    argv = [sys.executable, "-m", "aiflow_ext", "status", "latest", "--project", str(project.root), "--json"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True)
    told = json.loads(done.stdout) if done.stdout.startswith("{") else {}
    found: dict[str, Any] = told["jobs"][0] if "jobs" in told else {"state": None}  # there is no run yet
    return found


def test_following_goes_on_after_the_way_was_cut(
    talking: subprocess.Popen[bytes], project: Any, env: dict[str, str], bed: Bed
) -> None:
    assert until(lambda: status(project, env)["state"] == "RUNNING", 60)
    argv = [sys.executable, "-m", "aiflow_ext", "logs", "latest", "job", "--project", str(project.root), "--follow"]
    followers = [
        subprocess.Popen([*argv, *more], env=env, bufsize=0, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for more in ([], ["--stderr"])
    ]
    firsts = [follower.stdout.read(1) for follower in followers if follower.stdout is not None]
    bed.cut()
    time.sleep(6)  # no synchronisation: this is how long it is cut
    bed.join()
    for follower, first, word, end in zip(followers, firsts, ("line", "error"), ("no end", ""), strict=True):
        rest, said = follower.communicate(timeout=120)
        wanted = "".join(f"{word} {number}\n" for number in range(1, LINES + 1)) + end
        assert (first + rest).decode() == wanted, said
    assert talking.wait(60) == 0


def test_nothing_is_left_on_the_cluster(
    talking: subprocess.Popen[bytes], project: Any, env: dict[str, str], bed: Bed, namespace: str
) -> None:
    assert until(lambda: status(project, env)["state"] == "RUNNING", 60)
    talking.kill()
    base = [sys.executable, "-m", "aiflow_ext"]
    subprocess.run([*base, "stop", "latest", "--project", str(project.root), "--grace", "1"], env=env, check=True)
    for path in ("/apis/batch/v1/namespaces/{}/jobs", "/api/v1/namespaces/{}/secrets", "/api/v1/namespaces/{}/pods"):
        assert until(lambda path=path: not bed.api.get(path.format(namespace))["items"], 30)  # type: ignore[misc]
    attempt = status(project, env)["attempts"][0]
    text = Path(attempt["folder"], "stdout").read_text()
    assert text.startswith("line 1\nline 2\n")  # its log was saved as it was stopped
    subprocess.run([*base, "gc", "--keep", "0", "--project", str(project.root)], env=env, check=True)


CHUNK = 11_000_000  # bytes: more than the node keeps of a log before it begins a new file
CHATTY = f"""\
say() {{ head -c {CHUNK} /dev/zero | tr '\\0' $1 | fold -w 999; echo; }}
read x < /gates/a
say a
read x < /gates/b
say b
echo last
"""


class Chatty:
    """A job that prints more than a node keeps, in two parts, each when it is told to; driven by a process."""

    def __init__(self, project: Any, env: dict[str, str], bed: Bed, namespace: str, folder: Path) -> None:
        self.project, self.env, self.bed, self.namespace = project, env, bed, namespace
        self.gates = folder / "gates"
        self.gates.mkdir()
        for name in ("a", "b"):
            os.mkfifo(self.gates / name)
            (self.gates / name).chmod(0o666)
        volumes = [{"mount": "/gates", "host_path": str(self.gates)}]
        config = {"platform": "kubernetes", "engine": "cmd_line", "image": "localhost/busybox:1",
                  "namespace": namespace, "volumes": volumes}  # fmt: skip
        project.jobs(f"with af.job('job'):\n    af.cmd({CHATTY!r})", json.dumps({"job": config}))
        self.mark = bed.audit_mark()
        self.driver = self.run("run", str(project.root))
        assert until(lambda: status(project, env)["state"] == "RUNNING", 60)

    def run(self, *argv: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "aiflow_ext", *argv], env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def open(self, gate: str) -> None:
        with open(self.gates / gate, "w"):
            pass

    def rotated(self) -> None:
        """Wait until the node has begun a new file."""
        folders = (self.bed.layout.folder / "pod-logs").glob(f"{self.namespace}_*/job")
        (folder,) = folders
        assert until(lambda: len(list(folder.iterdir())) > 1, 60)

    def log(self) -> bytes:
        return Path(status(self.project, self.env)["attempts"][0]["folder"], "stdout").read_bytes()


@pytest.fixture
def chatty(project: Any, env: dict[str, str], bed: Bed, namespace: str, tmp_path: Path) -> Iterator[Chatty]:
    made = Chatty(project, env, bed, namespace, tmp_path)
    yield made
    made.driver.kill()
    made.driver.wait()


def test_a_log_is_whole_though_the_node_keeps_only_its_end(chatty: Chatty) -> None:
    def followed() -> bool:
        return any((each.get("objectRef") or {}).get("subresource") == "log"
                   for each in chatty.bed.audit_log(chatty.mark, namespace=chatty.namespace))  # fmt: skip

    assert until(followed, 60)
    chatty.open("a")
    chatty.rotated()
    chatty.open("b")
    assert chatty.driver.wait(120) == 0
    log = chatty.log()
    assert (log.count(b"a"), log.count(b"b")) == (CHUNK + 1, CHUNK)  # "last" has one too
    assert b"aiflow-ext:" not in log
    assert log.endswith(b"\nlast\n")


def test_lines_that_the_node_deleted_before_they_were_read_are_reported(chatty: Chatty) -> None:
    chatty.driver.kill()
    chatty.open("a")
    chatty.rotated()
    chatty.open("b")
    assert chatty.run("resume", "latest", "--project", str(chatty.project.root)).wait(120) == 0
    log = chatty.log()
    assert log.startswith(ROTATED)
    assert log.count(b"b") >= CHUNK
    assert log.endswith(b"\nlast\n")
