"""What an attempt of ``local.flink`` does wherever its job runs: puts names in, follows the job, stops it if asked.

What its process is asked and answers is in files of the attempt's folder: ``stop`` (by the handler) and
``stop-refused``.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import aiflow_ext.plugin as af
from aiflow_ext.plugin import JobState, PlatformError, UnreachableError, safe_name, supervised
from aiflow_ext.plugin.authoring import InputRef, OutputFile
from aiflow_ext.plugin.engines import artifacts, read_whole
from aiflow_ext_flink import session
from aiflow_ext_flink.program import Filled, Program, is_url, path_of
from aiflow_ext_flink.rest import FlinkRest
from aiflow_ext_flink.restarts import NO_SLOTS, is_restarting, restarts_at
from aiflow_ext_flink.savepoint import wrong_with
from aiflow_ext_flink.verdict import state_of

OTHER_STATE = "StateMigrationException"
POLL = 0.3  # seconds between two looks at the job
REST = 15.0  # seconds for an answer of its cluster
SAVED_WITHIN = 600.0  # seconds for a savepoint
STOP, REFUSED = "stop", "stop-refused"


def ask_to_stop(attempt: Path) -> str:
    """Ask the attempt to take a savepoint and end. Returns what :func:`refused_to_stop` is given."""
    asked = f"{time.time_ns()}"
    supervised.write_regular(attempt / STOP, asked.encode())
    return asked


def refused_to_stop(attempt: Path, asked: str) -> str | None:
    """Why the attempt could not be stopped so, once it has said so; None before."""
    try:
        first, _, words = read_whole(attempt / REFUSED, 1 << 16).decode("utf-8", "replace").partition("\n")
    except OSError:
        return None
    return words.strip() if first == asked else None


class Failed(Exception):
    """The attempt has failed; the message is its reason."""

    def __init__(self, words: str, code: int = 1) -> None:
        super().__init__(words)
        self.code = code


class Attempt:
    """An attempt's process.

    Args:
        payload: the file that says what to do.
        spec: its content.
        address: ``host:port`` of the REST API of the cluster that the job runs in.
    """

    def __init__(self, payload: str, spec: dict[str, Any], address: str) -> None:
        self.folder = Path(payload).parent
        self.work = self.folder / "work"
        self.spec = spec
        self.rest = FlinkRest(address, REST)
        self.sees_files = True  # that the cluster has the same as this machine
        self.written: dict[str, Path] = {}
        self.status = supervised.Status()
        self.asked: str | None = None  # the stop that is being carried out, or was refused
        self.saved: str | None = None

    def run(self) -> None:
        """Run the job to its end. Raises Failed; returns where it has finished."""
        if self.spec.get("lacks"):
            raise Failed(self.spec["lacks"])
        self._run()

    @property
    def page(self) -> str:
        """The address of Flink's web page, or of the job's own in it."""
        return self.rest.url

    def _run(self) -> None:
        """The same, where nothing is missing on this machine."""
        raise NotImplementedError

    def _wait(self, seconds: float) -> bool:
        """Wait; True at once where the job cannot be waited for any more."""
        raise NotImplementedError

    def _end_all(self) -> None:
        """End what the attempt has started."""
        raise NotImplementedError

    # -- the program ---------------------------------------------------------------------------------------------------

    def _filled(self) -> Filled:
        """The program's words, with the places of its inputs and outputs."""
        spec = self.spec
        program = Program(spec["kind"], spec["file"], None, spec["entry_class"], spec["args"], spec["sql"],
                          spec["py_files"], af.AINode("flink", {"names": spec["names"]}, "flink"))  # fmt: skip
        return program.filled(self._paths(), spec["properties"])

    def _paths(self) -> dict[str, str]:
        """By keyword: where each input is, and the folder for each output."""
        found: dict[str, str] = {}
        for keyword, value in self.spec["names"].items():
            if isinstance(value, InputRef):
                fetched = artifacts.fetch(self.spec["inputs"][keyword], self.work)
                is_folder = fetched.record.form == "folder"
                found[keyword] = str(artifacts.value_of(fetched, self.work) if is_folder else fetched.path)
            elif isinstance(value, OutputFile):
                self.written[keyword] = self.work / "outputs" / safe_name(keyword) / value.path
                self.written[keyword].parent.mkdir(parents=True, exist_ok=True)
                found[keyword] = str(self.written[keyword])
        return found

    def _save_outputs(self) -> None:
        for keyword, path in self.written.items():
            if not path.exists():
                raise Failed(f"the program was to write its output {keyword!r} to {path} and did not")
            artifacts.save(self.spec["outputs"][keyword], path)

    def _restored(self) -> str | None:
        """The savepoint or checkpoint that this attempt begins with."""
        said: str | None = self.spec["restore_from"]
        checkpoints, savepoints = Path(self.spec["checkpoints"]), Path(self.spec["savepoints"])  # of a URL: not there
        found = [each for id in self.spec["former"] for each in checkpoints.glob(f"{id}/chk-*/_metadata")]
        if said == "latest":
            found += [*savepoints.glob("*/_metadata"), *checkpoints.glob("*/chk-*/_metadata")]
        if found:
            return str(max(found, key=lambda each: each.stat().st_mtime_ns).parent)
        if said == "latest":
            return None
        if said is None or not self.sees_files or is_url(path_of(said)):
            return said
        if words := wrong_with(path_of(said)):
            raise Failed(f"restore_from: {said} {words}")
        return said

    # -- while it runs -------------------------------------------------------------------------------------------------

    def _seen(self, jobs: list[dict[str, Any]], waits: str | None = None) -> None:
        """Note what Flink says of the attempt's jobs.

        Args:
            jobs: each with ``jid`` and ``state``.
            waits: what they wait for, so that they do not run yet; None where they wait for nothing.
        """
        state = state_of(str(each.get("state")) for each in jobs) if jobs and waits is None else JobState.QUEUED
        status = supervised.Status(state, reason=waits, instance=self.page, at=self.status.at)
        if self.status.restarts or is_restarting(jobs):
            found = restarts_at(self.rest, jobs)
            if found.why.startswith(OTHER_STATE):  # it is the same each time that Flink tries it
                self._end_all()
                raise Failed(f"what it was to begin from cannot be restored: {found.why}")
            if waits is not None and NO_SLOTS in found.why and self.status.state is not JobState.RUNNING:
                self._end_all()  # Flink would try it for ever
                cure = "lower its parallelism, or give the cluster more slots"
                raise Failed(f"no task of it has got a slot: {found.why} ({waits}): {cure}")
            status = status._replace(restarts=max(found.times, self.status.restarts), reason=found.words or waits)
        if self.status.state is JobState.RUNNING:
            status = status._replace(state=JobState.RUNNING)
        elif status.state is JobState.RUNNING:
            status = status._replace(at=time.time())
        self._tell(status)

    def _tell(self, status: supervised.Status) -> None:
        """Write the status for the client's watch, if it is another one."""
        if status != self.status:
            self.status = status
            status.write(str(self.folder))

    def _stop_if_asked(self) -> None:
        try:
            asked = read_whole(self.folder / STOP, 100).decode()
        except OSError:
            return
        if asked == self.asked:
            return
        self.asked = asked
        try:
            self.saved = self._savepoint()
        except PlatformError as error:
            if self.status.state is not JobState.RUNNING and not self._has_begun():
                self._ends_stopped("stopped before it ran")
            words = f"the job was not stopped: {error.message}"
            supervised.write_regular(self.folder / REFUSED, f"{asked}\n{words}".encode())

    def _has_begun(self) -> bool:
        """Whether a task of the job has had a slot; not where its cluster does not answer: it is not up yet."""
        try:
            return session.has_begun(self.rest, self.spec["id"])
        except UnreachableError:
            return False

    def _savepoint(self) -> str:
        id, drain = self.spec["id"], self.spec["on_stop"] == "drain"
        request = self.rest.stop(id, self.spec["savepoint_url"], drain=drain)
        deadline = time.monotonic() + SAVED_WITHIN
        while time.monotonic() < deadline:
            try:
                if (found := self.rest.savepoint(id, request)) is not None:
                    return found
            except UnreachableError:
                pass
            if self._wait(POLL):
                raise PlatformError("the cluster has ended while the savepoint was made")
        raise PlatformError(f"the savepoint takes longer than {SAVED_WITHIN:g} s")

    # -- its end -------------------------------------------------------------------------------------------------------

    def _has_finished(self, state: JobState | None) -> bool:
        """Whether Flink's last word of the job is that it has finished: then its outputs are saved.

        Raises Failed where it was cancelled; does not return where it was stopped with a savepoint.
        """
        if state is JobState.STOPPED:
            raise Failed("it was cancelled at Flink, and not by aiflow-ext")
        if state is not JobState.FINISHED:
            return False
        if self.saved is not None:
            self._ends_stopped(f"stopped with the savepoint {self.saved}")
        self._save_outputs()
        return True

    def _ends_stopped(self, words: str) -> NoReturn:
        self._end_all()
        note(words)
        sys.exit(0)


def say(words: str) -> None:
    """One line for the attempt's log."""
    print(f"aiflow-ext: {words}", file=sys.stderr, flush=True)


def note(words: str) -> None:
    """One line for the attempt's record."""
    if path := os.environ.get("AIFLOW_REASON_FILE"):
        supervised.write_regular(path, " ".join(words.split())[:2000].encode("utf-8", "backslashreplace"))
