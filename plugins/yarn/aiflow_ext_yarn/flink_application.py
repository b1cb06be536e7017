"""A Flink job's attempt as its application on the cluster: its state, its end and its stop, as Flink tells them."""

from __future__ import annotations

import contextlib
import functools
import re
import time
from collections.abc import Iterator
from typing import Any

from aiflow_ext.plugin import AttemptEvent, JobState, PlatformError
from aiflow_ext.plugin.engines import Backoff, parse_json, poll, read_log_file, retry
from aiflow_ext_flink import verdict
from aiflow_ext_flink.rest import FlinkRest, Unreachable
from aiflow_ext_flink.restarts import NO_SLOTS, Restarts, Watch, is_restarting, restarts_at
from aiflow_ext_yarn import master
from aiflow_ext_yarn.application import AGGREGATION_TIMEOUT, KILL_TIMEOUT, Application
from aiflow_ext_yarn.cluster import Cluster
from aiflow_ext_yarn.log_download import start_download
from aiflow_ext_yarn.logs import Logs, container_of
from aiflow_ext_yarn.reports import ENDED
from aiflow_ext_yarn.states import EXPIRY, event_of

Json = dict[str, Any]
ANSWER = 5.0  # seconds for an answer of the JobManager to the poll
SAVEPOINT_TIMEOUT = 600.0  # seconds for a savepoint
MOST_JOBS = 20  # of a program, whose archives are read
# Seconds after Flink's end in which its node or the file system must tell what became of the artifacts.
SILENCE = 3600.0
SHORT = 2.0  # seconds that a poll waits for an attempt's logs: a command that polls once gets them, too
DOWNLOADED = 2 * AGGREGATION_TIMEOUT  # seconds after the end in which a driver has its logs, or never
READING = "its script has failed, and what it has printed is being read"
KEEPING = "its program has ended, and its artifacts are being kept"
NOT_KEPT = (
    f"its program has ended well, and its container ended before it had kept the artifacts; YARN gives it {EXPIRY}"
)
SILENT = (
    "its program ended well, and neither its node nor the file system has told since whether the artifacts are kept"
)
CANCELLED = "its Flink job was cancelled, not by this run"
_TAIL = "bytes of stderr"  # before them, in YARN's diagnostics of a container that has exited
_EXCEPTION = re.compile(r"^[\w.$]+(?:Exception|Error): ", re.MULTILINE)
_running: set[str] = set()  # attempts whose job was seen to run: Flink is not asked again. A cache


@functools.cache
def _restarts() -> Watch:
    """How often Flink restarts the attempts that run, asked beside the polls."""
    return Watch()


