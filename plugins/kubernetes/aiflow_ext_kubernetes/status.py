"""The status of an attempt, derived from its Job and its pods.

Facts (kubernetes.io/docs, "Jobs" and "Pod Lifecycle"; measured on 1.34): the exit code is in the pod alone; a Job's
condition comes about a second after its pod's end; whatever the cluster does to a pod on its own account (preemption,
drain, eviction, a taint) leaves the condition DisruptionTarget; a pod that somebody deletes has a deletionTimestamp.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from aiflow_ext.plugin import AttemptEvent, JobState
from aiflow_ext.plugin.engines import OUT_OF_MEMORY, UNFINISHED
from aiflow_ext_kubernetes import manifest, usage
from aiflow_ext_kubernetes.template import CONTAINER
from aiflow_ext_kubernetes.times import seconds_since_epoch

Object = Mapping[str, Any]
# Reasons why a container waits and cannot start: the kubelet's terms, pkg/kubelet/{images,container}.
STUCK = frozenset((
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
    "RegistryUnavailable", "SignatureValidationFailed", "CreateContainerConfigError", "CreateContainerError",
    "RunContainerError", "PostStartHookError",
))  # fmt: skip
# Reasons for which a kubelet refuses or ends a pod that is not at fault.
_NODES_DOING = frozenset((
    "NodeShutdown", "Terminated", "Shutdown", "Preempting", "Preempted", "NodeLost", "NodeAffinity",
    "UnexpectedAdmissionError", "OutOfcpu", "OutOfmemory", "OutOfpods",
))  # fmt: skip
# In the API server's message if admission or validation refuses a pod.
_REFUSALS = ("is forbidden: ", "is invalid: ", "denied the request")
_ENDED_BY_OTHERS = (137, 143)  # exit codes of SIGKILL and SIGTERM
_HELPERS_FAILED = ("MaxFailedIndexesExceeded", "FailedIndexes")  # of an Indexed Job: of Flink's TaskManagers
SAVED = "stopped with the savepoint "  # how the message of a Flink job begins that has ended with one
_PROBE = "Startup probe failed: "  # how the kubelet's message begins
_NOT_STARTED = ("StartError", "ContainerCannotRun")
_NEVER = "1970-01-01T00:00:00Z"  # when a container was started that never was (measured)
# Messages of the runtime for which the program is the cause, and not the node.
_PROGRAMS_FAULT = ("not found", "no such file", "permission denied", "exec format error", "not a directory",
                   "invalid argument", "runasnonroot", "unable to find user")  # fmt: skip


class Status(NamedTuple):
    """The present status of an attempt.

    Args:
        event: the attempt's event.
        stuck: why the container cannot be started, if waiting will not help; else None.
    """

    event: AttemptEvent
    stuck: str | None = None


def is_never_admitted(words: str) -> bool:
    """Whether this message refuses a pod for what it is, so that waiting does not help, unlike a used-up quota or an
    admission webhook that does not answer."""
    return "exceeded quota" not in words and any(each in words for each in _REFUSALS)


def is_new(job: Object) -> bool:
    """Whether a Job was not started yet."""
    annotations = job["metadata"].get("annotations") or {}
    return bool((job.get("spec") or {}).get("suspend")) and manifest.RESUMED not in annotations


def is_ended(job: Object) -> bool:
    """Whether a Job has ended."""
    return any(_is(job, kind) for kind in ("Complete", "Failed"))


def is_stopped(job: Object) -> bool:
    """Whether aiflow-ext itself deletes it, for a stop."""
    return manifest.STOPPED in (job["metadata"].get("annotations") or {})


def status_of(native_id: str, job: Object, pods: Iterable[Object], why_pending: str | None = None) -> Status:
    """The status of an attempt whose Job exists.

    Args:
        native_id: the Job's name.
        job: the Job, as the server has it.
        pods: its pods, likewise.
        why_pending: why the Job has no pod, or its pod or what runs in it does not begin, where the cluster has
            reported it.
    """
    pods = sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
    restarts = max(0, len(pods) - 1)
    pod = next((each for each in pods if _terminated(each) is not None), pods[-1] if pods else None)
    exhausted = _condition(job, "Failed") or {}
    if exhausted.get("reason") in _HELPERS_FAILED and not is_stopped(job):  # which has ended the attempt's own pod
        words = f"its TaskManagers have failed too often: {exhausted.get('message')}"
        return Status(AttemptEvent(native_id, JobState.FAILED, restarts=restarts, reason=words, time=_ended_at(job),
                                   **_place(pod)))  # fmt: skip

    def tell(state: JobState, **facts: Any) -> Status:
        return Status(AttemptEvent(native_id, state, restarts=restarts, **{**_place(pod), **facts}))

    if pod is not None and (terminated := _terminated(pod)) is not None:
        return Status(_end(native_id, job, pod, terminated, restarts))
    if pod is not None and _phase(pod) == "Failed":
        status = pod.get("status") or {}
        reason = str(status.get("reason") or _init_words(pod) or "the pod has failed")
        said = ": ".join(filter(None, (reason, str(status.get("message") or ""))))
        return tell(JobState.STOPPED if is_stopped(job) else JobState.FAILED, reason=said,
                    disruption=_disrupted(job, pod), time=_ended_at(job))  # fmt: skip
    if (failed := _condition(job, "Failed")) is not None:
        reason, message = str(failed.get("reason") or ""), str(failed.get("message") or "")
        # A failed pod stays with its Job: if there is none, it was deleted.
        deleted = reason == "BackoffLimitExceeded" and (pod is None or _disrupted(job, pod))
        if deleted:
            message = "its pod is gone: it was deleted"
        stopped = is_stopped(job)
        return tell(
            JobState.STOPPED if stopped else JobState.FAILED, reason=message or reason,
            disruption=(deleted or reason == "PodFailurePolicy") and not stopped,
            time=_time(failed.get("lastTransitionTime")),
        )  # fmt: skip
    if _condition(job, "Complete") is not None:
        return tell(JobState.FINISHED, exit_code=0, time=_ended_at(job))
    if pod is not None and (running := _state_of(pod).get("running")) is not None:
        leaving = pod["metadata"].get("deletionTimestamp") and not is_stopped(job)
        shown = {} if (page := _page(job)) is None else {"instance": page}
        if is_starting(job, pod) and not leaving:
            _, probed, words = (why_pending or "").partition(_PROBE)
            return tell(JobState.QUEUED, reason=words if probed else None, **shown)
        began = _time((_condition(pod, "Ready") or {}).get("lastTransitionTime")) if page else None
        return tell(JobState.RUNNING, time=began or _time(running.get("startedAt")),
                    reason="its pod is being deleted" if leaving else None, **shown)  # fmt: skip
    if pod is None:
        if (job.get("spec") or {}).get("suspend") and not is_new(job):
            queue = manifest.queue_of(job)
            why_pending = (
                "its Job was suspended from outside; resume it with kubectl" if queue is None
                else f"waits until Kueue admits it from queue {queue} (kubectl describe localqueue {queue})"
            )  # fmt: skip
        stuck = why_pending if is_never_admitted(why_pending or "") else None
        return Status(tell(JobState.QUEUED, reason=why_pending).event, stuck)
    return _pending(native_id, pod, restarts, why_pending)


def without_job(native_id: str, last: Object | None, pods: Iterable[Object], stopped: bool) -> AttemptEvent:
    """The status of an attempt whose Job is not there any more: LOST only once its pods are gone too.

    Args:
        native_id: the Job's name.
        last: its Job as it was last seen.
        pods: those that exist. One that is left behind by its Job goes on, and has the true end.
        stopped: whether the attempt is known to have been stopped by us, whatever ``last`` says.
    """
    pods = list(pods)
    for pod in pods:
        terminated = _terminated(pod)
        if terminated is not None and (terminated.get("exitCode") == 0 or not pod["metadata"].get("deletionTimestamp")):
            return _end(native_id, last or {"metadata": {"deletionTimestamp": "gone"}}, pod, terminated, 0)
    if any(_phase(pod) not in ("Failed", "Succeeded") for pod in pods):
        return AttemptEvent(native_id, JobState.RUNNING, reason="its Job was deleted; its pod still exists",
                            **_place(pods[-1]))  # fmt: skip
    return vanished(native_id, last, stopped)


def vanished(native_id: str, last: Object | None, stopped: bool) -> AttemptEvent:
    """The end of an attempt whose Job and pods are all gone; arguments as of :func:`without_job`."""
    if stopped or (last is not None and is_stopped(last)):
        return AttemptEvent(native_id, JobState.STOPPED, reason="stopped")
    return AttemptEvent(native_id, JobState.LOST, reason="its Job does not exist any more: it was deleted")


def _end(native_id: str, job: Object, pod: Object, terminated: Object, restarts: int) -> AttemptEvent:
    code, why = int(terminated.get("exitCode", 0)), str(terminated.get("reason") or "")
    status = pod.get("status") or {}
    said, used = usage.split(str(terminated.get("message") or ""))
    if said == UNFINISHED and code != 1:  # the container was killed as a whole, its shell included
        said = ""
    if code == 0 and why not in (*_NOT_STARTED, "ContainerStatusUnknown"):
        saved = said if said.startswith(SAVED) else None
        state = JobState.STOPPED if saved and is_stopped(job) else JobState.FINISHED
        return AttemptEvent(native_id, state, exit_code=0, time=_time(terminated.get("finishedAt")),
                            reason=saved, restarts=restarts, usage=used, **_place(pod))  # fmt: skip
    exit_code: int | None = code
    disruption = _disrupted(job, pod)
    never = why in _NOT_STARTED or terminated.get("startedAt") == _NEVER
    if never and why != "ContainerStatusUnknown":
        programs = any(each in said.lower() for each in _PROGRAMS_FAULT)
        # Measured: "failed to start ...: context canceled" was said of a container that had run to its end.
        unsure = "failed to start" in said and not programs
        begins = "the node does not know whether the container started" if unsure else "the container was not started"
        exit_code, words = None, f"{begins}: {said or why}"
        disruption = not is_stopped(job) and not programs
    elif why == "ContainerStatusUnknown":
        exit_code, disruption = None, not is_stopped(job)
        words = "the node does not know any more what became of the container"
    elif why == "OOMKilled":
        limit = _memory_limit(pod)
        words = f"out of memory (OOMKilled){f', at its limit of {limit}' if limit else ''}: {said or _code(code)}"
    elif status.get("reason"):
        words = ": ".join(filter(None, (str(status["reason"]), str(status.get("message") or said or _code(code)))))
    else:
        words = said or _code(code)
    if disruption and not never:
        words = f"{_disruptor(pod)}: {words}"
    state = JobState.STOPPED if is_stopped(job) else JobState.FAILED
    hungry = why == "OOMKilled" or said.startswith(OUT_OF_MEMORY)
    return AttemptEvent(native_id, state, exit_code=exit_code, time=_time(terminated.get("finishedAt")), reason=words,
                        disruption=disruption and state is JobState.FAILED, restarts=restarts, out_of_memory=hungry,
                        usage=used, **_place(pod))  # fmt: skip


def _place(pod: Object | None) -> dict[str, Any]:
    """A pod's name and its node's, as an event has them."""
    if pod is None:
        return {}
    node = (pod.get("spec") or {}).get("nodeName")
    return {"instance": str(pod["metadata"]["name"]), "node": str(node) if node else None}


def _init_words(pod: Object) -> str | None:
    """A message about the init container because of which the job's own did not start."""
    for container in (pod.get("status") or {}).get("initContainerStatuses") or ():
        terminated = (container.get("state") or {}).get("terminated") or {}
        if code := int(terminated.get("exitCode") or 0):
            said = str(terminated.get("message") or "").strip() or _code(code)
            if terminated.get("reason") == "OOMKilled":
                said = f"out of memory (OOMKilled): {said}"
            return f"init container {container.get('name')} has failed, and the job was not started: {said}"
    return None


