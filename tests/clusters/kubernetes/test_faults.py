"""Parts of a real cluster die, or somebody interferes, in the middle of a run: nothing is lost, nothing runs twice, and
what happened is told.

Jobs leave a mark as their first act and another as their last, in a folder that the node and this machine share.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_bed import Api, ApiError, Bed
from kubernetes_bed.waiting import until

CONFIG = """\
"*":
  platform: kubernetes
  engine: cmd_line
  platforms:
    kubernetes:
      image: localhost/busybox:1
      kubeconfig: {kubeconfig}
      namespace: {namespace}
      grace: 1
      volumes: [{{mount: /marks, host_path: {marks}}}]
"""
COMMAND = """\
mark() {{ read u < /proc/sys/kernel/random/uuid; : > /marks/$1.$AIFLOW_JOB.$AIFLOW_ATTEMPT.$u; }}
mark start
[ -e /marks/open ] || read x < /marks/gate
mark end
exit {exit}
"""


class Run:
    """A run of jobs that wait at a gate, driven by a process of its own."""

    def __init__(self, project: Any, env: dict[str, str], folder: Path, namespace: str) -> None:
        self.project, self.env, self.folder, self.namespace = project, env, folder, namespace
        self.marks = folder / "marks"
        self.marks.mkdir()
        self.marks.chmod(0o777)  # a pod's user is somebody else
        os.mkfifo(self.marks / "gate")
        (self.marks / "gate").chmod(0o666)
        self.driver: subprocess.Popen[str] | None = None

    def begin(self, kubeconfig: Path, jobs: int, exits: int = 0, at_once: int = 0) -> None:
        """Start a run of so many jobs, all at once if it is not said how many."""
        command = COMMAND.format(exit=exits)
        names = [f"j{number}" for number in range(jobs)]
        body = "\n".join(f"with af.job({name!r}): af.cmd({command!r})" for name in names)
        config = CONFIG.format(kubeconfig=kubeconfig, namespace=self.namespace, marks=self.marks)
        self.project.jobs(body, config + "".join(f"{name}:\n" for name in names))
        with open(self.folder / "out", "w") as out, open(self.folder / "err", "w") as err:
            argv = ["run", str(self.project.root), "--jobs", str(at_once or jobs), "--json"]
            self.driver = subprocess.Popen(
                [sys.executable, "-m", "aiflow_ext", *argv],
                env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, text=True, start_new_session=True,
            )  # fmt: skip

    def count(self, kind: str) -> Counter[tuple[str, int]]:
        """Marks of a kind, by job and attempt."""
        found = [path.name.split(".") for path in self.marks.glob(f"{kind}.*")]
        return Counter((job, int(attempt)) for _, job, attempt, _ in found)

    def up(self, count: int) -> None:
        """Wait until so many attempts have started."""
        assert until(lambda: sum(self.count("start").values()) >= count, 90), self.told()

    def release(self) -> None:
        """Let through whoever waits at the gate now, and whoever comes later."""
        (self.marks / "open").touch()
        try:
            os.close(os.open(self.marks / "gate", os.O_WRONLY | os.O_NONBLOCK))
        except OSError:  # nobody waits
            pass

    def status(self) -> dict[str, Any]:
        """What ``aiflow-ext status`` says, jobs by name."""
        argv = [sys.executable, "-m", "aiflow_ext", "status", "latest", "--project", str(self.project.root), "--json"]
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True)
        if not done.stdout.startswith("{"):
            return {}
        return {job["name"]: job for job in json.loads(done.stdout)["jobs"]}

    def says(self, condition: Callable[[dict[str, Any]], bool], seconds: float = 60) -> None:
        """Wait until the last attempt of one job is so."""

        def found() -> bool:
            return any(condition(job["attempts"][-1]) for job in self.status().values() if job["attempts"])

        assert until(found, seconds), self.told()

    def finish(self, seconds: float = 180) -> dict[str, Any]:
        """Open the gate, wait for the run's end, and return its jobs by name."""
        driver = self.driver
        assert driver is not None

        def ended() -> bool:
            self.release()  # again: one may have come to the gate as it was opened
            return driver.poll() is not None

        assert until(ended, seconds), self.told()
        text = (self.folder / "out").read_text()
        assert text.startswith("{"), self.told()
        return {job["name"]: job for job in json.loads(text)["jobs"]}

    def told(self) -> str:
        """What the run has said so far, for a failure's message."""
        lines = [(self.folder / "err").read_text()]
        for name, job in self.status().items():
            for attempt in job["attempts"]:
                words = [f"{key} {attempt[key]}" for key in ("exit_code", "reason") if attempt[key] is not None]
                flags = [key for key in ("disruption", "unreachable") if attempt[key]]
                lines.append(f"{name} {attempt['number']} {attempt['state']} {', '.join(words + flags)}")
        return "\n".join(lines)

    def ran_once(self, jobs: dict[str, Any], disrupted: bool = False) -> None:
        """Assert that every job has finished and ran once.

        It did so in its only attempt; or, if some may be ``disrupted``, in its last, and what came before is recorded
        as a disruption: a kubelet that dies as a container starts says afterwards that it did not. Of a Job whose pod
        was being created when the API server or etcd died, Kubernetes itself may make two pods (its documentation says
        so): the attempt's ``restarts`` then count them.
        """
        assert {name: job["state"] for name, job in jobs.items()} == dict.fromkeys(jobs, "FINISHED"), self.told()
        before = [attempt for job in jobs.values() for attempt in job["attempts"][:-1]]
        assert not before or disrupted, self.told()
        assert all(attempt["disruption"] for attempt in before), self.told()
        last = Counter({(name, len(job["attempts"])): 1 for name, job in jobs.items()})
        restarts = {(name, attempt["number"]): attempt["restarts"] for name, job in jobs.items()
                    for attempt in job["attempts"]}  # fmt: skip
        for marks in (self.count("start"), self.count("end")):
            twice = {key: number for key, number in marks.items() if not 1 <= number <= 1 + restarts[key]}
            assert not twice, f"ran more often than the platform's restarts explain: {twice}"
            assert last <= marks, self.told()


