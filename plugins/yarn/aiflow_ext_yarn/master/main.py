"""The application master: registers, starts the child once, keeps YARN informed, and reports how it ended."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback

from aiflow_ext_yarn.master import STAGING_FAILED, UNUSABLE, protocol
from aiflow_ext_yarn.master import outcome as ends
from aiflow_ext_yarn.master.credentials import AMRM, Credentials
from aiflow_ext_yarn.master.keeper import Keeper
from aiflow_ext_yarn.master.outcome import Outcome
from aiflow_ext_yarn.master.protocol import Lost, ResourceManager
from aiflow_ext_yarn.master.readiness import Readiness
from aiflow_ext_yarn.master.rpc import RemoteError, Unreachable
from aiflow_ext_yarn.master.spec import Child, SpecError, Values, check_image, log_pages, read
from aiflow_ext_yarn.master.staging import Refused, Staging, StagingError
from aiflow_ext_yarn.master.wire import WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

UNREPORTED = 1  # exit code: the end could not be reported to YARN
TOKEN_TIMEOUT = 60.0  # seconds that a ResourceManager may not know our token after its start
OUTCOME_TIMEOUT = 5.0  # seconds to write the outcome into the staging folder
# Seconds after SIGTERM in which SIGKILL follows where YARN means to end the container, for the memory it used, say: the
# end is YARN's to report then, not ours (yarn.nodemanager.sleep-delay-before-sigkill.ms, 250 by default).
SIGKILL_DELAY = 0.75


class Master:
    """One attempt."""

    def __init__(self, spec: dict[str, Any], credentials: Credentials, logs: str) -> None:
        self.spec, self.secrets, self.logs = spec, credentials.secrets, logs
        self.rm = ResourceManager(spec["scheduler"], credentials.token(AMRM), os.environ.get("NM_HOST", ""))
        self.rm.tracking_url, self.kept_logs = log_pages(spec.get("log_pages", {}), os.environ)
        self.interval = float(spec.get("heartbeat", 1.0))
        self.next_beat = 0.0
        self.keeper: Keeper | None = None
        self.readiness: Readiness | None = None
        self.stopped = self.registered = self.outcome_written = False
        self.staging: Staging | None = None
        self.refused_since: float | None = None
        self.finish_after = 0.0  # the earliest time to report the end: YARN may be ending the container
        self.last_logged = ""

    def run(self) -> int:
        """Run the attempt from beginning to end; returns this process's exit code."""
        signal.signal(signal.SIGTERM, self._on_term)
        try:
            outcome = self._execute()
        except Lost as error:
            self._log(f"lost: {error}")
            self._clear()
            return UNREPORTED  # nothing in the staging folder: YARN reports why it was given up
        except Exception as error:  # a defect here must not leave the application RUNNING
            traceback.print_exc()
            self._clear()
            outcome = Outcome(ends.BROKEN, stopped=self.stopped, reason=f"the application master failed: {error!r}")
        self._log(outcome.sentence())
        return self._unregister(outcome)

    def _execute(self) -> Outcome:
        """From registering to the end of all that the child has left."""
        while not self.registered:
            if self.stopped:
                return Outcome(ends.NOT_STARTED, stopped=True, reason="it was stopped first")
            self._heartbeat()
            if not self.registered:
                time.sleep(min(self.interval, 0.5))
        try:
            check_image(self.spec.get("container"))
            values = Values(os.getcwd(), self.secrets)
            child = Child(self.spec, values, self.logs)
            child.write_files()
            self.staging = _staging(self.spec["staging"], values)
            refusal = self._claim(self.staging)
            child.move(self.spec.get("at_active", ()), self.staging.active)
        except (SpecError, OSError, LookupError, TypeError, ValueError, AttributeError) as error:
            refusal = Outcome(ends.NOT_STARTED, reason=str(error) or repr(error))
        if refusal is not None:
            refusal.stopped = self.stopped
            return refusal
        if self.stopped:
            return Outcome(ends.NOT_STARTED, stopped=True, reason="it was stopped first")
        if self.spec.get("ready"):
            self.readiness = Readiness(self.spec["ready"], child, self._log)
        self.rm.progress, self.next_beat = self._progress(child), 0.0
        self.keeper = Keeper(child, float(self.spec.get("grace", 10.0)))
        if self.stopped:
            self.keeper.stop()
        return self._watch(self.keeper, child)

    def _claim(self, staging: Staging) -> Outcome | None:
        """Make the start marker; returns None if the child may start, else the outcome."""
        deadline = time.monotonic() + float(self.spec["staging"].get("patience", 600.0))
        while True:
            try:
                staging.claim()
                return None
            except Refused as error:
                return Outcome(ends.REFUSED, reason=str(error))
            except StagingError as error:
                words = f"{STAGING_FAILED}{error}"
                if self.stopped or error.permanent or time.monotonic() > deadline:
                    return Outcome(ends.NOT_STARTED, reason=words)
                self._log_once(words)
            self._heartbeat()
            time.sleep(0.5)

    def _watch(self, keeper: Keeper, child: Child) -> Outcome:
        """Heartbeats until the child has ended and everything of it is gone."""
        ended: dict[str, Any] | None = None
        while True:
            for event in keeper.events(max(0.0, self.next_beat - time.monotonic())):
                if event["what"] == "ended":
                    ended = event
                    if self.readiness is not None:
                        self.readiness.end()
                elif event["what"] in ("swept", "gone"):
                    return self._outcome(ended, child, event.get("left", []))
            if time.monotonic() >= self.next_beat:
                self.rm.progress = self._progress(child)
                self._heartbeat()

    def _progress(self, child: Child) -> float:
        return child.progress() if self.readiness is None else self.readiness.progress()

    def _outcome(self, ended: dict[str, Any] | None, child: Child, left: list[str]) -> Outcome:
        if ended is None:
            return Outcome(ends.BROKEN, stopped=self.stopped, left=left, reason="the process that kept it was killed")
        kind = ends.SIGNAL if "signal" in ended else ends.EXIT
        code, reason = child.result(ended.get("exit"))
        reason = ended.get("reason") or reason
        return Outcome(
            kind,
            exit_code=code,
            signal=ended.get("signal"),
            stopped=self.stopped,
            reason=reason,
            left=left,
            usage=ended.get("usage"),
            ran_with=child.has_said_what_it_ran_with(),
        )

    def _heartbeat(self) -> None:
        """Register, or send a heartbeat, where a ResourceManager answers. Raises Lost."""
        try:
            if self.registered:
                self.rm.heartbeat()
            else:
                self.rm.register()
                self.registered = True
                self._log(f"registered ({self.rm.protection})")
            self.refused_since, self.last_logged = None, ""
        except (Unreachable, RemoteError, WireError) as error:
            self._log_once(str(error))
            self._check_token(error)
        self.next_beat = time.monotonic() + self.interval

    def _check_token(self, error: Exception) -> None:
        """Raise Lost if the ResourceManager has refused the token for ``TOKEN_TIMEOUT``: it has given up on the
        attempt."""
        if not (isinstance(error, RemoteError) and error.name == "InvalidToken"):
            self.refused_since = None
        elif self.refused_since is None:
            self.refused_since = time.monotonic()
        elif time.monotonic() - self.refused_since > TOKEN_TIMEOUT:
            raise Lost(str(error))

    def _unregister(self, outcome: Outcome) -> int:
        """Report the end until YARN has recorded it; returns this process's exit code."""
        status = protocol.FAILED
        if outcome.stopped:
            status = protocol.KILLED
        elif outcome.kind == ends.EXIT and outcome.exit_code == 0:
            status = protocol.SUCCEEDED
        deadline = time.monotonic() + float(self.spec.get("patience", 3600.0))
        delay = 0.01
        self.rm.tracking_url = self.kept_logs
        time.sleep(max(0.0, self.finish_after - time.monotonic()))
        try:
            while time.monotonic() < deadline:
                try:
                    if self.rm.finish(status, outcome.diagnostics()):
                        return 0
                except (Unreachable, RemoteError, WireError) as error:
                    self._log_once(str(error))
                    self._write_outcome(outcome)  # it may be long until a ResourceManager answers
                    self._check_token(error)
                    if self.stopped and not self.registered:
                        break
                time.sleep(delay)
                delay = min(delay * 2, 0.5)
        except Lost as error:
            self._log(f"lost: {error}")
        finally:
            self._write_outcome(outcome)
        return UNREPORTED

    def _write_outcome(self, outcome: Outcome) -> None:
        """Keep the outcome in the staging folder too, once: a ResourceManager forgets its applications."""
        if self.staging is None or self.outcome_written:
            return
        if outcome.kind == ends.REFUSED:  # the file is for the start that made the marker
            return
        deadline = time.monotonic() + OUTCOME_TIMEOUT
        while not self.outcome_written:
            try:
                self.staging.end(outcome.to_json())
                self.outcome_written = True
            except StagingError as error:
                self._log_once(f"no outcome in the staging folder: {error}")
                if error.permanent or time.monotonic() > deadline:
                    return
                time.sleep(0.2)

    def _clear(self) -> None:
        """End everything, at once."""
        if self.keeper is not None:
            self.keeper.kill()
            while not any(event["what"] in ("swept", "gone") for event in self.keeper.events(1.0)):
                pass

    def _on_term(self, *_: object) -> None:
        if not self.stopped:
            self.stopped = True
            self.finish_after = time.monotonic() + SIGKILL_DELAY
            if self.keeper is not None:
                self.keeper.stop()

    def _log_once(self, words: str) -> None:
        """Log something once, not with every heartbeat."""
        if words != self.last_logged:
            self.last_logged = words
            self._log(words)

    def _log(self, words: str) -> None:
        print("{} {}".format(time.strftime("%Y-%m-%d %H:%M:%S"), words), file=sys.stderr, flush=True)


def _staging(spec: dict[str, Any], values: Values) -> Staging:
    delegation, ca = spec.get("delegation"), spec.get("ca")
    return Staging(
        spec["urls"],
        user=spec.get("user"),
        delegation=values.text(delegation) if delegation else None,
        ca=values.text(ca) if ca else None,
        verify=spec.get("verify", True),
        insecure_nodes=spec.get("insecure_nodes", ()),
    )


def main(argv: list[str]) -> int:
    """Run with the arguments ``[--spec FILE] --logs FOLDER``; returns the exit code."""
    options = {argv[index]: argv[index + 1] for index in range(0, len(argv) - 1, 2)}
    try:
        with open(os.environ["HADOOP_TOKEN_FILE_LOCATION"], "rb") as file:
            credentials = Credentials(file.read())
        master = Master(read(options.get("--spec")), credentials, os.path.abspath(options["--logs"]))
    except (OSError, LookupError, WireError, SpecError, ValueError, TypeError) as error:
        print(f"aiflow-ext: the application master cannot begin: {error}", file=sys.stderr)
        return UNUSABLE
    return master.run()