class FlinkApplication(Application):
    """An attempt of a Flink job.

    Args:
        cluster, native_id, run, work_folder: as of any application.
        flink_id: of its cluster and its application at Flink.
        on_stop: ``savepoint``, ``drain`` or ``cancel``.
        keeps: whether its container has artifacts to keep, and records its own end after Flink's.
    """

    ARCHIVE = "archive"  # the folder in its staging folder

    def __init__(
        self,
        cluster: Cluster,
        native_id: str,
        run: str,
        work_folder: str,
        flink_id: str,
        on_stop: str,
        keeps: bool = False,
    ) -> None:
        super().__init__(cluster, native_id, run, work_folder)
        self.flink_id, self.on_stop, self.keeps = flink_id, on_stop, keeps

    # -- state ------------------------------------------------------------------------------------------------------

    def event(self, report: Json | None) -> AttemptEvent | None:
        """Its state or end. While it runs, its ``instance`` is the address of Flink's own web page."""
        event = super().event(report)
        if event is not None and report is not None and not event.state.ended and report.get("amRPCAddress"):
            event.instance = f"http://{report['amRPCAddress']}"
        return event

    def _event(self, report: Json | None) -> AttemptEvent | None:
        """What YARN tells, with what only Flink knows: whether its job runs, and why it has failed."""
        event = super()._event(report)
        if event is None:
            return None
        if report is not None and report["state"] == "RUNNING":
            runs = event.state is JobState.RUNNING and self._runs(report)
            return self._with_restarts(event, report) if runs else self._waiting(report)
        _restarts().leave(self.native_id)
        if event.state is JobState.QUEUED:
            return event
        found = self._verdict()
        if self.keeps and report is not None and JobState.FINISHED is (event.state if found is None else found.state):
            return self._kept(report)
        if found is None:
            return self._without_archive(event, report)
        event.state, event.reason = found.state, found.reason or event.reason
        if found.state is JobState.FINISHED:
            event.exit_code, event.reason = 0, self._savepoint_words()
        elif found.state is JobState.STOPPED:  # only a stop of ours makes an attempt that
            event.state, event.reason = JobState.FAILED, CANCELLED
        event.disruption = False
        return event

    def _without_archive(self, event: AttemptEvent, report: Json | None) -> AttemptEvent:
        """The event of an application that has ended before Flink could write how, or whose program has exited."""
        if report is None or event.state is not JobState.FAILED:
            return event
        words = str(report.get("diagnostics") or "")
        begin = _EXCEPTION.search(words)
        if report["state"] == "FINISHED" and report["finalStatus"] == "KILLED":
            event.reason = CANCELLED
        elif begin is not None and _TAIL in words and event.exit_code is None:  # what the JobManager has written last
            event.reason = f"its JobManager has ended: {verdict.root_cause(words[begin.start() :])}"
        return event

    def leave(self) -> None:
        """Flink is not asked any more how often it restarts it."""
        _restarts().leave(self.native_id)

    def explained(self, event: AttemptEvent, report: Json) -> AttemptEvent:
        """Of a script that has raised, the exception in what it has printed, where that can be downloaded."""
        if event.state is JobState.FAILED and verdict.is_told_by_program(event.reason or ""):
            download = start_download(self, report)
            download.join(SHORT)
            if download.is_alive() and _since_end(report) < DOWNLOADED:
                state = JobState.RUNNING if self.native_id in _running else JobState.QUEUED
                return AttemptEvent(self.native_id, state, reason=READING)
            event.reason = verdict.told_by_program(
                event.reason or "", functools.partial(read_log_file, self.work_folder)
            )
        return event

    def _kept(self, report: Json) -> AttemptEvent:
        """The event of an application whose program has ended well: as its container has recorded it, once it has kept
        the artifacts; until then it runs."""
        container = container_of(report)
        with contextlib.suppress(PlatformError):  # it, or the NameNode, does not answer, and is asked again
            gone = container is None or Logs(self.cluster).gone(container)  # what is not recorded then will not be
            ended = self.files.read(f"{self.folder}/{master.ENDED}")
            if ended is not None:
                return event_of(self.native_id, report, ended)
            if gone:
                return AttemptEvent(self.native_id, JobState.FAILED, reason=NOT_KEPT)
        if _since_end(report) > SILENCE:
            return AttemptEvent(self.native_id, JobState.FAILED, reason=SILENT, disruption=True)
        return AttemptEvent(self.native_id, JobState.RUNNING, reason=KEEPING)

    def _with_restarts(self, event: AttemptEvent, report: Json) -> AttemptEvent:
        """The event of an attempt that runs, with what Flink was last seen to say of its restarts."""
        _restarts().follow(self.native_id, functools.partial(self._ask_restarts, report))
        found = _restarts().found(self.native_id)
        event.reason, event.restarts = found.words or event.reason, found.times
        return event

    def _ask_restarts(self, report: Json) -> Restarts:
        rest = self._rest(report)
        return Restarts() if rest is None else restarts_at(rest, rest.jobs())

    def _waiting(self, report: Json) -> AttemptEvent:
        words = "its JobManager is up, and no job runs yet: it may wait for containers of its task managers"
        with contextlib.suppress(PlatformError):
            rest = self._rest(report)
            found = {} if rest is None else rest.overview()
            workers, slots = found.get("taskmanagers"), found.get("slots-total")
            if isinstance(workers, int) and isinstance(slots, int):
                words += f"; it has {workers} of them, with {slots} slots"
        return AttemptEvent(self.native_id, JobState.QUEUED, reason=words)

    def _runs(self, report: Json) -> bool:
        """Whether a job of its program runs, or has run; True where Flink does not answer though it did before."""
        if self.native_id in _running:
            return True
        rest = self._rest(report)
        if rest is None:
            return False
        try:
            jobs = rest.jobs()
            if not any(_has_begun(each) for each in jobs) and not _has_failed_at_once(rest, jobs):
                return False
        except PlatformError:  # it is about to begin, or has ended
            return False
        _running.add(self.native_id)
        return True

    def began_at(self, launched: float | None) -> float | None:
        """Not known: from a container's launch to a job that runs there are some seconds."""
        return None

    def _rest(self, report: Json, seconds: float = ANSWER) -> FlinkRest | None:
        """Flink's REST API, which is at the address that its JobManager has registered with; None before that."""
        address = str(report.get("amRPCAddress") or "")
        return FlinkRest(address, seconds) if address else None

    @property
    def archives(self) -> str:
        """The folder for what Flink writes of its applications.

        It must be there before: a job that does not begin is archived as a file of the name that the folder above has,
        and where that file is first, Flink cannot write why the application has failed.
        """
        return f"{self.folder}/{self.ARCHIVE}/{self.flink_id}/applications"

    @property
    def _archive(self) -> str:
        return f"{self.archives}/{self.flink_id}"

    def _verdict(self) -> verdict.Verdict | None:
        """How Flink says that it has ended, from its archive; None where that does not say."""
        try:
            content = self.files.read(f"{self._archive}/application-summary")
        except PlatformError:  # no other job's end is to wait for that
            return None
        try:
            return None if content is None else verdict.summarised(content)
        except ValueError:
            return None

    def _savepoint_words(self) -> str | None:
        """Where the savepoints are with which its jobs have ended; None where it has none, or a batch job."""
        if self.on_stop == "cancel":
            return None
        try:
            archived = [self.files.read(f"{self._archive}/jobs/{name}")
                        for name in (self.files.names(f"{self._archive}/jobs") or [])[:MOST_JOBS]]  # fmt: skip
            paths = [path for each in archived if each is not None for path in _savepoints(parse_json(each))]
        except (PlatformError, ValueError):
            return None
        return f"stopped with the savepoint {' and '.join(paths)}" if paths else None

    def _log_state(self, report: Json) -> tuple[bool, bool]:
        # A JobManager reports the end first, and exits then.
        return report["state"] == "FINISHED", False

    def _ran_with_is_there(self, report: Json) -> bool:
        return False  # nothing in its containers writes that

    # -- stop -------------------------------------------------------------------------------------------------------

    def stop(self, grace: float) -> None:
        """Take a savepoint and end, or cancel, as the config says; returns once its processes are gone.

        Without ``grace`` it is cancelled always. Raises PlatformError where there is no savepoint; the job goes on.
        """
        if grace > 0 and self.on_stop != "cancel":
            report = retry(lambda: self.rm.report(self.native_id), self.cluster.patience)
            if report is not None and report["state"] == "RUNNING":
                self._end_with_savepoint(report)
        super().stop(0)

    def _end_with_savepoint(self, report: Json) -> None:
        """Have its jobs take a savepoint each and end, and wait until YARN has ended it, too.

        Nothing where no task runs: then all that there is to save is in the latest checkpoint.
        """
        rest = self._rest(report, 20.0)
        if rest is None:
            return
        try:
            jobs = [str(each.get("jid")) for each in rest.jobs() if each.get("state") == "RESTARTING"
                    or (each.get("state") == "RUNNING" and _has_begun(each))]  # fmt: skip
            asked = {job: rest.stop(job, None, drain=self.on_stop == "drain") for job in jobs}
            for job, number in asked.items():
                self._wait_for_savepoint(rest, job, number)
        except Unreachable:
            ended = self._until_ended(report, KILL_TIMEOUT)
            if ended is None or ended["state"] in ENDED:  # it was over before the savepoint could be asked for
                return
            raise
        except PlatformError as error:
            raise PlatformError(
                f"{error.problems[0].message}; the job is not stopped",
                hint="stop it again; with --grace 0 it is cancelled, without a savepoint",
            ) from error
        if asked:
            self._until_ended(report, KILL_TIMEOUT)

    def _wait_for_savepoint(self, rest: FlinkRest, job: str, number: str) -> None:
        for _ in poll(SAVEPOINT_TIMEOUT, Backoff(0.1, 2.0, 1.5)):
            if rest.savepoint(job, number) is not None:
                return
        raise PlatformError(f"its savepoint is not complete after {SAVEPOINT_TIMEOUT:g} s")


