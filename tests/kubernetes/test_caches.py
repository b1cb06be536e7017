"""A fake API server that keeps what it is sent, for a client whose caches are dropped between every two hooks: whatever
the platform remembers must change nothing but how often a server is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_cluster import COMPLETED, STARTED, Cluster
from interrupted import ENDS, driven, run_interrupted
from patience import PATIENCE

from aiflow_ext.model.errors import UnreachableError
from aiflow_ext.model.job import BaseJob, JobContext
from aiflow_ext.model.states import JobState
from aiflow_ext.run import prepare_resume, prepare_run
from aiflow_ext.testing.caches import drop_caches, forgetting
from aiflow_ext_kubernetes import checks, manifest, pending, watch
from aiflow_ext_kubernetes.config import KubernetesJobConfig
from aiflow_ext_kubernetes.handler import KubernetesHandler
from aiflow_ext_kubernetes.jobs import KubernetesJobPlugin
from aiflow_ext_kubernetes.target import Target
from aiflow_ext_kubernetes.template import CONTAINER


@pytest.fixture
def forgetful() -> Iterator[list[str]]:
    """The job plugins forget everything before and after each hook; the hooks that were called."""
    with forgetting(KubernetesJobPlugin, "aiflow_ext_kubernetes") as called:
        yield called


@pytest.mark.slow
def test_a_run_whose_platform_forgets_everything_between_hooks_ends_alike_and_leaves_nothing(
    project: Any, cluster: Cluster, forgetful: list[str]
) -> None:
    config = {
        "*": {"platform": "kubernetes", "image": "x"},
        "a": {"engine": "python", "namespace": "one"},
        "b": {"engine": "python", "namespace": "two"},
        "c": {"engine": "cmd_line", "namespace": "two"},
    }
    body = "with af.job('a'):\n    af.python(one)\nwith af.job('b'):\n    af.python(one)\n"
    project.jobs(body + "with af.job('c'):\n    af.cmd('true')", json.dumps(config), "def one():\n    pass\n")
    record = prepare_run(project.root).driver.run()
    assert {name: job.state for name, job in record.jobs.items()} == dict.fromkeys("abc", JobState.FINISHED)
    for name in "abc":
        assert (project.log(name), project.log(name, stream="stderr")) == (b"said\n", b"complained\n")
    sent = [path for path in cluster.created if path.endswith("-project")]
    assert sorted(path.split("/")[4] for path in sent) == ["one", "two"]
    assert cluster.objects == {}
    assert {"check_platform", "watch", "cleanup_job", "cleanup_run"} <= set(forgetful)


def test_a_stop_is_told_from_a_loss_though_nothing_is_remembered_of_it(
    project: Any, cluster: Cluster, forgetful: list[str]
) -> None:
    project.jobs("with af.job('a'):\n    af.cmd('sleep 1000')",
                 json.dumps({"a": {"platform": "kubernetes", "engine": "cmd_line", "image": "x"}}))  # fmt: skip
    run = prepare_run(project.root)
    driver = driven(run.driver.run)
    with cluster.changed:
        assert cluster.changed.wait_for(lambda: any("/pods/" in path for _, path, _ in cluster.events), 30)
    run.driver.stop()
    driver.join(PATIENCE)
    assert not driver.is_alive()
    assert run.record.jobs["a"].state is JobState.STOPPED
    assert cluster.objects == {}


@pytest.mark.slow
def test_a_run_that_is_left_resumed_and_stopped_needs_nothing_that_is_remembered(
    project: Any, cluster: Cluster, forgetful: list[str]
) -> None:
    assert run_interrupted(project, {"platform": "kubernetes", "image": "x"}) == ENDS
    assert {"attach", "watch", "cleanup_job", "cleanup_run"} <= set(forgetful)
    jobs = [path.rsplit("/", 1)[1] for path in cluster.created if "/jobs/" in path]
    assert len(jobs) == len(set(jobs)) == len(ENDS)
    assert cluster.objects == {}


def test_a_later_process_tells_a_stop_from_a_loss(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MISSING", 0.0)
    for number, is_stopped in enumerate((True, False)):
        folder, native_id = tmp_path / str(number), f"j{number}"
        folder.mkdir()
        path = f"/apis/batch/v1/namespaces/default/jobs/{native_id}"
        cluster.put(path, {"metadata": {"name": native_id, "annotations": {}}, "spec": {"suspend": True}})
        if is_stopped:
            assert KubernetesHandler(native_id, folder=str(folder)).stop(1.0)
        else:
            cluster.remove(path)
        drop_caches("aiflow_ext_kubernetes")
        wanted = JobState.STOPPED if is_stopped else JobState.LOST
        assert KubernetesHandler(native_id, folder=str(folder)).state() is wanted
        job = BaseJob(JobContext("r", "a", 1, native_id, str(folder)), KubernetesJobConfig("x"))
        events = watch.Watcher({native_id: job}).events()
        assert next(event.state for event in events if event is not None) is wanted
        events.close()


def test_an_attempt_for_which_nothing_was_made_is_not_lost_while_it_waits_for_its_turn(
    project: Any, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MISSING", 0.0)
    monkeypatch.setattr(watch, "TICK", 0.02)
    looked = threading.Semaphore(0)
    look, make = watch.Watcher._look, KubernetesJobPlugin.generate_job_resource

    def looking(self: watch.Watcher, now: float) -> Iterator[Any]:
        yield from look(self, now)
        if self._signatures:  # it has told of the one that runs
            looked.release()

    def making(self: KubernetesJobPlugin, job: BaseJob) -> None:
        if job.name == "b":
            first.driver.leave()
            raise UnreachableError("its driver ends before anything is made")
        make(self, job)

    config = {"*": {"platform": "kubernetes", "engine": "cmd_line", "image": "x"}}
    body = "with af.job('a'):\n    af.cmd('sleep 1000')\nwith af.job('b'):\n    af.cmd('true')\n"
    project.jobs(f"{body}af.run_after('b', 'a', when='running')", json.dumps(config))
    with monkeypatch.context() as patch:
        patch.setattr(KubernetesJobPlugin, "generate_job_resource", making)
        first = prepare_run(project.root, jobs=2)
        left = first.driver.run().jobs["b"].last
        first.close()
    assert left is not None
    assert (left.state, left.step) == (JobState.SUBMITTING, None)
    monkeypatch.setattr(watch.Watcher, "_look", looking)
    second = prepare_resume(first.record.run_id, project=str(project.root), jobs=1)
    driver = threading.Thread(target=second.driver.run)
    driver.start()
    for _ in range(3):
        assert looked.acquire(timeout=PATIENCE)
    ((path, pod),) = [(path, each) for path, each in cluster.objects.items() if "/pods/" in path]
    pod["status"]["containerStatuses"][0]["state"] = COMPLETED
    cluster.put(path, {**pod, "status": {**pod["status"], "phase": "Succeeded"}})
    driver.join(PATIENCE)
    assert not driver.is_alive()
    second.close()
    assert {name: [each.state for each in job.attempts] for name, job in second.record.jobs.items()} == {
        "a": [JobState.FINISHED], "b": [JobState.FINISHED]
    }  # fmt: skip


def test_an_attempt_whose_job_the_watch_does_not_show_yet_is_not_lost(cluster: Cluster, tmp_path: Path) -> None:
    path = "/apis/batch/v1/namespaces/default/jobs/j"
    annotations = {manifest.NAME: "r/a/1", manifest.RESUMED: "true"}
    cluster.put(path, {"metadata": {"name": "j", "annotations": annotations}, "spec": {"suspend": False}})
    cluster.unlisted.add(path)
    labels = {"app.kubernetes.io/managed-by": manifest.MANAGER, manifest.RUN: "r", "batch.kubernetes.io/job-name": "j"}
    failed = {"name": "fetch", "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}
    waits = {"name": CONTAINER, "state": {"waiting": {"reason": "PodInitializing"}}}
    cluster.put("/api/v1/namespaces/default/pods/p", {
        "metadata": {"name": "p", "labels": labels}, "spec": {},
        "status": {"phase": "Failed", "initContainerStatuses": [failed], "containerStatuses": [waits]},
    })  # fmt: skip
    job = BaseJob(JobContext("r", "a", 1, "j", str(tmp_path)), KubernetesJobConfig("x"))
    events = watch.Watcher({"j": job}).events()
    event = next(event for event in events if event is not None)
    events.close()
    assert (event.state, event.reason) == (
        JobState.FAILED, "init container fetch has failed, and the job was not started: exit code 3"
    )  # fmt: skip


def test_an_attempt_whose_pod_is_never_admitted_fails_with_the_servers_message(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "REFUSED", 0.0)
    monkeypatch.setattr(watch, "TICK", 0.02)
    monkeypatch.setattr(pending, "BACK_OFF", (0.0, 0.01))
    labels = {"app.kubernetes.io/managed-by": manifest.MANAGER, manifest.RUN: "r"}
    annotations = {manifest.NAME: "r/a/1", manifest.RESUMED: "true"}
    path, words = "/apis/batch/v1/namespaces/default/jobs/j", 'pods "j-x" is forbidden: violates PodSecurity'
    cluster.put(path, {"metadata": {"name": "j", "labels": labels, "annotations": annotations}, "spec": {}})
    cluster.put("/api/v1/namespaces/default/events/e", {
        "metadata": {"name": "e"}, "message": words, "involvedObject": {"name": "j"}, "lastTimestamp": STARTED,
    })  # fmt: skip
    job = BaseJob(JobContext("r", "a", 1, "j", str(tmp_path)), KubernetesJobConfig("x"))
    events = watch.Watcher({"j": job}).events()
    event = next(event for event in events if event is not None and event.state is not JobState.QUEUED)
    events.close()
    assert (event.state, event.reason) == (JobState.FAILED, f"{words} (for 0 s)")
    assert path not in cluster.objects


@pytest.mark.parametrize(
    ("words", "is_refused"),
    [
        ('pods "aiflow-ext-check" is forbidden: violates PodSecurity "restricted:latest"', True),
        ('pods "aiflow-ext-check" is forbidden: no PriorityClass with name high was found', True),
        (
            'pods is forbidden: User "me" cannot create resource "pods" in API group ""',
            False,
        ),
        ('pods "aiflow-ext-check" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1', False),
        ('admission webhook "policy.example.com" denied the request: no pods without an owner', False),
        (
            'pods "x" is forbidden: error looking up service account n/default: serviceaccount "default" not found',
            False,
        ),
        (None, False),
    ],
)
def test_a_pod_that_would_not_be_admitted_is_reported_before_the_run(
    cluster: Cluster, words: str | None, is_refused: bool
) -> None:
    cluster.refused_pods = words
    sample = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "aiflow-ext-check"},
              "spec": {"template": {"metadata": {}, "spec": {"containers": []}}}}  # fmt: skip
    found = [problem.message for problem in checks.problems_of(Target(), [sample], {})]
    assert [words in message for message in found if words is not None] == ([True] if is_refused else [])
    assert cluster.created == []
