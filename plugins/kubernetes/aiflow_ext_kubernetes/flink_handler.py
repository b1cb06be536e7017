"""The handler of a Flink job on a cluster: as that of any job, but a stop may take a savepoint first."""

from __future__ import annotations

import time
from typing import Any

from aiflow_ext.plugin import PlatformError, UnreachableError
from aiflow_ext.plugin.engines import Backoff
from aiflow_ext_flink import session
from aiflow_ext_flink.rest import FlinkRest, Refused
from aiflow_ext_flink.restarts import Restarts, restarts_at
from aiflow_ext_kubernetes import status
from aiflow_ext_kubernetes.flink_rest import ProxiedRest
from aiflow_ext_kubernetes.flink_session import rest_of
from aiflow_ext_kubernetes.handler import KubernetesHandler
from aiflow_ext_kubernetes.objects import job_at, pods_of

SAVES_WITHIN = 600.0  # seconds in which a savepoint must be complete: Flink's own limit for a checkpoint
ENDS_WITHIN = 60.0  # seconds in which the JobManager ends after the savepoint of a stop
# Flink's states of a job that may run: what its REST API says is up to three seconds old.
MAY_RUN = ("INITIALIZING", "CREATED", "RUNNING", "RESTARTING", "FAILING")
PAUSE = (0.2, 2.0)  # seconds between two questions: the first pause, and the longest


class KubernetesFlinkHandler(KubernetesHandler):
    """The handler of a Flink cluster's Job.

    Args:
        flink_id: the id of the job at Flink; None: stopping it needs none, because it takes no savepoint.
        drain: whether windows and timers fire before the savepoint.
        others: those of KubernetesHandler.
    """

    def __init__(self, native_id: str, flink_id: str | None = None, drain: bool = False, **others: Any) -> None:
        super().__init__(native_id, **others)
        self.flink_id, self.drain = flink_id, drain
        self.savepoints: str | None = None  # the folder that the cluster is configured with

    def stop(self, grace: float = 10.0) -> bool | None:
        """Stop it with a savepoint, if that is how it is stopped and it runs, unless ``grace`` is 0; or delete it, as
        any other Job. Raises PlatformError where the savepoint fails: then the job runs on."""
        if self.flink_id is not None and grace > 0 and self._runs() and self._save(self.flink_id):
            deadline = time.monotonic() + ENDS_WITHIN
            pause = Backoff(*PAUSE)
            while self._runs() and time.monotonic() < deadline:
                time.sleep(pause.next())
        return super().stop(grace)

    def restarts(self) -> Restarts:
        """How often Flink has restarted its jobs. Raises PlatformError."""
        rest = self._rest()
        return restarts_at(rest, self._jobs(rest))

    def _jobs(self, rest: FlinkRest) -> list[dict[str, Any]]:
        """Its jobs at Flink: all of the cluster."""
        return rest.jobs()

    def _rest(self) -> FlinkRest:
        """Of the cluster that the job runs in."""
        return ProxiedRest(self.target, self.native_id)

    def _runs(self) -> bool:
        """Whether the JobManager's container runs."""
        pods = pods_of(self.target, self.native_id)
        return bool(pods) and status.is_running(pods[-1])

    def _save(self, job_id: str) -> bool:
        """Have the job take a savepoint and end, and return whether it does: one that has not begun, or has ended, has
        nothing to save. Raises PlatformError."""
        rest = self._rest()
        if session.status(rest, job_id) not in MAY_RUN:
            return False
        self._mark_stopped()
        try:
            self._await_savepoint(rest, job_id, rest.stop(job_id, self.savepoints, drain=self.drain))
        except PlatformError:
            if self._is_starting() and not session.has_begun(rest, job_id):
                return False
            raise
        return True

    def _is_starting(self) -> bool:
        """Whether the startup probe has seen no task of the job yet."""
        job, pods = job_at(self.target, self.native_id), pods_of(self.target, self.native_id)
        return job is not None and bool(pods) and status.is_starting(job, pods[-1])

    def _await_savepoint(self, rest: FlinkRest, job_id: str, request: str) -> None:
        """Return once a savepoint is complete, or the job is gone. Raises PlatformError."""
        pause, deadline = Backoff(*PAUSE), time.monotonic() + SAVES_WITHIN
        while True:
            try:
                if rest.savepoint(job_id, request) is not None:
                    return
            except (UnreachableError, Refused):
                if not self._runs():  # it has ended with its savepoint, or has failed: its pod tells which
                    return
                if job_at(self.target, self.native_id) is None:
                    return
            if time.monotonic() > deadline:
                raise PlatformError(
                    f"the savepoint takes longer than {SAVES_WITHIN:g} s; the job runs on",
                    hint="stop it again, or without a savepoint: aiflow-ext stop --grace 0",
                )
            time.sleep(pause.next())


class KubernetesSessionHandler(KubernetesFlinkHandler):
    """The handler of a job in a session cluster, whose own pod only submits and follows it.

    Args:
        job_id: its id at Flink.
        session: the session cluster's address, as in the config.
        saves: whether stopping it takes a savepoint.
        savepoints: URL of the folder for that; None: the one that the session cluster is configured with.
        others: those of KubernetesFlinkHandler.
    """

    def __init__(
        self, native_id: str, job_id: str, session: str, saves: bool, savepoints: str | None = None, **others: Any
    ) -> None:
        super().__init__(native_id, job_id if saves else None, **others)
        self.job_id, self.session, self.saves, self.savepoints = job_id, session, saves, savepoints

    def stop(self, grace: float = 10.0) -> bool | None:
        """Stop it as any Flink job. Its pod cancels it where that is deleted; what it could not is done here."""
        found = super().stop(grace)
        session.end_job(self._rest(), self.job_id)
        return found

    def _jobs(self, rest: FlinkRest) -> list[dict[str, Any]]:
        return [{"jid": self.job_id, "state": rest.job_status(self.job_id)}]

    def _rest(self) -> FlinkRest:
        return rest_of(self.target, self.session)
