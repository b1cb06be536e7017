"""Parts of a real cluster die, or somebody interferes, in the middle of a run: nothing is lost, nothing runs twice, and
what happened is told.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from gated_run import CONFIG, Run
from kubernetes_bed import Api, ApiError, Bed
from kubernetes_bed.waiting import until


@pytest.mark.parametrize(
    ("component", "seconds", "jobs"),
    [
        ("apiserver", 5, 60),
        ("etcd", 10, 60),
        ("kubelet", 10, 60),
        ("containerd", 5, 60),
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


def test_the_client_is_killed_while_sixty_jobs_run(bed: Bed, run: Run) -> None:
    """Once while it submits, with more to come, and once while jobs end."""
    run.begin(bed.kubeconfig, 60, at_once=30)
    run.up(10)
    run.resume()
    run.up(20)
    run.release()
    assert until(lambda: sum(run.count("end").values()) >= 5, 300), run.told()
    run.resume()
    run.ran_once(run.finish())


def test_the_network_is_cut_for_a_while(bed: Bed, run: Run) -> None:
    run.begin(bed.kubeconfig, 10)
    run.up(4)
    bed.cut()
    run.release()
    time.sleep(15)  # the fault itself
    bed.join()
    run.ran_once(run.finish())


@pytest.mark.thorough
def test_a_node_is_unreachable_while_sixty_jobs_run(bed: Bed, run: Run) -> None:
    """For as long as it takes Kubernetes to find out; the jobs on it go on, and end, as nobody sees it."""
    run.begin(bed.kubeconfig, 60, at_once=30)
    run.up(20)
    bed.pause("kubelet")
    run.release()
    assert until(lambda: _ready(bed) == "Unknown", 300)
    bed.resume("kubelet")
    # A container that was just being made may never start, where what makes it does not go on.
    run.ran_once(run.finish(), disrupted=True)


def _ready(bed: Bed) -> str:
    """What the node's condition Ready is: True, False, or Unknown."""
    conditions = bed.api.get(f"/api/v1/nodes/{bed.layout.node}")["status"]["conditions"]
    return next(str(each["status"]) for each in conditions if each["type"] == "Ready")


@contextmanager
def deaf_kubelet(bed: Bed, *how: str) -> Iterator[str]:
    """The kubelet's port is closed, so that it gives no logs; what is said of them."""
    rule = ["INPUT", "--protocol", "tcp", "--dport", "10250", "--jump", *how]
    bed.execute("iptables", "--wait", "--insert", *rule)
    try:
        yield f"node {bed.layout.node} did not answer when the log was to be kept; lines may be missing"
    finally:
        bed.execute("iptables", "--wait", "--delete", *rule)


REJECT = pytest.param(["REJECT", "--reject-with", "tcp-reset"], marks=pytest.mark.thorough, id="refused")


@pytest.mark.parametrize("how", [pytest.param(["DROP"], id="dropped"), REJECT])
def test_a_node_that_gives_no_logs_holds_up_no_submission_and_the_run_ends(bed: Bed, run: Run, how: list[str]) -> None:
    run.begin(bed.kubeconfig, 24, at_once=6)
    run.up(6)
    with deaf_kubelet(bed, *how) as words:
        run.release()
        run.up(24)
        jobs = run.finish()
    run.ran_once(jobs)
    assert words in (run.folder / "err").read_text()
    for number in range(6, 24):  # of the first ones, the end may have come on a connection that was open before
        assert words in Path(jobs[f"j{number}"]["attempts"][-1]["folder"], "stderr").read_text()
    assert bed.api.get(f"/apis/batch/v1/namespaces/{run.namespace}/jobs")["items"] == []


def test_a_run_on_a_node_that_gives_no_logs_is_stopped(
    bed: Bed, run: Run, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    run.begin(bed.kubeconfig, 4)
    run.up(4)
    with deaf_kubelet(bed, "DROP"):
        assert cli("stop", "latest", "--project", run.project.root, env=run.env).returncode == 0
        assert run.driver is not None
        run.driver.wait(600)
    assert {job["state"] for job in run.status().values()} == {"STOPPED"}
    assert sum(run.count("end").values()) == 0
    assert bed.api.get(f"/api/v1/namespaces/{run.namespace}/pods")["items"] == []


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