@pytest.fixture
def run(project: Any, cli_env: dict[str, str], tmp_path: Path, namespace: str) -> Iterator[Run]:
    made = Run(project, {**cli_env, "XDG_STATE_HOME": str(tmp_path / "state")}, tmp_path, namespace)
    yield made
    if made.driver is not None and made.driver.poll() is None:
        made.driver.kill()
        made.driver.wait()
    made.release()


@pytest.mark.parametrize(
    ("component", "seconds", "jobs"),
    [
        ("apiserver", 5, 50),
        ("etcd", 10, 50),
        ("kubelet", 10, 50),
        ("containerd", 5, 20),
        ("kcm", 5, 20),
        ("scheduler", 5, 20),
    ],
)
def test_a_component_is_killed_and_comes_back(bed: Bed, run: Run, component: str, seconds: float, jobs: int) -> None:
    run.begin(bed.kubeconfig, jobs)
    run.up(jobs // 3)
    bed.kill(component)
    run.release()  # so that jobs end while nobody sees it
    gone = time.monotonic()
    if component == "apiserver":  # open watches do not notice that etcd is gone, and nothing else is asked
        run.says(lambda attempt: attempt["unreachable"])
    time.sleep(max(0.0, gone + seconds - time.monotonic()))  # the fault itself: it lasts so long
    bed.start(component)
    # A container that was just being made may never start, where what makes it dies.
    run.ran_once(run.finish(), disrupted=component in ("kubelet", "containerd"))


def test_the_network_is_cut_for_a_while(bed: Bed, run: Run) -> None:
    run.begin(bed.kubeconfig, 10)
    run.up(4)
    bed.cut()
    run.release()
    time.sleep(15)  # the fault itself
    bed.join()
    run.ran_once(run.finish())


def test_the_true_exit_code_comes_from_behind_an_outage(bed: Bed, run: Run) -> None:
    run.begin(bed.kubeconfig, 3, exits=7)
    run.up(3)
    bed.kill("apiserver")
    run.release()
    assert until(lambda: sum(run.count("end").values()) == 3, 30)
    bed.start("apiserver")
    jobs = run.finish()
    assert {name: (job["state"], job["attempts"][-1]["exit_code"]) for name, job in jobs.items()} == dict.fromkeys(
        jobs, ("FAILED", 7)
    )


def test_a_pod_deleted_by_hand_is_a_disruption(bed: Bed, run: Run) -> None:
    run.begin(bed.kubeconfig, 2)
    run.up(2)
    job = run.status()["j1"]["attempts"][-1]["native_id"]
    bed.kubectl("delete", "pod", "-n", run.namespace, "-l", f"job-name={job}")
    assert until(lambda: run.count("start")["j1", 2] == 1, 60), run.told()
    jobs = run.finish()
    first, second = jobs["j1"]["attempts"]
    assert (first["state"], first["disruption"], "deleted" in first["reason"]) == ("FAILED", True, True)
    assert (second["state"], second["exit_code"]) == ("FINISHED", 0)
    once = {("j0", 1): 1, ("j1", 2): 1}
    assert (run.count("start"), run.count("end")) == ({**once, ("j1", 1): 1}, once)


def test_a_job_deleted_by_hand_is_lost(bed: Bed, run: Run) -> None:
    run.begin(bed.kubeconfig, 2)
    run.up(2)
    job = run.status()["j1"]["attempts"][-1]["native_id"]
    bed.kubectl("delete", "job", "-n", run.namespace, job)
    run.says(lambda attempt: attempt["state"] == "LOST")
    pods = bed.api.get(f"/api/v1/namespaces/{run.namespace}/pods?labelSelector=job-name={job}")["items"]
    ended = ("Succeeded", "Failed")
    assert [pod["status"]["phase"] for pod in pods if pod["status"]["phase"] not in ended] == []
    jobs = run.finish()
    assert {name: job["state"] for name, job in jobs.items()} == {"j0": "FINISHED", "j1": "LOST"}
    assert "deleted" in jobs["j1"]["reason"]
    assert (run.count("start"), run.count("end")) == ({("j0", 1): 1, ("j1", 1): 1}, {("j0", 1): 1})


def test_a_drained_node_costs_no_retry(bed: Bed, run: Run) -> None:
    run.begin(bed.kubeconfig, 4)
    run.up(4)
    bed.kubectl("drain", bed.layout.node, "--force", "--delete-emptydir-data", "--timeout=60s")
    run.says(lambda attempt: attempt["number"] == 2 and "unschedulable" in (attempt["reason"] or ""))
    bed.kubectl("uncordon", bed.layout.node)
    run.up(8)
    jobs = run.finish()
    assert {name: job["state"] for name, job in jobs.items()} == dict.fromkeys(jobs, "FINISHED")
    for job in jobs.values():
        first, second = job["attempts"]
        assert first["disruption"], first
        assert not second["disruption"], second
    assert run.count("start") == {(name, number): 1 for name in jobs for number in (1, 2)}
    assert run.count("end") == {(name, 2): 1 for name in jobs}


def test_an_exhausted_quota_is_waited_for(bed: Bed, run: Run) -> None:
    quotas = f"/api/v1/namespaces/{run.namespace}/resourcequotas"
    bed.api.create(quotas, {"metadata": {"name": "small"}, "spec": {"hard": {"pods": "2"}}})
    run.begin(bed.kubeconfig, 4)
    run.up(2)
    run.says(lambda attempt: attempt["state"] == "QUEUED" and "quota" in (attempt["reason"] or ""))
    assert sum(run.count("start").values()) == 2
    bed.api.delete(f"{quotas}/small")
    run.ran_once(run.finish())


def test_an_expired_token_is_reported_and_a_new_one_taken(
    bed: Bed, run: Run, allowed: Callable[..., Path], cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    run.project.jobs(
        "with af.job('j0'): af.cmd('true')", CONFIG.format(kubeconfig="x", namespace="x", marks="/x") + "j0:"
    )
    role = next(yaml.safe_load_all(cli("render", "--rbac", run.project.root).stdout))
    kubeconfig = allowed(role["rules"], seconds=15)
    run.begin(kubeconfig, 4, at_once=2)
    run.up(2)
    assert until(lambda: not _accepted(bed, kubeconfig), 60)
    run.release()
    run.says(lambda attempt: attempt["unreachable"] and "401" in attempt["reason"])
    allowed(role["rules"], name="renewed").replace(kubeconfig)
    run.ran_once(run.finish())


def _accepted(bed: Bed, kubeconfig: Path) -> bool:
    """Whether the API server takes the token of a kubeconfig."""
    config = json.loads(kubeconfig.read_text())
    api = Api(bed.layout.server, bed.layout.pki / "ca.crt", token=config["users"][0]["user"]["token"])
    try:
        api.get(f"/api/v1/namespaces/{config['contexts'][0]['context']['namespace']}/pods")
    except ApiError as error:
        return error.code != 401
    return True