def _code(code: int) -> str:
    if code > 128:
        try:
            return f"ended by {signal.Signals(code - 128).name} (exit code {code})"
        except ValueError:
            pass
    return f"exit code {code}" + (": the image has no such program" if code == 127 else "")


def _disrupted(job: Object, pod: Object) -> bool:
    """Whether the cluster has ended the pod, or a user has deleted it."""
    status = pod.get("status") or {}
    reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    if is_stopped(job) or reason == "DeadlineExceeded":
        return False
    if (
        reason == "Evicted" and "exceed" in message
    ):  # its own use of a disk or of memory: the next one would do the same
        return False
    deleted = pod["metadata"].get("deletionTimestamp") and not job["metadata"].get("deletionTimestamp")
    return bool(deleted) or reason in _NODES_DOING or _condition(pod, "DisruptionTarget") is not None


def _disruptor(pod: Object) -> str:
    found = _condition(pod, "DisruptionTarget")
    if found is None:
        return "its pod was deleted"
    return f"disrupted ({found.get('reason')}): {str(found.get('message') or '').rstrip('. ')}"


def is_running(pod: Object) -> bool:
    """Whether the job's container runs."""
    return _state_of(pod).get("running") is not None


def is_starting(job: Object, pod: Object) -> bool:
    """Whether the job's container runs, and what it runs has not begun: only its startup probe tells."""
    return _page(job) is not None and is_running(pod) and _status_of(pod).get("started") is False


