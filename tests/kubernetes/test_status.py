"""What Jobs and pods say of an attempt: objects as servers have them."""

from __future__ import annotations

from typing import Any

import pytest

from aiflow_ext.model.current import UNFINISHED
from aiflow_ext.model.resources import Usage
from aiflow_ext.model.states import JobState
from aiflow_ext_kubernetes import manifest, status
from aiflow_ext_kubernetes.config import QUEUE


def job(**more: Any) -> dict[str, Any]:
    conditions = more.pop("conditions", [])
    annotations = {manifest.RESUMED: "true", **more.pop("annotations", {})}
    return {"metadata": {"name": "j", "annotations": annotations, **more.pop("metadata", {})},
            "spec": more.pop("spec", {"suspend": False}), "status": {"conditions": conditions}}  # fmt: skip


def pod(state: dict[str, Any] | None = None, name: str = "job", **more: Any) -> dict[str, Any]:
    metadata = {"name": "j-x", "creationTimestamp": "2026-01-01T00:00:00Z", **more.pop("metadata", {})}
    statuses = [] if state is None else [{"name": name, "state": state}]
    return {"metadata": metadata, "spec": {}, "status": {"containerStatuses": statuses, **more}}


def ended(code: int, reason: str = "Error", **more: Any) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "finishedAt": "2026-01-01T00:00:05Z", **more}}


def failed(reason: str, message: str = "") -> dict[str, Any]:
    return {"type": "Failed", "status": "True", "reason": reason, "message": message}


DISRUPTED = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API"}
DELETED = {"deletionTimestamp": "2026-01-01T00:00:03Z"}
GIVEN_UP = failed("BackoffLimitExceeded")


def test_a_finished_container_is_the_end_before_the_job_says_so() -> None:
    event = status.status_of("j", job(), [pod(ended(0, "Completed"))]).event
    assert (event.state, event.exit_code, event.time) == (JobState.FINISHED, 0, 1767225605.0)


@pytest.mark.parametrize(
    ("state", "code", "words"),
    [
        (ended(3), 3, "exit code 3"),
        (ended(1, message="ValueError: x\n"), 1, "ValueError: x"),
        (ended(137), 137, "ended by SIGKILL"),
        (ended(137, message=UNFINISHED), 137, "ended by SIGKILL"),
        (ended(1, message=UNFINISHED), 1, "before its steps were done"),
        (ended(127), 127, "no such program"),
        (ended(137, "OOMKilled"), 137, "out of memory (OOMKilled)"),
        (ended(5, "OOMKilled"), 5, "exit code 5"),
        (ended(1, message="out of memory: MemoryError: "), 1, "out of memory: MemoryError"),
        (ended(128, "StartError", message="exec: /x: not found"), None, "was not started: exec: /x"),
    ],
)
def test_a_failed_container_is_reported(state: dict[str, Any], code: int | None, words: str) -> None:
    event = status.status_of("j", job(), [pod(state)]).event
    assert (event.state, event.exit_code, event.disruption) == (JobState.FAILED, code, False)
    assert words in str(event.reason)
    assert event.out_of_memory is ("out of memory" in str(event.reason))


@pytest.mark.parametrize(("code", "words"), [(0, ""), (3, "ValueError: x"), (137, UNFINISHED)])
def test_what_the_container_has_used_is_told_and_is_no_part_of_the_reason(code: int, words: str) -> None:
    message = f"{words}\naiflow-usage: 209715200 1500000\n"
    event = status.status_of("j", job(), [pod(ended(code, message=message))]).event
    assert event.usage == Usage(209715200, 1.5, "container")
    assert event.reason == {0: None, 3: words, 137: "ended by SIGKILL (exit code 137)"}[code]


def test_an_init_container_that_fails_is_named() -> None:
    first = [
        {"name": "fetch", "state": ended(3)},
        {"name": "then", "state": {"waiting": {"reason": "PodInitializing"}}},
    ]
    waits = {"waiting": {"reason": "PodInitializing"}}
    event = status.status_of("j", job(), [pod(waits, phase="Failed", initContainerStatuses=first)]).event
    assert (event.state, event.exit_code, event.disruption) == (JobState.FAILED, None, False)
    assert event.reason == "init container fetch has failed, and the job was not started: exit code 3"


def test_a_pod_that_its_node_cannot_get_ready_is_reported() -> None:
    waits = pod({"waiting": {"reason": "ContainerCreating"}}, phase="Pending")
    assert (
        status.status_of("j", job(), [waits], "FailedMount: no such claim").event.reason == "FailedMount: no such claim"
    )
    pulls = pod({"waiting": {"reason": "ErrImagePull", "message": "no"}}, phase="Pending")
    assert status.status_of("j", job(), [pulls], "FailedMount: no such claim").event.reason == "ErrImagePull: no"