def _since_end(report: Json) -> float:
    """Seconds since an application has ended; 0 where that is not known."""
    return time.time() - float(report.get("finishedTime") or time.time() * 1000) / 1000


def _has_begun(job: Json) -> bool:
    """Whether a job of the overview has tasks that run, or have. Flink calls it running before.

    Those that have failed, or were cancelled with them, may have waited for a slot in vain.
    """
    if verdict.state_of([str(job.get("state"))]) is JobState.QUEUED:
        return False
    tasks = job.get("tasks")
    return not isinstance(tasks, dict) or any(tasks.get(each) for each in ("initializing", "running", "finished"))


def _has_failed_at_once(rest: FlinkRest, jobs: list[Json]) -> bool:
    """Whether tasks have begun though none runs: they have failed, and not because there was no slot for them."""
    why = restarts_at(rest, jobs).why if is_restarting(jobs) else ""
    return bool(why) and NO_SLOTS not in why


def _savepoints(archive: Any) -> Iterator[str]:
    """The path of a job's last savepoint, from its archive: answers of the REST API, each with its path."""
    kept = archive.get("archive") if isinstance(archive, dict) else None
    for each in kept if isinstance(kept, list) else []:
        if not isinstance(each, dict) or not str(each.get("path")).endswith("/checkpoints"):
            continue
        told = parse_json(str(each.get("json")).encode())
        for key in ("latest", "savepoint", "external_path"):
            told = told.get(key) if isinstance(told, dict) else None
        if isinstance(told, str):
            yield told