def _page(job: Object) -> str | None:
    """The address of the attempt's web page."""
    found = (job["metadata"].get("annotations") or {}).get(manifest.PAGE)
    return None if found is None else str(found)


def has_run(pod: Object) -> bool:
    """Whether the job's container has started."""
    state = _state_of(pod)
    began = (state.get("running") or state.get("terminated") or {}).get("startedAt")
    return began is not None and began != _NEVER


def failed_beside(pod: Object) -> dict[str, bool]:
    """The containers beside the job's own that have failed, init containers and sidecars: by name, whether that was
    before they were started again. One that is ended with its pod, or because the job has ended, has not failed."""
    leaves = bool(pod["metadata"].get("deletionTimestamp")) or _terminated(pod) is not None
    found: dict[str, bool] = {}
    for container in _statuses(pod):
        name = str(container.get("name"))
        for key, previous in (("state", False), ("lastState", True)):
            terminated = (container.get(key) or {}).get("terminated") or {}
            code = terminated.get("exitCode")
            ended = leaves and code in _ENDED_BY_OTHERS and terminated.get("reason") != "OOMKilled"
            if name != CONTAINER and code and not ended:
                found.setdefault(name, previous)
    return found


def is_ready(pod: Object) -> bool:
    """Whether a pod's containers have passed their readiness probes."""
    return _condition(pod, "Ready") is not None