@pytest.mark.parametrize(
    "found",
    [
        (job(), [pod(ended(143), conditions=[DISRUPTED])]),
        (job(), [pod(ended(143), metadata=DELETED)]),
        (job(), [pod(ended(137, "ContainerStatusUnknown"))]),
        (job(), [pod(None, phase="Failed", reason="NodeShutdown", message="Pod was terminated")]),
        (job(), [pod(None, phase="Failed", reason="OutOfcpu")]),
        (job(conditions=[failed("PodFailurePolicy", "condition DisruptionTarget")]), []),
        (job(), [pod(ended(128, "StartError", message="failed to create shim task: context canceled: unknown"))]),
        (job(), [pod(ended(1, startedAt="1970-01-01T00:00:00Z"))]),
        (job(conditions=[GIVEN_UP]), []),
        (job(conditions=[GIVEN_UP]), [pod({"running": {}}, metadata=DELETED)]),
    ],
)
def test_what_the_cluster_does_is_no_failure_of_the_job(found: Any) -> None:
    event = status.status_of("j", *found).event
    assert (event.state, event.disruption) == (JobState.FAILED, True)
    assert event.reason


def test_an_eviction_for_its_own_appetite_is_the_jobs_own() -> None:
    message = "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi."
    event = status.status_of(
        "j", job(), [pod(ended(137), reason="Evicted", message=message, conditions=[DISRUPTED])]
    ).event
    assert (event.state, event.disruption) == (JobState.FAILED, False)
    assert "exceeds" in str(event.reason)


def test_a_job_that_ended_well_while_its_pod_was_deleted_is_finished() -> None:
    assert status.status_of("j", job(), [pod(ended(0), metadata=DELETED)]).event.state is JobState.FINISHED


def test_a_stop_of_ours_is_no_disruption() -> None:
    stopping = job(annotations={manifest.STOPPED: "true"}, metadata=DELETED)
    event = status.status_of("j", stopping, [pod(ended(143), metadata=DELETED)]).event
    assert (event.state, event.disruption) == (JobState.STOPPED, False)
    assert status.vanished("j", stopping, False).state is JobState.STOPPED
    assert status.vanished("j", job(), False).state is JobState.LOST


def test_other_containers_are_not_ours() -> None:
    sidecar = {"name": "sidecar", "state": ended(9)}
    both = pod({"running": {"startedAt": "2026-01-01T00:00:01Z"}})
    both["status"]["containerStatuses"].insert(0, sidecar)
    assert status.status_of("j", job(), [both]).event.state is JobState.RUNNING
    waits = pod({"waiting": {"reason": "PodInitializing"}}, initContainerStatuses=[{"name": "init", "state": ended(1)}])
    assert status.status_of("j", job(), [waits]).event.state is JobState.QUEUED


def test_why_it_waits_is_reported() -> None:
    words = "0/3 nodes are available: 3 Insufficient cpu."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    assert status.status_of("j", job(), [pod(None, conditions=[condition])]).event.reason == f"Unschedulable: {words}"
    assert status.status_of("j", job(), [], "exceeded quota").event.reason == "exceeded quota"


def test_a_job_that_its_startup_probe_has_not_seen_begin_is_queued_with_the_probes_words() -> None:
    page = "http://flink:8081"
    ours = job(annotations={manifest.PAGE: page})
    waits = pod({"running": {"startedAt": "2026-01-01T00:00:01Z"}})
    waits["status"]["containerStatuses"][0]["started"] = False
    words = "Startup probe failed: it waits for slots"
    event = status.status_of("j", ours, [waits], words).event
    assert (event.state, event.reason, event.instance) == (JobState.QUEUED, "it waits for slots", page)
    assert status.status_of("j", ours, [waits], "FailedMount: not any more").event.reason is None
    assert status.status_of("j", job(), [waits], words).event.state is JobState.RUNNING
    waits["status"]["containerStatuses"][0]["started"] = True
    event = status.status_of("j", ours, [waits], words).event
    assert (event.state, event.reason, event.instance) == (JobState.RUNNING, None, page)
    assert status.status_of("j", ours, [pod(ended(0))]).event.instance == "j-x"


def test_an_image_that_does_not_come_is_stuck() -> None:
    found = status.status_of("j", job(), [pod({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})])
    assert found.event.state is JobState.QUEUED
    assert found.stuck == "ImagePullBackOff: no such image"
    assert status.status_of("j", job(), [pod({"waiting": {"reason": "ContainerCreating"}})]).stuck is None


def test_a_second_pod_is_counted() -> None:
    later = pod({"running": {}}, metadata={"name": "j-y", "creationTimestamp": "2026-01-01T00:01:00Z"})
    assert status.status_of("j", job(), [pod({"running": {}}), later]).event.restarts == 1


