"""The Job and the pods of an attempt on the API server: found and deleted by its native id."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aiflow_ext_kubernetes import answers
from aiflow_ext_kubernetes.gathered import Gathered
from aiflow_ext_kubernetes.paging import listed
from aiflow_ext_kubernetes.refusals import ApiError
from aiflow_ext_kubernetes.server import Server, namespace_of, server_of
from aiflow_ext_kubernetes.target import Target

JOB = "batch.kubernetes.io/job-name"  # label of a Job's pods
INDEX = "batch.kubernetes.io/job-completion-index"  # label of an Indexed Job's pods
AT_ONCE = 50  # attempts whose pods one list asks for: their names are in its URL


class Pods(NamedTuple):
    """The pods of an attempt, of all indexes, oldest first.

    Args:
        version: the list's resourceVersion, which a watch goes on from.
    """

    items: list[dict[str, Any]]
    version: str


def job_path(target: Target, native_id: str) -> str:
    """Where a Job is in the API."""
    return f"/apis/batch/v1/namespaces/{namespace_of(target)}/jobs/{native_id}"


def pod_path(target: Target, name: str) -> str:
    """Where a pod is in the API."""
    return f"/api/v1/namespaces/{namespace_of(target)}/pods/{name}"


def job_at(target: Target, native_id: str) -> dict[str, Any] | None:
    """The Job of an attempt, or None where it is not there."""
    found = send_if_there(server_of(target), "GET", job_path(target, native_id))
    return None if found is None else answers.thing(found)


def is_main(pod: Mapping[str, Any]) -> bool:
    """Whether a pod is the attempt's own: of an Indexed Job it is that of index 0, and the others are its helpers."""
    return bool((pod["metadata"].get("labels") or {}).get(INDEX, "0") == "0")


def pods_of(target: Target, native_id: str) -> list[dict[str, Any]]:
    """The pods of an attempt, oldest first: of an Indexed Job, those of index 0."""
    return [pod for pod in all_pods_of(target, native_id) if is_main(pod)]


def all_pods_of(target: Target, native_id: str) -> list[dict[str, Any]]:
    """The pods of an attempt, of all indexes, oldest first."""
    return list_pods(target, native_id).items


def list_pods(target: Target, native_id: str) -> Pods:
    """Likewise, with the list's version.

    The server goes through all pods of the namespace for a list: where hundreds of jobs are stopped at once, a list
    asks for the pods of many of them.
    """
    return _lists(target).of(native_id)


@functools.lru_cache(maxsize=64)
def _lists(target: Target) -> Gathered[Pods]:
    return Gathered(functools.partial(_list_pods, target), AT_ONCE)


def _list_pods(target: Target, native_ids: Sequence[str]) -> dict[str, Pods]:
    named = f"={native_ids[0]}" if len(native_ids) == 1 else f" in ({','.join(native_ids)})"
    path = f"/api/v1/namespaces/{namespace_of(target)}/pods"
    found, version = listed(server_of(target), path, answers.thing, labelSelector=f"{JOB}{named}")
    pods: dict[str, list[dict[str, Any]]] = {native_id: [] for native_id in native_ids}
    for pod in sorted(found, key=lambda pod: str(pod["metadata"].get("creationTimestamp"))):
        its = (pod["metadata"].get("labels") or {}).get(JOB)
        if its in pods:
            pods[its].append(pod)
    return {native_id: Pods(items, version) for native_id, items in pods.items()}


def delete_job(target: Target, native_id: str, *, foreground: bool = False) -> bool:
    """Delete an attempt's Job with all that it owns; False where it is not there."""
    # Needed each time: without it the API leaves the pods behind.
    how = {"propagationPolicy": "Foreground" if foreground else "Background"}
    return send_if_there(server_of(target), "DELETE", job_path(target, native_id), how) is not None


def remove(target: Target, native_id: str) -> None:
    """Delete an attempt's Job, and pods that an earlier deletion of it has left behind."""
    if delete_job(target, native_id):
        return
    for pod in all_pods_of(target, native_id):
        send_if_there(server_of(target), "DELETE", pod_path(target, pod["metadata"]["name"]))


def send_if_there(server: Server, method: str, path: str, body: Any = None, **more: Any) -> Any:
    """What the server answers; None where there is no such object."""
    try:
        return server.send(method, path, body, **more)
    except ApiError as error:
        if error.status == 404:
            return None
        raise