def is_prepared(pod: Object) -> bool:
    """Whether a node is getting a pod ready: neither of its containers has begun."""
    states = [each.get("state") or {} for each in _statuses(pod)]
    return (
        _phase(pod) == "Pending"
        and bool(states)
        and all(
            (each.get("waiting") or {}).get("reason") in ("ContainerCreating", "PodInitializing") for each in states
        )
    )


def _pending(native_id: str, pod: Object, restarts: int, why: str | None) -> Status:
    status = pod.get("status") or {}
    stuck = words = None
    for container in _statuses(pod):
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason = str(waiting.get("reason") or "")
        if reason in STUCK:
            name = "" if container.get("name") == CONTAINER else f"container {container.get('name')}: "
            stuck = words = name + ": ".join(filter(None, (reason, str(waiting.get("message") or ""))))
            break
    if words is None:
        scheduled = [each for each in status.get("conditions") or () if each.get("type") == "PodScheduled"]
        if scheduled and scheduled[0].get("status") == "False":
            words = ": ".join(
                filter(None, (str(scheduled[0].get("reason") or ""), str(scheduled[0].get("message") or "")))
            )
    if words is None and is_prepared(pod):
        words = why
    return Status(AttemptEvent(native_id, JobState.QUEUED, reason=words, restarts=restarts, **_place(pod)), stuck)


def _statuses(pod: Object) -> list[Mapping[str, Any]]:
    """What its node says of each container, init containers first."""
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _status_of(pod: Object) -> Mapping[str, Any]:
    """What its node says of the job's container, not of init containers and sidecars."""
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        if container.get("name") == CONTAINER:
            return dict(container)
    return {}


def _state_of(pod: Object) -> Mapping[str, Any]:
    """The state of the job's container."""
    return _status_of(pod).get("state") or {}


def _terminated(pod: Object) -> Mapping[str, Any] | None:
    return _state_of(pod).get("terminated")


def _memory_limit(pod: Object) -> str | None:
    limit = ((_status_of(pod).get("resources") or {}).get("limits") or {}).get("memory")
    return None if limit is None else str(limit)


def _phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase"))


def _condition(thing: Object, kind: str) -> Mapping[str, Any] | None:
    for each in (thing.get("status") or {}).get("conditions") or ():
        if each.get("type") == kind and each.get("status") == "True":
            return dict(each)
    return None


def _is(job: Object, kind: str) -> bool:
    return _condition(job, kind) is not None


def _ended_at(job: Object) -> float | None:
    found = _condition(job, "Complete") or _condition(job, "Failed") or {}
    return _time(found.get("lastTransitionTime"))


def _time(text: Any) -> float | None:
    """Seconds since the epoch; Kubernetes has whole seconds."""
    if not isinstance(text, str):
        return None
    try:
        return seconds_since_epoch(text)
    except ValueError:
        return None


def since(job: Object) -> float | None:
    """When a Job was last started, by the cluster's clock."""
    return _time((job.get("status") or {}).get("startTime"))
