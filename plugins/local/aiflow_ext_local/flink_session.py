"""An attempt of ``local.flink`` whose job runs in a session cluster: submitted by REST, followed, and taken away again.

Its process outlives the client as any local job's does. It is not the job, whose id at Flink is known before: a client
that stops the job or cleans up asks Flink itself.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

from aiflow_ext.plugin import PlatformError, UnreachableError
from aiflow_ext.plugin.engines import read_whole
from aiflow_ext_flink import session
from aiflow_ext_flink.home import VERSION, jar_of
from aiflow_ext_flink.program import DRIVERS, MAINS
from aiflow_ext_flink.rest import FlinkRest, Refused
from aiflow_ext_flink.verdict import STATES, reason_of, submits_twice
from aiflow_ext_local.flink_attempt import POLL, Attempt, Failed, say

LARGEST_JAR = 1 << 30  # bytes
RUNS_WITHIN = 600.0  # seconds for an upload, and for the program's own main method


class Session(Attempt):
    """An attempt in a session cluster."""

    def __init__(self, payload: str, spec: dict[str, Any]) -> None:
        # It is waited for, so that it ends nothing halfway.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        super().__init__(payload, spec, spec["session"])
        self.id: str = spec["id"]
        self.sees_files = session.is_here(spec["session"])
        self.terminated = False

    @property
    def page(self) -> str:
        return session.page(self.rest.url, self.id)

    def _run(self) -> None:
        """Submit the job, follow it to its end, and leave nothing of it in the cluster."""
        try:
            self._submit()
            job = self._follow()
        finally:
            self._remove_jars()
        self._conclude(str(job.get("state")))

    def _wait(self, seconds: float) -> bool:
        self.terminated = self.terminated or signal.sigtimedwait([signal.SIGTERM], seconds) is not None
        return self.terminated

    def _pause(self) -> None:
        """Wait until the next look; end all where this process is to end."""
        if self._wait(POLL):
            self._end_all()
            sys.exit(128 + signal.SIGTERM)

    def _end_all(self) -> None:
        session.end_job(self.rest, self.id)
        self._remove_jars()

    def _remove_jars(self) -> None:
        try:
            session.remove_jars(self.rest, self.id)
        except PlatformError as error:  # whoever cleans the attempt up tries it again
            say(error.message)

    # -- the submission ------------------------------------------------------------------------------------------------

    def _submit(self) -> None:
        spec = self.spec
        for former in spec["former"]:  # an attempt whose process was killed may have left its job
            self._answered(lambda former=former: session.end_job(self.rest, former))
        version = self._answered(self.rest.config).get("flink-version")
        if str(version).rpartition(".")[0] != VERSION.rpartition(".")[0]:
            say(f"the cluster runs Flink {version}; {VERSION} is the version that is tested")
        jar, entry_class, words = self._program()
        request = {"jobId": self.id, "programArgsList": words, "flinkConfiguration": spec["configuration"]}
        if entry_class is not None:
            request["entryClass"] = entry_class
        if spec["parallelism"] is not None:
            request["parallelism"] = spec["parallelism"]
        if restored := self._found():
            request.update(savepointPath=restored, allowNonRestoredState=spec["allow_non_restored_state"])
            say(f"restoring from {restored}")
        content = read_whole(jar, LARGEST_JAR)
        slow = FlinkRest(spec["session"], seconds=RUNS_WITHIN)
        jar_id = self._answered(lambda: slow.upload(session.jar_name(self.id), content))
        while True:
            try:
                slow.run(jar_id, request)
                return
            except UnreachableError as error:  # it may have been submitted all the same
                self._note_away(error)
                if self._answered(lambda: session.status(self.rest, self.id)) is not None:
                    return
                self._pause()
            except Refused as error:
                # The program may have failed after it had submitted its job.
                self._answered(lambda: session.end_job(self.rest, self.id))
                if submits_twice(error.said):
                    raise Failed(session.SUBMITS_TWICE) from error
                raise Failed(session.explained(error.said or error.message, self.rest)) from error

    def _program(self) -> tuple[str, str | None, list[str]]:
        """The jar that is sent, its class, and the arguments. For SQL it is the one of Flink's that runs a script."""
        spec, filled = self.spec, self._filled()
        if filled.sql is None:
            return spec["file"], spec["entry_class"], filled.args
        gateway = jar_of(Path(spec["flink"]), DRIVERS["sql"])
        if gateway is None:
            raise Failed(f"{spec['flink']} has no {DRIVERS['sql']}-{VERSION}.jar any more")
        return str(gateway), MAINS["sql"], ["--script", filled.sql]

    def _found(self) -> str | None:
        """What this attempt begins with: of the job's earlier attempts, what the cluster or a folder knows."""
        for former in reversed(self.spec["former"]):
            try:
                latest = self.rest.checkpoints(former).get("latest")
            except PlatformError:  # the cluster has forgotten it
                continue
            kept = [each for each in latest.values() if isinstance(each, dict)] if isinstance(latest, dict) else []
            # Of what is kept in the JobManager alone, words are told in place of a path.
            paths = {str(path): each.get("id") for each in kept if "/" in str(path := each.get("external_path"))}
            if numbered := {path: number for path, number in paths.items() if isinstance(number, int)}:
                return max(numbered, key=lambda path: numbered[path])
        return self._restored()

    # -- while it runs -------------------------------------------------------------------------------------------------

    def _follow(self) -> dict[str, Any]:
        """Follow the job until it has ended; returns what Flink says of it."""
        while True:
            try:
                job = self.rest.job(self.id)
                state = STATES.get(str(job.get("state")))
                if state is not None and state.ended:
                    return job
                self._seen([{"jid": self.id, "state": job.get("state")}], session.waits(self.rest, job))
            except UnreachableError as error:
                self._note_away(error)
            except Refused as error:
                if error.status == 404:
                    raise Failed(f"the session cluster {self.spec['session']} does not know the job any more: "
                                 "it was started again, or has forgotten it") from error  # fmt: skip
                say(error.message)
            self._stop_if_asked()
            self._pause()

    def _answered(self, call: Any) -> Any:
        """What the cluster answers, however long it is away."""
        while True:
            try:
                return call()
            except UnreachableError as error:
                self._note_away(error)
                self._pause()

    def _note_away(self, error: UnreachableError) -> None:
        self._tell(self.status._replace(reason=error.message, instance=self.page))

    # -- its end -------------------------------------------------------------------------------------------------------

    def _conclude(self, state: str) -> None:
        if self._has_finished(STATES.get(state)):
            return
        trace = self._trace()
        print(trace, file=sys.stderr, flush=True)
        raise Failed(session.explained(reason_of(trace) or "Flink does not say why", self.rest))

    def _trace(self) -> str:
        """The stack trace of what the job has failed of."""
        found = self._answered(lambda: self.rest.exceptions(self.id))
        history = found.get("exceptionHistory")
        entries = history.get("entries") if isinstance(history, dict) else None
        first = entries[0] if isinstance(entries, list) and entries else None
        said = first.get("stacktrace") if isinstance(first, dict) else found.get("root-exception")
        return str(said or "")
