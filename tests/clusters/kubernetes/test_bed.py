"""The bed itself: it comes up and goes without a trace, and its faults are real ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kubernetes_bed import Api, ApiError, Bed, init
from kubernetes_bed.cgroups import hierarchies
from kubernetes_bed.waiting import until

READ_PODS = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]


class Jobs:
    """Jobs in a namespace."""

    def __init__(self, bed: Bed, namespace: str) -> None:
        self.bed, self.namespace = bed, namespace
        self.path = f"/apis/batch/v1/namespaces/{namespace}/jobs"

    def create(self, name: str, script: str, image: str = "localhost/busybox:1", **container: Any) -> None:
        """Start a job that runs a shell script as somebody who is not root."""
        pod = {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "command": ["sh", "-c", script],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    **container,
                }
            ],
        }
        spec = {"backoffLimit": 0, "template": {"spec": pod}}
        self.bed.api.create(self.path, {"metadata": {"name": name}, "spec": spec})

    def end(self, name: str) -> str:
        """Wait for a job's end: ``Complete`` or ``Failed``."""

        def conditions() -> list[str]:
            found = self.bed.api.get(f"{self.path}/{name}").get("status", {}).get("conditions", [])
            return [one["type"] for one in found if one["type"] in ("Complete", "Failed") and one["status"] == "True"]

        assert until(lambda: bool(conditions()), 60), self.bed.kubectl("describe", "pods", "-n", self.namespace)
        return conditions()[0]

    def pod(self, name: str) -> Any:
        """The only pod of a job."""
        pods = f"/api/v1/namespaces/{self.namespace}/pods?labelSelector=job-name={name}"
        (pod,) = self.bed.api.get(pods)["items"]
        return pod

    def starts(self, name: str) -> None:
        """Wait until a job's container runs."""
        pods = f"/api/v1/namespaces/{self.namespace}/pods?labelSelector=job-name={name}"

        def runs() -> bool:
            return any(pod["status"].get("phase") == "Running" for pod in self.bed.api.get(pods)["items"])

        assert until(runs, 60), f"{name} does not start"

    def exit_code(self, name: str) -> int:
        """What the container of a job exited with."""
        code: int = self.pod(name)["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"]
        return code

    def log(self, name: str) -> str:
        """What it printed."""
        pod = self.pod(name)["metadata"]["name"]
        return str(self.bed.api.get(f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log"))


@pytest.fixture
def jobs(bed: Bed, namespace: str) -> Jobs:
    return Jobs(bed, namespace)


def test_a_job_runs_to_its_exit_code(jobs: Jobs) -> None:
    jobs.create("fine", "id -u")
    jobs.create("fails", "exit 3")
    assert (jobs.end("fine"), jobs.exit_code("fine"), jobs.log("fine")) == ("Complete", 0, "1000\n")
    assert (jobs.end("fails"), jobs.exit_code("fails")) == ("Failed", 3)


def test_pods_and_client_reach_the_artifacts_under_one_url(
    bed: Bed, jobs: Jobs, artifacts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec = pytest.importorskip("fsspec")
    pytest.importorskip("s3fs")
    with fsspec.open(f"{artifacts}/asked", "w") as file:
        file.write("how many?")
    program = f"""
import fsspec
with fsspec.open("{artifacts}/asked") as asked, fsspec.open("{artifacts}/answer", "wb") as answer:
    answer.write(asked.read() + b" 42")
"""
    env = [{"name": name, "value": value} for name, value in bed.s3_environment.items()]
    jobs.create("answers", f"python3 -c '{program}'", "localhost/aiflow-python:3.11-s3", env=env)
    assert jobs.end("answers") == "Complete", jobs.log("answers")
    with fsspec.open(f"{artifacts}/answer") as file:
        assert file.read() == b"how many? 42"


def test_the_image_for_digits_holds_what_it_imports(jobs: Jobs) -> None:
    jobs.create("imports", "python3 -c 'import sklearn, matplotlib, s3fs'", "localhost/aiflow-digits:3.11")
    assert jobs.end("imports") == "Complete", jobs.log("imports")


def test_a_job_outlives_the_api_server(bed: Bed, jobs: Jobs) -> None:
    jobs.create("survives", "until [ -e /tmp/go ]; do usleep 50000; done; exit 9")
    jobs.starts("survives")
    bed.kill("apiserver")
    with pytest.raises(OSError, match="refused"):
        bed.api.get("/readyz")
    assert bed.status()["apiserver"] == "signal 9"
    bed.start("apiserver")
    bed.wait_ready()
    pod = jobs.pod("survives")["metadata"]["name"]
    bed.kubectl("exec", "-n", jobs.namespace, pod, "--", "touch", "/tmp/go")
    assert (jobs.end("survives"), jobs.exit_code("survives")) == ("Failed", 9)


def test_each_component_comes_back(bed: Bed, jobs: Jobs) -> None:
    for component in ("etcd", "containerd", "kubelet", "scheduler", "kcm"):
        bed.kill(component)
        assert bed.status()[component] == "signal 9"
        bed.start(component)
        bed.wait_ready()
    jobs.create("after", "true")
    assert jobs.end("after") == "Complete"


def test_a_cut_network_is_silent(bed: Bed) -> None:
    bed.cut()
    with pytest.raises(TimeoutError):
        bed.api.request("GET", "/readyz", timeout=1)
    bed.join()
    assert bed.api.get("/readyz") == "ok"


def test_a_paused_server_is_silent_and_mended(bed: Bed) -> None:
    bed.pause("apiserver")
    assert until(lambda: bed.status()["apiserver"] == "paused", 10)
    with pytest.raises(TimeoutError):
        bed.api.request("GET", "/readyz", timeout=1)
    bed.mend()
    assert bed.api.get("/readyz") == "ok"


def test_the_node_can_be_drained(bed: Bed, jobs: Jobs) -> None:
    jobs.create("evicted", "sleep 1000")
    jobs.starts("evicted")
    bed.kubectl("drain", bed.layout.node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=60s")
    assert jobs.end("evicted") == "Failed"
    bed.mend()
    jobs.create("after", "true")
    assert jobs.end("after") == "Complete"


def test_a_service_account_may_do_what_its_role_says(bed: Bed, namespace: str, allowed: Callable[..., Path]) -> None:
    api = _as(bed, allowed(READ_PODS))
    assert api.get(f"/api/v1/namespaces/{namespace}/pods")["items"] == []
    with pytest.raises(ApiError) as refused:
        api.get(f"/api/v1/namespaces/{namespace}/secrets")
    assert refused.value.code == 403


def test_a_short_token_expires(bed: Bed, namespace: str, allowed: Callable[..., Path]) -> None:
    api = _as(bed, allowed(READ_PODS, seconds=3))
    pods = f"/api/v1/namespaces/{namespace}/pods"
    assert api.get(pods)["items"] == []

    def refused() -> bool:
        try:
            api.get(pods)
            return False
        except ApiError as error:
            return error.code == 401

    assert until(refused, 30)


def test_the_restricted_standard_is_enforced(bed: Bed, restricted_namespace: str) -> None:
    jobs = Jobs(bed, restricted_namespace)
    pod = {"containers": [{"name": "main", "image": "localhost/busybox:1"}]}
    with pytest.raises(ApiError, match="violates PodSecurity"):
        bed.api.create(f"/api/v1/namespaces/{restricted_namespace}/pods", {"metadata": {"name": "root"}, "spec": pod})
    jobs.create("modest", "true")
    assert jobs.end("modest") == "Complete"


def test_the_audit_log_counts_the_requests_of_one_client(
    bed: Bed, namespace: str, allowed: Callable[..., Path]
) -> None:
    api = _as(bed, allowed(READ_PODS))
    since = bed.audit_mark()
    for _ in range(3):
        api.get(f"/api/v1/namespaces/{namespace}/pods")
    user = f"system:serviceaccount:{namespace}:tester"
    assert until(lambda: len(bed.audit_log(since, user=user)) == 3, 10)
    assert {record["verb"] for record in bed.audit_log(since, user=user, resource="pods")} == {"list"}
    assert bed.audit_log(since, user="nobody") == []


def _as(bed: Bed, kubeconfig: Path) -> Api:
    token = json.loads(kubeconfig.read_text())["users"][0]["user"]["token"]
    return Api(bed.layout.server, bed.layout.pki / "ca.crt", token=token)


# -- up and down -------------------------------------------------------------------------------------------------------


def command(*args: str, wrapper: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run ``bed.py ARGS``."""
    script = Path(__file__).with_name("bed.py")
    return subprocess.run([*wrapper, sys.executable, str(script), *args], capture_output=True, text=True)


def test_it_leaves_nothing_behind(bed: Bed) -> None:
    """A second bed beside the session's: it has to come and go without that one, or this machine, noticing."""
    name = "passing"
    before, group = machine_state(), ""
    try:
        done = command("up", "--name", name)
        assert done.returncode == 0, done.stderr
        again = command("--name", name, "up")
        assert (again.returncode, "was up already" in again.stdout) == (0, True)
        passing = Bed(name)
        group = passing.layout.cgroup
        with passing.namespace() as namespace:
            jobs = Jobs(passing, namespace)
            jobs.create("ends", "true")
            jobs.create("runs", "sleep 1000")
            assert jobs.end("ends") == "Complete"
            jobs.starts("runs")
        assert len(traces(name, group)) > 10, "what looks for traces finds none of a bed that is up"
        passing.kill("containerd")
    finally:
        done = command("down", "--name", name)
    assert (done.returncode, "is down" in done.stdout) == (0, True), done.stderr
    assert traces(name, group) == []
    assert machine_state() == before
    assert command("status", "--name", name).returncode == 3
    assert set(bed.status().values()) == {"running"}


def test_without_root_an_error_says_so(no_cluster: object) -> None:
    done = command("up", "--name", "refused", wrapper=("unshare", "--user"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "bed.py: a bed needs root, for control groups, mounts and a network namespace: run this with sudo\n"
    )


def traces(name: str, group: str) -> list[str]:
    """Processes and control groups that belong to a bed, and its files."""
    folder = str(Bed(name).folder)
    found = [str(path) for path in [Path(folder)] if path.exists()]
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                said = [Path(entry.path, file).read_text(errors="replace") for file in ("cmdline", "environ", "cgroup")]
                said.append(os.readlink(f"{entry.path}/cwd"))
            except OSError:
                continue
            if any(folder in words or f"/{group}/" in words for words in said):
                found.append(f"process {entry.name}: {said[0]}")
    found += [str(hierarchy / group) for hierarchy in hierarchies() if (hierarchy / group).exists()]
    return found


def machine_state() -> dict[str, Any]:
    """What of this machine a Kubernetes touches, outside its own folder."""

    def lines(*argv: str) -> list[str]:
        said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        return [line for line in said.splitlines() if not line.startswith(("#", ":"))]

    folders = ("/run", "/run/netns", "/run/containerd", *init.PRIVATE, "/var/lib", "/var/log", "/opt", "/etc/cni")
    sysctls = (*init.SYSCTLS, "net/ipv4/ip_forward", "net/netfilter/nf_conntrack_max")
    return {
        "links": [link["ifname"] for link in json.loads("".join(lines("ip", "-json", "link")))],
        "addresses": lines("ip", "-oneline", "-4", "address"),
        "routes": lines("ip", "route", "show", "table", "all"),
        "rules": lines("iptables-save"),
        "mounts": sorted(line.split(" ", 4)[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        "folders": {folder: sorted(os.listdir(folder)) for folder in folders if os.path.isdir(folder)},
        "sysctls": {name: _read(Path("/proc/sys", name)) for name in sysctls},
    }


def _read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None
