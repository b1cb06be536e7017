"""An attempt as its application on the cluster: its state, its end, its staging folder and its logs."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from aiflow_ext.plugin import AttemptEvent, JobState, Jsonable, Lookup, PlatformError
from aiflow_ext.plugin.engines import RAN_WITH, STREAMS, Backoff, poll, read_log_file, retry
from aiflow_ext_yarn import master, poll_hints
from aiflow_ext_yarn.cluster import Cluster
from aiflow_ext_yarn.http_failures import Refused, Unreachable
from aiflow_ext_yarn.logs import Container, Logs, container_of
from aiflow_ext_yarn.master import outcome
from aiflow_ext_yarn.reports import ENDED
from aiflow_ext_yarn.resourcemanager import ResourceManager
from aiflow_ext_yarn.states import MARKER_DELAY, event_of, silence_of, state_of, unheard, was_stopped
from aiflow_ext_yarn.webhdfs import WebHdfs

Json = dict[str, Any]
KILL_TIMEOUT = 60.0  # seconds in which YARN must have ended a killed application
GONE_TIMEOUT = 30.0  # seconds in which the node must show that an ended application has no processes
AGGREGATION_TIMEOUT = 60.0  # seconds for logs to be aggregated; a node that is restarted needs half of it
NO_LOGS_TIMEOUT = 3.0  # the same, for a job that may never have begun and may have no logs


class Application(Jsonable):
    """An attempt as an application.

    Args:
        cluster: its cluster.
        native_id: its application id.
        run: the run's id.
        work_folder: its folder on the client, to which its logs are downloaded.
    """

    def __init__(self, cluster: Cluster, native_id: str, run: str, work_folder: str) -> None:
        self.cluster, self.native_id, self.run, self.work_folder = cluster, native_id, run, work_folder

    @property
    def folder(self) -> str:
        """Its staging folder."""
        return f"{self.cluster.run_folder(self.run)}/{self.native_id}"

    @property
    def rm(self) -> ResourceManager:
        return ResourceManager(self.cluster)

    @property
    def files(self) -> WebHdfs:
        return WebHdfs(self.cluster)

    # -- state ------------------------------------------------------------------------------------------------------

    def lookup(self) -> Lookup:
        """Look the application up: at the ResourceManager, then by the start marker, then in the history.

        The staging folder is made before the resources are recorded, and stays until the run is cleaned up: if it
        exists without a marker, no application master has started the job.
        """
        if self.rm.report(self.native_id) is not None:
            return Lookup.FOUND
        names = self.files.names(self.folder)
        if names is None:
            return Lookup.FOUND if self._in_history() else Lookup.UNKNOWN
        if master.STARTED in names:
            return Lookup.FOUND
        poll_hints.absent(self.native_id)  # the driver may submit it again, and until then there is nothing to ask for
        return Lookup.NEVER_STARTED

    def _in_history(self) -> bool:
        if self.cluster.history is None:
            return False
        try:
            answer = Logs(self.cluster).http.request(
                "GET", f"{self.cluster.history}/aggregatedlogs", {"appid": self.native_id}
            )
        except PlatformError:
            return False
        container = self.native_id.replace("application_", "").encode()
        return answer.status == 200 and b"container_" in answer.body and container in answer.body

    def event(self, report: Json | None) -> AttemptEvent | None:
        """Its state or end, from its report; None if nothing shows that it was ever submitted."""
        event = self._event(report)
        if event is not None and report is not None and (container := container_of(report)) is not None:
            event.instance, event.node = container.id, container.host
        return event

    def leave(self) -> None:
        """It is not polled for any more."""

    def explained(self, event: AttemptEvent, report: Json) -> AttemptEvent:
        """The event of its end, with what only its logs tell; while they are downloaded, that it goes on.

        Called by the watch, where it must not hold up other attempts.
        """
        return event

    def _event(self, report: Json | None) -> AttemptEvent | None:
        if report is not None:
            if state_of(report) is not JobState.FAILED or outcome.LABEL in str(report.get("diagnostics") or ""):
                return event_of(self.native_id, report)
            markers = self._markers()
            ended = self._recorded_end() if markers is None or master.ENDED in markers else None
            began = None if markers is None else master.STARTED in markers
            silence = self._silence(report) if began is False and unheard(report) else None
            return event_of(self.native_id, report, ended, began=began, silence=silence)
        names = self.files.names(self.folder)
        if names is None:
            if not self._in_history():
                return None
            words = (
                "the ResourceManager has forgotten the application, and its files are gone; its logs show that it ran"
            )
            return AttemptEvent(self.native_id, JobState.LOST, reason=words)
        ended = self._recorded_end() if master.ENDED in names else None
        if ended is not None:
            event = event_of(self.native_id, {"state": "FAILED"}, ended)
            if not was_stopped(ended):
                return event
            words = f"the ResourceManager does not know the application any more, and YARN ended it: {event.reason}"
            return AttemptEvent(self.native_id, JobState.LOST, reason=words)
        if master.STARTED in names:
            words = "the ResourceManager has forgotten the application, which had started; how it ended is not known"
            return AttemptEvent(self.native_id, JobState.LOST, reason=words)
        return None

    def _silence(self, report: Json) -> str | None:
        """Why its master never registered: what its node has of it tells; None where the node does not answer."""
        container, logs = container_of(report), Logs(self.cluster)
        if container is None:
            return None
        try:
            said = logs.read(container, "am.stderr", 0, ended=True)
            if said is None and logs.gone(container) is not True:
                return None
        except PlatformError:
            return None
        return silence_of(said)

    def began_at(self, launched: float | None) -> float | None:
        """When the job started, in seconds since the epoch, from when its container was launched; None: not known.

        The start marker is asked for where it may have been made much later: the file system was in safe mode.
        """
        if launched is None or abs(time.time() - launched) < MARKER_DELAY:
            return launched
        try:
            marker = self.files.status(f"{self.folder}/{master.STARTED}")
        except PlatformError:
            return None
        return launched if marker is None else max(launched, marker.timestamp / 1000)

    def _markers(self) -> list[str] | None:
        """The names in its staging folder; None where there is no folder, or it cannot be read."""
        try:
            return self.files.names(self.folder)
        except PlatformError:  # no NameNode answers, or not to us: one attempt holds up no other
            return None

    def _recorded_end(self) -> bytes | None:
        try:
            return self.files.read(f"{self.folder}/{master.ENDED}")
        except PlatformError:
            return None

    # -- stop -------------------------------------------------------------------------------------------------------

    def stop(self, grace: float) -> None:
        """SIGTERM by the application master, ``grace`` seconds, then YARN's kill; returns once its processes are gone.

        Raises PlatformError where that cannot be shown.
        """
        report = retry(lambda: self.rm.report(self.native_id), self.cluster.patience)
        if report is None:
            return
        if report["state"] == "RUNNING" and grace > 0:
            container = container_of(report)
            if container is not None and self._signalled(container):
                report = self._until_ended(report, grace)
        if report is not None and report["state"] not in ENDED:
            retry(lambda: self.rm.kill(self.native_id), self.cluster.patience)
            report = self._until_ended(report, KILL_TIMEOUT)
        if report is None:
            return
        if report["state"] not in ENDED:
            raise PlatformError(
                f"application {self.native_id} was to be killed, and {KILL_TIMEOUT:g} s later it is {report['state']}",
                hint=f"yarn application -kill {self.native_id}; is the ResourceManager well?",
            )
        self._until_gone(report)

    def _signalled(self, container: Container) -> bool:
        try:
            return retry(lambda: self.rm.signal(container.id), self.cluster.patience)
        except Unreachable:
            raise
        except PlatformError:  # this ResourceManager cannot, or refuses: the application is killed
            return False

    def _until_ended(self, report: Json, seconds: float) -> Json | None:
        """The last report within so many seconds; None where the ResourceManager does not know the application."""
        found: Json | None = report
        for _ in poll(seconds):
            found = retry(lambda: self.rm.report(self.native_id), self.cluster.patience)
            if found is None or found["state"] in ENDED:
                break
        return found

    def _until_gone(self, report: Json) -> None:
        """Wait until the processes are gone. The node is asked, because KILLED is reported before that."""
        container = container_of(report)
        if container is None:
            return
        logs, gone = Logs(self.cluster), None
        for _ in poll(GONE_TIMEOUT, Backoff(0.02, 0.5, 1.3)):
            if gone := logs.gone(container):
                return
        silent = "does not answer" if gone is None else "still has its container"
        raise PlatformError(
            f"application {self.native_id} has ended, and its node {container.node} {silent}: whether its "
            "processes are gone is not known",
            hint="they end at the latest when the node is back, or is restarted",
        )

    # -- logs -------------------------------------------------------------------------------------------------------

    def log_path(self, stream: str) -> Path:
        """Where a log is on the client once the attempt has ended."""
        return Path(self.work_folder, stream)

    def logs(self, stream: str, offset: int) -> bytes:
        """The bytes of a stream from ``offset`` on, as far as they exist now, at most a MiB."""
        local = read_log_file(self.work_folder, stream, offset)
        if local is not None:
            return local
        report = self.rm.report(self.native_id)
        container = container_of(report) if report is not None else None
        if report is None or container is None:
            return b""
        if report["state"] in ENDED:
            self.download_logs(report)
            return read_log_file(self.work_folder, stream, offset) or b""
        return Logs(self.cluster).read(container, stream, offset, ended=False) or b""

    def _aggregated(self) -> bool:
        """Whether logs that the node has no more may come from the history server, as far as is known."""
        if self.cluster.history is None:
            return False
        try:
            return self.rm.setting("yarn.log-aggregation-enable") != "false"
        except PlatformError:
            return True

    def _log_state(self, report: Json) -> tuple[bool, bool]:
        """Whether an application that has ended has logs for certain, and whether they are complete already."""
        end = outcome.parse(str(report.get("diagnostics") or ""))
        if end is not None and end.kind != outcome.NOT_STARTED:
            return True, True  # the master reports it after its sweep; after YARN's kill some may still write
        # YARN ended it after its master had recorded the end: its node may be away, and comes back.
        return master.ENDED in (self._markers() or ()), False

    def _ran_with_is_there(self, report: Json) -> bool:
        """Whether what the job ran with may be among the logs: its master says so, if it could say anything."""
        end = outcome.parse(str(report.get("diagnostics") or ""))
        return end.ran_with if end is not None else True

    def download_logs(self, report: Json | None = None) -> bool:
        """Download the logs of an attempt that has ended into its folder on the client.

        Returns False where there are some, and neither node nor history server has them.
        """
        missing = [stream for stream in STREAMS if not self.log_path(stream).exists()]
        if not missing:
            return True
        report = self.rm.report(self.native_id) if report is None else report
        container = container_of(report) if report is not None else None
        if report is None or container is None or report["state"] not in ENDED:
            return True
        Path(self.work_folder).mkdir(parents=True, exist_ok=True)
        logs = Logs(self.cluster)
        reported, settled = self._log_state(report)
        answered = False  # the node, that the container is gone
        for _ in poll(AGGREGATION_TIMEOUT if reported else NO_LOGS_TIMEOUT):
            with contextlib.suppress(Refused):  # the node does not answer: its logs are requested later
                settled = settled or logs.gone(container) is True
            if settled:
                missing = [each for each in missing if not logs.download(container, each, self.log_path(each))]
            if not missing or (answered and not self._aggregated()):
                break
            with contextlib.suppress(PlatformError):
                answered = logs.gone(container) is True  # next time, its own logs were asked for while it answers
        if not missing and self._ran_with_is_there(report):
            logs.download(container, RAN_WITH, self.log_path(RAN_WITH))
        if not reported and not Path(self.work_folder, "am.stderr").exists():
            logs.download(container, "am.stderr", Path(self.work_folder, "am.stderr"))
        return not missing or not reported
