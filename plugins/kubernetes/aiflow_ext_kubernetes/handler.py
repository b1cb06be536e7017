"""The handler of an attempt on a cluster: plain data, usable in any process."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Collection, Mapping
from typing import Any

from aiflow_ext.plugin import AbstractJobHandler, JobState, PlatformError
from aiflow_ext.plugin.engines import check_stream, read_log_file
from aiflow_ext.plugin.supervised import write_regular
from aiflow_ext_kubernetes import answers, manifest, status
from aiflow_ext_kubernetes.logs.beside import begin_to_keep_failed
from aiflow_ext_kubernetes.logs.keep import is_kept, keep_to_eof
from aiflow_ext_kubernetes.logs.reader import reader_of
from aiflow_ext_kubernetes.objects import (
    JOB,
    delete_job,
    is_main,
    job_at,
    job_path,
    list_pods,
    pod_path,
    pods_of,
    send_if_there,
)
from aiflow_ext_kubernetes.pinned import of_run
from aiflow_ext_kubernetes.server import MERGE_PATCH, READ, namespace_of, server_of
from aiflow_ext_kubernetes.target import Target

PATIENCE = 60.0  # seconds beyond the grace period in which a pod's node must have confirmed that it is gone
EOF_WITHIN = 5.0  # seconds beyond the grace period in which a container has ended, and its log with it
LOOK = 10.0  # seconds that one watch of a waiting handler lasts
_EVENT = {"type": str, "object": dict}
STOPPING = ".stopping"  # a file in an attempt's folder: the deletion that follows is aiflow-ext's own


class KubernetesHandler(AbstractJobHandler):
    """The handler of a Job.

    Args:
        native_id: the Job's name.
        kubeconfig, context, namespace: where it is, as in the config.
        folder: the attempt's folder on this machine, where its log is kept at its end.
        run_folder: the run's folder on this machine, where the cluster in which it began is recorded.
    """

    def __init__(
        self,
        native_id: str,
        kubeconfig: str | None = None,
        context: str | None = None,
        namespace: str | None = None,
        folder: str | None = None,
        run_folder: str | None = None,
    ) -> None:
        self.native_id, self.folder, self.run_folder = native_id, folder, run_folder
        self.kubeconfig, self.context, self.namespace = kubeconfig, context, namespace

    @property
    def target(self) -> Target:
        """Where it is."""
        return of_run(Target(self.kubeconfig, self.context, self.namespace), self.run_folder)

    def state(self) -> JobState | None:
        return self._look()[0]

    def _look(self) -> tuple[JobState | None, str]:
        """Its state, and the version of its pods that this is of."""
        job = job_at(self.target, self.native_id)
        found = list_pods(self.target, self.native_id)
        pods = list(filter(is_main, found.items))
        if job is None:
            return status.without_job(self.native_id, None, pods, is_stopping(self.folder)).state, found.version
        return status.status_of(self.native_id, job, pods).event.state, found.version

    def wait(self, timeout: float | None = None) -> JobState | None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            state, version = self._look()
            left = LOOK if deadline is None else deadline - time.monotonic()
            if state is None or state.ended or left <= 0:
                return state
            self._await_change(version, min(left, LOOK))

    def logs(self, stream: str = "stdout", offset: int = 0) -> bytes | None:
        check_stream(stream)
        if is_kept(self.folder):
            return read_log_file(str(self.folder), stream, offset)
        return reader_of(self.target, self.native_id).read(stream, offset)

    def stop(self, grace: float = 10.0) -> bool | None:
        """Delete the Job and its pod, and return once the pod is gone. Raises PlatformError where it does not go."""
        job, pods = job_at(self.target, self.native_id), pods_of(self.target, self.native_id)
        if job is None and not pods:
            return True
        if job is not None and (
            status.is_ended(job) or (pods and status.status_of(self.native_id, job, pods).event.state.ended)
        ):
            return True
        self._mark_stopped()
        # The pod before its Job: the garbage collector, which follows that, would give it the grace of its spec.
        keeping = [self._end_pod(pod, grace) for pod in pods]
        delete_job(self.target, self.native_id, foreground=True)
        if not keeping:  # it may have come just now
            keeping = [self._end_pod(pod, grace) for pod in pods_of(self.target, self.native_id)]
        for thread in keeping:
            thread.join()
        self._confirm(grace)
        return True

    def _mark_stopped(self) -> None:
        """Record that the end that follows is a stop: with the Job, for any client, and on this machine, for a watch
        that does not see the Job once more before it is gone."""
        note_stopping(self.folder)
        mark = {"metadata": {"annotations": {manifest.STOPPED: "true"}}}
        send_if_there(server_of(self.target), "PATCH", job_path(self.target, self.native_id), mark,
                      content_type=MERGE_PATCH)  # fmt: skip

    def _end_pod(self, pod: Mapping[str, Any], grace: float) -> threading.Thread:
        """Delete a pod, and return the thread that keeps its log, which goes with it."""
        name = str(pod["metadata"]["name"])
        keeping, answered = keep_to_eof(self.target, self.native_id, self.folder, name, grace + EOF_WITHIN)
        if failed := status.failed_beside(pod):
            begin_to_keep_failed(self.target, self.folder, name, failed).join(READ)
        answered.wait(READ)
        # At least a second: 0 takes the pod out of the API, whether its processes have ended or not.
        how = {"gracePeriodSeconds": max(1, math.ceil(grace))}
        send_if_there(server_of(self.target), "DELETE", pod_path(self.target, name), how)
        return keeping

    def _confirm(self, grace: float) -> None:
        """Wait until the pods are gone."""
        deadline = time.monotonic() + grace + PATIENCE
        while (found := list_pods(self.target, self.native_id)).items:
            left = deadline - time.monotonic()
            if left <= 0:
                pod = found.items[-1]
                name, node = pod["metadata"]["name"], (pod.get("spec") or {}).get("nodeName")
                raise PlatformError(
                    f"its Job was deleted, and node {node} has not confirmed that pod {name} is gone",
                    hint="see whether the node is up: kubectl get nodes; until it answers, the job may still run there",
                )
            names = {pod["metadata"]["name"] for pod in found.items}
            if self._await_change(found.version, min(left, LOOK), names):
                return

    def _await_change(self, version: str, seconds: float, there: Collection[str] = ()) -> bool:
        """Return at a change of the attempt's pods since a list of them, or in so many seconds; if the names of those
        that are ``there`` are given, only once all have gone, and whether they have."""
        stream = server_of(self.target).stream(
            f"/api/v1/namespaces/{namespace_of(self.target)}/pods", silence=seconds + 30, lasts=seconds + 30,
            labelSelector=f"{JOB}={self.native_id}", watch="true", resourceVersion=version,
            timeoutSeconds=max(1, math.ceil(seconds)),
        )  # fmt: skip
        left = set(there)
        try:
            for line in stream.lines():
                event = answers.read(answers.parsed(line, "the API server"), _EVENT, "an event")
                metadata = answers.read(event.get("object", {}).get("metadata", {}), answers.METADATA, "its metadata")
                if event.get("type") == "ERROR":
                    return False
                if event.get("type") == "DELETED":
                    left.discard(metadata.get("name"))
                elif there:
                    left.add(metadata.get("name"))
                if not left:
                    return bool(there)
        finally:
            stream.close()
        return False


def is_stopping(folder: str | None) -> bool:
    """Whether an attempt is being stopped, or was, by any process of this machine."""
    return folder is not None and os.path.exists(os.path.join(folder, STOPPING))


def note_stopping(folder: str | None) -> None:
    """Record, for watches of this machine, that the end of an attempt that follows is a stop."""
    if folder is not None:
        with contextlib.suppress(OSError):  # the Job's own annotation says it, too
            write_regular(os.path.join(folder, STOPPING), b"")
