"""The application master: registers, starts the child once, keeps YARN informed, and tells how it ended."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback

from aiflow_ext_yarn.master import outcome as ends
from aiflow_ext_yarn.master import protocol
from aiflow_ext_yarn.master.credentials import AMRM, Credentials
from aiflow_ext_yarn.master.keeper import Keeper
from aiflow_ext_yarn.master.outcome import Outcome
from aiflow_ext_yarn.master.protocol import Lost, ResourceManager
from aiflow_ext_yarn.master.rpc import RemoteError, Unreachable
from aiflow_ext_yarn.master.spec import Child, SpecError, Values, read
from aiflow_ext_yarn.master.staging import Refused, Staging, StagingError
from aiflow_ext_yarn.master.wire import WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

UNUSABLE, UNTOLD = 64, 1  # exit codes: nothing could be begun; YARN could not be told the end
WITHOUT_TOKEN = 60.0  # seconds that a ResourceManager which has just come up may not know our token
LAST_WORD = 5.0  # seconds to leave the outcome in the staging folder
# Seconds after SIGTERM in which SIGKILL follows where YARN means to end the container, for the memory it used, say: the
# end is YARN's to tell then, not ours (yarn.nodemanager.sleep-delay-before-sigkill.ms, 250 by default).
YARNS = 0.75


class Master:
    """One attempt."""

    def __init__(self, spec: dict[str, Any], credentials: Credentials, logs: str) -> None:
        self.spec, self.secrets, self.logs = spec, credentials.secrets, logs
        self.rm = ResourceManager(spec["scheduler"], credentials.token(AMRM), os.environ.get("NM_HOST", ""))
        self.beat = float(spec.get("heartbeat", 1.0))
        self.next_beat = 0.0
        self.keeper: Keeper | None = None
        self.stopped = self.registered = self.worded = False
        self.staging: Staging | None = None
        self.distrusted: float | None = None
        self.ours = 0.0  # when the end is ours to tell
        self.complained = ""

    def run(self) -> int:
        """See the attempt through; this process's exit code."""
        signal.signal(signal.SIGTERM, self._on_term)
        try:
            outcome = self._through()
        except Lost as error:
            self._say(f"lost: {error}")
            self._clear()
            return UNTOLD  # without a word in the staging folder: why it was given up is for YARN to say
        except Exception as error:  # a mistake of ours must not leave the application RUNNING
            traceback.print_exc()
            self._clear()
            outcome = Outcome(ends.BROKEN, stopped=self.stopped, reason=f"the application master failed: {error!r}")
        self._say(outcome.sentence())
        return self._unregister(outcome)

    def _through(self) -> Outcome:
        """From registering to the end of all that the child has left."""
        while not self.registered:
            if self.stopped:
                return Outcome(ends.NOT_STARTED, stopped=True, reason="it was stopped first")
            self._heartbeat()
            if not self.registered:
                time.sleep(min(self.beat, 0.5))
        try:
            values = Values(os.getcwd(), self.secrets)
            child = Child(self.spec, values, self.logs)
            child.write_files()
            self.staging = _staging(self.spec["staging"], values)
            refusal = self._claim(self.staging)
        except (SpecError, OSError, LookupError, TypeError, ValueError, AttributeError) as error:
            refusal = Outcome(ends.NOT_STARTED, reason=str(error) or repr(error))
        if refusal is not None:
            refusal.stopped = self.stopped
            return refusal
        if self.stopped:
            return Outcome(ends.NOT_STARTED, stopped=True, reason="it was stopped first")
        self.keeper = Keeper(child, float(self.spec.get("grace", 10.0)))
        if self.stopped:
            self.keeper.stop()
        return self._watch(self.keeper, child)

    def _claim(self, staging: Staging) -> Outcome | None:
        """Make the start marker; None: it is made, and the child may start."""
        deadline = time.monotonic() + float(self.spec["staging"].get("patience", 600.0))
        while True:
            try:
                staging.claim()
                return None
            except Refused as error:
                return Outcome(ends.REFUSED, reason=str(error))
            except StagingError as error:
                words = f"the staging folder cannot be used: {error}"
                if self.stopped or error.hopeless or time.monotonic() > deadline:
                    return Outcome(ends.NOT_STARTED, reason=words)
                self._complain(words)
            self._heartbeat()
            time.sleep(0.5)

    def _watch(self, keeper: Keeper, child: Child) -> Outcome:
        """Heartbeats until the child has ended and everything of it is gone."""
        ended: dict[str, Any] | None = None
        while True:
            for said in keeper.news(max(0.0, self.next_beat - time.monotonic())):
                if said["what"] == "ended":
                    ended = said
                elif said["what"] in ("swept", "gone"):
                    return self._outcome(ended, child, said.get("left", []))
            if time.monotonic() >= self.next_beat:
                self._heartbeat()

    def _outcome(self, ended: dict[str, Any] | None, child: Child, left: list[str]) -> Outcome:
        if ended is None:
            return Outcome(ends.BROKEN, stopped=self.stopped, left=left, reason="the process that kept it was killed")
        kind = ends.SIGNAL if "signal" in ended else ends.EXIT
        code, reason = child.told(ended.get("exit"))
        reason = ended.get("reason") or reason
        return Outcome(
            kind,
            exit_code=code,
            signal=ended.get("signal"),
            stopped=self.stopped,
            reason=reason,
            left=left,
        )

    def _heartbeat(self) -> None:
        """Register, or say that we are alive, if anybody listens. Raises Lost."""
        try:
            if self.registered:
                self.rm.heartbeat()
            else:
                self.rm.register()
                self.registered = True
                self._say(f"registered ({self.rm.protection})")
            self.distrusted, self.complained = None, ""
        except (Unreachable, RemoteError, WireError) as error:
            self._complain(str(error))
            self._check_trust(error)
        self.next_beat = time.monotonic() + self.beat

    def _check_trust(self, error: Exception) -> None:
        """A ResourceManager that goes on refusing our token has given up on us."""
        if not (isinstance(error, RemoteError) and error.name == "InvalidToken"):
            self.distrusted = None
        elif self.distrusted is None:
            self.distrusted = time.monotonic()
        elif time.monotonic() - self.distrusted > WITHOUT_TOKEN:
            raise Lost(str(error))

    def _unregister(self, outcome: Outcome) -> int:
        """Tell the end until it is on record; this process's exit code."""
        status = protocol.FAILED
        if outcome.stopped:
            status = protocol.KILLED
        elif outcome.kind == ends.EXIT and outcome.exit_code == 0:
            status = protocol.SUCCEEDED
        deadline = time.monotonic() + float(self.spec.get("patience", 3600.0))
        delay = 0.01
        time.sleep(max(0.0, self.ours - time.monotonic()))
        try:
            while time.monotonic() < deadline:
                try:
                    if self.rm.finish(status, outcome.diagnostics()):
                        return 0
                except (Unreachable, RemoteError, WireError) as error:
                    self._complain(str(error))
                    self._leave_word(outcome)  # it may be long until anybody can be told
                    self._check_trust(error)
                    if self.stopped and not self.registered:
                        break
                time.sleep(delay)
                delay = min(delay * 2, 0.5)
        except Lost as error:
            self._say(f"lost: {error}")
        finally:
            self._leave_word(outcome)
        return UNTOLD

    def _leave_word(self, outcome: Outcome) -> None:
        """Keep the outcome in the staging folder too, once: a ResourceManager forgets its applications."""
        if self.staging is None or self.worded or outcome.kind == ends.REFUSED:  # then the word is another one's
            return
        deadline = time.monotonic() + LAST_WORD
        while not self.worded:
            try:
                self.staging.end(outcome.to_json())
                self.worded = True
            except StagingError as error:
                self._complain(f"no outcome in the staging folder: {error}")
                if error.hopeless or time.monotonic() > deadline:
                    return
                time.sleep(0.2)

    def _clear(self) -> None:
        """End everything, at once."""
        if self.keeper is not None:
            self.keeper.kill()
            while not any(said["what"] in ("swept", "gone") for said in self.keeper.news(1.0)):
                pass

    def _on_term(self, *_: object) -> None:
        if not self.stopped:
            self.stopped = True
            self.ours = time.monotonic() + YARNS
            if self.keeper is not None:
                self.keeper.stop()

    def _complain(self, words: str) -> None:
        """Say something once, not with every heartbeat."""
        if words != self.complained:
            self.complained = words
            self._say(words)

    def _say(self, words: str) -> None:
        print("{} {}".format(time.strftime("%Y-%m-%d %H:%M:%S"), words), file=sys.stderr, flush=True)


def _staging(spec: dict[str, Any], values: Values) -> Staging:
    delegation, ca = spec.get("delegation"), spec.get("ca")
    return Staging(
        spec["urls"],
        user=spec.get("user"),
        delegation=values.text(delegation) if delegation else None,
        ca=values.text(ca) if ca else None,
        verify=spec.get("verify", True),
    )


def main(argv: list[str]) -> int:
    """Run under ``[--spec FILE] --logs FOLDER``; the exit code."""
    options = {argv[index]: argv[index + 1] for index in range(0, len(argv) - 1, 2)}
    try:
        with open(os.environ["HADOOP_TOKEN_FILE_LOCATION"], "rb") as file:
            credentials = Credentials(file.read())
        master = Master(read(options.get("--spec")), credentials, os.path.abspath(options["--logs"]))
    except (OSError, LookupError, WireError, SpecError, ValueError, TypeError) as error:
        print(f"aiflow-ext: the application master cannot begin: {error}", file=sys.stderr)
        return UNUSABLE
    return master.run()