def test_only_an_untouched_job_is_new() -> None:
    assert status.is_new({"metadata": {"annotations": {}}, "spec": {"suspend": True}})
    assert not status.is_new(job())
    suspended = job(spec={"suspend": True})  # by somebody, after we had started it
    assert not status.is_new(suspended)
    assert "suspended" in str(status.status_of("j", suspended, []).event.reason)


def test_a_deleted_job_is_lost_only_once_its_pod_is_gone() -> None:
    assert status.without_job("j", job(), [pod({"running": {}}, phase="Running")], False).state is JobState.RUNNING
    ending = pod(ended(143), metadata=DELETED, phase="Failed")
    assert status.without_job("j", job(), [ending], False).state is JobState.LOST
    assert status.without_job("j", job(), [], False).state is JobState.LOST
    left_alone = pod(ended(4), phase="Failed")
    event = status.without_job("j", job(), [left_alone], False)
    assert (event.state, event.exit_code) == (JobState.FAILED, 4)


NO_POD = 'Error creating: pods "j-x" is forbidden: '


@pytest.mark.parametrize(
    ("words", "is_final"),
    [
        (f'{NO_POD}violates PodSecurity "restricted:latest": runAsNonRoot != true', True),
        (f"{NO_POD}maximum cpu usage per Container is 1, but limit is 2", True),
        (f"{NO_POD}failed quota: q: must specify limits.cpu for: job", True),
        (f'{NO_POD}error looking up service account n/a: serviceaccount "a" not found', True),
        (f"{NO_POD}no PriorityClass with name high was found", True),
        ('Error creating: admission webhook "policy.example.com" denied the request: no', True),
        (f"{NO_POD}exceeded quota: q, requested: pods=1, used: pods=1", False),
        ("Error creating: Internal error occurred: failed calling webhook: connection refused", False),
        (None, False),
    ],
)
def test_what_admission_never_lets_in_is_stuck_and_a_used_up_quota_is_not(words: str | None, is_final: bool) -> None:
    found = status.status_of("j", job(), [], words)
    assert (found.event.state, found.event.reason) == (JobState.QUEUED, words)
    assert found.stuck == (words if is_final else None)


@pytest.mark.parametrize(
    ("job_state", "beside", "metadata", "failed"),
    [
        ({"running": {}}, {"state": ended(2)}, {}, {"s": False}),
        ({"running": {}}, {"state": ended(143)}, {}, {"s": False}),
        (ended(0), {"state": ended(143)}, {}, {}),  # it ends with the job
        (ended(0), {"state": ended(137, "OOMKilled")}, {}, {"s": False}),
        ({"running": {}}, {"state": ended(137)}, DELETED, {}),
        ({"running": {}}, {"state": ended(0)}, {}, {}),
        ({"running": {}}, {"state": {"running": {}}, "lastState": ended(1)}, {}, {"s": True}),
        ({"running": {}}, {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended(1)}, {},
         {"s": True}),
    ],
)  # fmt: skip
def test_containers_that_have_failed_beside_the_job(
    job_state: dict[str, Any], beside: dict[str, Any], metadata: dict[str, Any], failed: dict[str, bool]
) -> None:
    found = pod(job_state, metadata=metadata, initContainerStatuses=[{"name": "s", **beside}])
    assert status.failed_beside(found) == failed


def test_each_event_has_the_pod_and_its_node() -> None:
    on = {"spec": {"nodeName": "n1"}}
    waits = {**pod({"waiting": {"reason": "PodInitializing"}}, phase="Pending"), **on}
    for found in (waits, {**pod({"running": {}}), **on}, {**pod(ended(0)), **on}, {**pod(ended(3)), **on},
                  {**pod(None, phase="Failed", reason="Evicted"), **on}):  # fmt: skip
        event = status.status_of("j", job(), [found]).event
        assert (event.instance, event.node) == ("j-x", "n1")
    for event in (status.without_job("j", None, [{**pod({"running": {}}), **on}], False),
                  status.without_job("j", None, [{**pod(ended(3)), **on}], False)):  # fmt: skip
        assert (event.instance, event.node) == ("j-x", "n1")
    for pods in ([], [pod(None, phase="Pending")]):
        assert status.status_of("j", job(), pods).event.node is None


@pytest.mark.parametrize("queue", ["team-a", "$(id)", "a;id", "a\nb", "x" * 64, "", 7, ["a"], None])
def test_the_queue_that_a_server_names_is_in_a_command_to_copy_only_if_it_is_a_label(queue: Any) -> None:
    waiting = job(spec={"suspend": True}, metadata={"labels": {QUEUE: queue}})
    reason = str(status.status_of("j", waiting, []).event.reason)
    expected = (
        "localqueue team-a)" if queue == "team-a" else "its Job was suspended from outside; resume it with kubectl"
    )
    assert reason.endswith(expected)
