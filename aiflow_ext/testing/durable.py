"""Level durable: the optional hooks, with which jobs outlive the process that submitted them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable
from typing import Any, ClassVar

from aiflow_ext.testing import remains
from aiflow_ext.testing.complaint import complain
from aiflow_ext.testing.events import Events
from aiflow_ext.testing.levels import durable
from aiflow_ext.testing.logs import Logs, numbered
from aiflow_ext.testing.support import LONG, unlike
from aiflow_ext.testing.zygote import Client, Raised

SIZES = {"big": 10 << 20, "empty": 0}
SECRET = "CONFORMANCE_SECRET"
# Names that become equal if unusual characters are replaced, cut off or folded.
ALIKE = ("with space", "with-space", "With space", "x" * 200, "x" * 199 + "y")


class DurableLevel(Logs, Events):
    """What a plugin with ``lookup`` and ``attach`` must do in addition."""

    secret: ClassVar[str] = f"env:{SECRET}"
    offline: Callable[[str, str, str], None]

    # -- what is rendered is what is sent ---------------------------------------------------------------------------

    @durable("render")
    def test_render_is_offline_and_writes_nothing(self) -> None:
        """Rendering needs no network."""
        self.offline("render", "make the request of the job alone; a value that the server assigns is ${server:...}",
                     "what-is-rendered-is-what-is-sent")  # fmt: skip

    @durable("render")
    def test_render_is_what_is_sent(self) -> None:
        """The request that render shows is the one that reaches the platform."""
        client, _ = self.trial.write({"job": self.jobs.tells_itself()}, env={"KIT_SHOWN": "shown"}).ready()
        rendered = client("render")
        again = client("render")
        if rendered != again:
            complain(f"{self.name}: render gives another request when it is asked again", "make it of the job alone",
                     "what-is-rendered-is-what-is-sent")  # fmt: skip
        client("submit_job")
        self.finished(client, "the job tells its own command and environment")
        self.compare_sent(rendered)

    def compare_sent(self, request: dict[str, Any]) -> None:
        """Fail if ``request`` (``kind`` and ``content``) is not what was sent.

        For ``exec`` the job's own /proc/self is compared: its ``argv``, ``cwd`` and ``env``. Override it for another
        kind, for example with a proxy in front of the server, or with the object as the server has it.
        """
        if request["kind"] != "exec":
            complain(
                f"{self.name}: render gives a request of kind {request['kind']!r}, and the kit can tap an exec alone",
                "override compare_sent(self, request): compare the request with what a proxy in front of the server "
                "saw, or with the object as the server has it", "what-is-rendered-is-what-is-sent",
            )  # fmt: skip
        content, sent = request["content"], self.trial.marks
        argv = [part.decode("utf-8", "replace") for part in _only(sent.contents("cmdline")).split(b"\0")[:-1]]
        environ = dict(pair.decode("utf-8", "replace").partition("=")[::2]
                       for pair in _only(sent.contents("environ")).split(b"\0") if pair)  # fmt: skip
        self._same("argv", list(content.get("argv", [])), argv)
        if "cwd" in content:
            self._same("cwd", os.path.realpath(content["cwd"]), os.path.realpath(_only(sent.contents("cwd")).decode()))
        for name, value in content.get("env", {}).items():
            if isinstance(value, str):
                self._same(f"env {name}", value, environ.get(name))
        if "env_from" not in content:
            self._same("env", sorted(content.get("env", {})), sorted(environ))

    def _same(self, what: str, rendered: Any, sent: Any) -> None:
        if rendered != sent:
            complain(
                f"{self.name}: render shows {what} {rendered!r}, and {sent!r} was executed",
                "let submit_job send what render returns, and nothing else", "what-is-rendered-is-what-is-sent",
            )  # fmt: skip

    # -- ends -------------------------------------------------------------------------------------------------------

    @durable("watch")
    def test_exit_codes_are_true(self) -> None:
        """The record has the exit code of the job's own process."""
        works = {f"exit {code}": self.jobs.prints_and_exits("x", code, f"{code}") for code in (0, 1, 77, 255)}
        record = self.trial.write(works).run()
        for code in (0, 1, 77, 255):
            attempt = self.attempt_of(record, f"exit {code}")
            if (attempt["exit_code"], attempt["state"]) != (code, "FAILED" if code else "FINISHED"):
                complain(f"{self.name}: the job exits with {code}, and is recorded as {attempt['state']} with exit "
                         f"code {attempt['exit_code']}", "give AttemptEvent(exit_code=) the code of the job's own "
                         "process, not of what started it", "true-ends")  # fmt: skip

    @durable("watch")
    def test_signals_are_true(self) -> None:
        """The record of a job that a signal ended has the signal, or the exit code 128 + its number, as in shells."""
        numbers = (signal.SIGKILL, signal.SIGTERM)
        record = self.trial.write({number.name: self.jobs.kills_itself(int(number)) for number in numbers}).run()
        for number in numbers:
            attempt = self.attempt_of(record, number.name)
            told = attempt["signal"] == number or attempt["exit_code"] == 128 + number
            if attempt["state"] != "FAILED" or not told:
                complain(f"{self.name}: {number.name} ends the job, and it is recorded as {attempt['state']} with exit "
                         f"code {attempt['exit_code']} and signal {attempt['signal']}",
                         "give AttemptEvent(signal=) its number", "true-ends")  # fmt: skip

    # -- stop -------------------------------------------------------------------------------------------------------

    @durable()
    def test_a_job_is_asked_before_it_is_ended(self) -> None:
        """SIGTERM comes first, and a job may clean up within its grace period."""
        client, _ = self.started(self.jobs.ends_on_sigterm(LONG))
        client("stop", grace=self.patience / 4)
        self.ended(client)
        if not self.trial.marks.count("asked"):
            complain(f"{self.name}: the job was stopped, and has received no SIGTERM that it could act upon",
                     "send SIGTERM to the job's own process, and SIGKILL only after the grace period",
                     "stopping-and-cleaning-up")  # fmt: skip

    @durable()
    def test_a_job_that_forked_is_gone_after_stop(self) -> None:
        """The handler's stop returns True once everything is gone that the job has started."""
        client, _ = self.started(self.jobs.forks(LONG), "child")
        self.until(lambda: all(self.trial.marks.contents("child")), "the child wrote nothing")
        said = client("stop", grace=1.0)
        left = [stat for stat in self.trial.marks.contents("child") if remains.alive(stat)] if said is True else [
            stat for stat in self.trial.marks.contents("child") if not remains.gone_within(stat, 5.0)]  # fmt: skip
        for stat in left:
            remains.kill_stat(stat)
        if left:
            complain(
                f"{self.name}: the job has started a process in a session of its own; the handler's stop has returned "
                f"{said!r}, and that process (pid {left[0].split()[0].decode()}) is still there",
                "end the job's cgroup or pod, or every process whose environment carries its AIFLOW_MARK, and return "
                "True once they are gone", "stopping-and-cleaning-up",
            )  # fmt: skip

    @durable()
    def test_another_process_can_stop_it(self) -> None:
        """The handler, read from JSON by a process that knows nothing else, ends the job; a second stop is harmless."""
        client, _ = self.started(self.jobs.sleeps(LONG))
        other = self._from_json(client)
        other("stop", grace=1.0)
        other("stop", grace=1.0)
        state = self.ends(lambda: other("state"))
        if self.trial.marks.count("end") or state == "FINISHED":
            complain(f"{self.name}: another process has stopped the job by its handler, and its state is {state}",
                     "let the handler's stop act on the platform by the native id", "handlers-are-data")  # fmt: skip

    # -- handlers ---------------------------------------------------------------------------------------------------

    @durable()
    def test_the_handler_works_in_another_process(self) -> None:
        """Written as JSON and read back by a process that did not submit: state, wait and logs."""
        self.trial.marks.put("go")
        client, native_id = self.started(self.jobs.counts(10), "half")
        other = self._from_json(client)
        self.finished(other, "its handler, in another process, was waited for")
        self._compare_logs("stdout as another process reads it", numbered("line", 10), self._read(other, "stdout"))
        attached = self.trial.other(native_id)
        attached("attach")
        self.finished(attached, "attach gave another process its handler")
        self._compare_logs("stdout of the attached handler", numbered("line", 10), self._read(attached, "stdout"))

    @durable()
    def test_another_process_learns_of_a_failure(self) -> None:
        """A process that has not submitted the job gets its true end, and the same one each time."""
        client, native_id = self.started(self.jobs.prints_and_exits("hello", 3), "end")
        attached = self.trial.other(native_id)
        attached("attach")
        for words, who in (("read from JSON", self._from_json(client)), ("of attach", attached)):
            told = [self.ended(who), *(who("state") for _ in range(4))]
            if set(told) != {"FAILED"}:
                complain(f"{self.name}: the job has ended with exit code 3, and in another process the handler {words} "
                         f"says, each time that it is asked, {', '.join(map(str, told))}",
                         "keep the end where every process finds it: ask the platform, and remember nothing in the "
                         "process that submits", "handlers-are-data")  # fmt: skip

    def _from_json(self, client: Client) -> Client:
        text = self.raises(
            "the handler", "cannot be written as JSON", "let its attributes be plain values: strings, numbers, lists, "
            "maps; what is for this process only goes into the class attribute transient", "handlers-are-data",
            lambda: client("handler"),
        )  # fmt: skip
        json.loads(text)
        other = self.trial.client()
        self.raises("the handler", "cannot be read back", "let everything that it needs be in its data",
                    "handlers-are-data", lambda: other("take_handler", text=text))  # fmt: skip
        return other

    # -- once -------------------------------------------------------------------------------------------------------

    @durable()
    def test_native_ids_name_one_attempt_each(self) -> None:
        """Each attempt has an id of its own, and allocating it starts nothing."""
        self.trial.write({name: self.jobs.sleeps(LONG) for name in ALIKE})
        run, job = self.trial.new_run(), ALIKE[0]
        which = [*((name, 1, run) for name in ALIKE), (job, 2, run), (job, 1, self.trial.new_run())]
        clients = [self.trial.attempt(*each) for each in which]
        found = [client("allocate_id") for client in clients]
        if len(set(found)) < len(found) or not all(isinstance(native_id, str) and native_id for native_id in found):
            complain(
                f"{self.name}: {len(found)} attempts, one of another run, were given the ids {found}",
                "make the id of the run, the job and the attempt, all three, so that different names stay different: "
                "aiflow_ext.model.names.safe_name(text, length) sees to that", "durable-plugins",
            )  # fmt: skip
        for client, native_id in zip(clients, found, strict=True):
            client("take_id", native_id=native_id)
            said = client("lookup")
            if said == "FOUND":
                complain(
                    f"{self.name}: an id was allocated, and lookup says FOUND",
                    "start nothing in allocate_id, and let lookup look at what was started",
                    "submitted-once",
                )
        if self.trial.marks.count("start"):
            complain(f"{self.name}: ids were allocated, and a job has begun", "start nothing in allocate_id",
                     "submitted-once")  # fmt: skip

    @durable()
    def test_lookup_tells_what_was_started(self) -> None:
        """NEVER_STARTED before the start, FOUND from then on, and for an unknown id never FOUND."""
        client, native_id = self.trial.write({"job": self.jobs.counts(10)}).ready()
        self._lookup(client, "NEVER_STARTED", "the job's resources are in place and it was not submitted")
        client("submit_job")
        self._lookup(self.trial.other(native_id), "FOUND", "the job was submitted")
        self.begun(client, "half")
        self._lookup(self.trial.other(native_id), "FOUND", "the job runs")
        self.trial.marks.put("go")
        self.finished(client, "the job was submitted")
        self._lookup(self.trial.other(native_id), "FOUND", "the job was submitted and has ended")
        self._lookup_after_cleanup(client, native_id)
        unknown = self.trial.other(unlike(native_id), number=7)
        said = unknown("lookup")
        if said == "FOUND":
            complain(f"{self.name}: lookup of {unlike(native_id)!r}, an id that was never allocated, says FOUND",
                     "look for this very id", "submitted-once")  # fmt: skip

    def _lookup_after_cleanup(self, client: Client, native_id: str) -> None:
        cleanups: list[tuple[str, dict[str, Any]]] = [("cleanup_attempt", {})]
        if "cleanup_run" in self.zygote.facts["offers"]:
            cleanups.append(("cleanup_run", {"run": self.trial.runs[-1]}))
        for call, arguments in cleanups:
            client(call, **arguments)
            if self.trial.other(native_id)("lookup") == "NEVER_STARTED":
                method = "cleanup_job" if call == "cleanup_attempt" else call
                complain(
                    f"{self.name}: the job was submitted, has ended, and {method} was called; lookup says "
                    "NEVER_STARTED, for which the job would be started again",
                    "say NEVER_STARTED only where something proves it, such as a record that was made before the start "
                    "and is still there; where the record is gone, UNKNOWN", "submitted-once",
                )  # fmt: skip

    def _lookup(self, client: Client, wanted: str, when: str) -> None:
        said = client("lookup")
        if said != wanted:
            complain(
                f"{self.name}: {when}, and lookup says {said} instead of {wanted}",
                "write down, or let the platform show, what has been started, before it starts: a driver that was "
                "killed submits again where lookup says NEVER_STARTED, adopts what is FOUND, and gives up what is "
                "UNKNOWN", "submitted-once",
            )  # fmt: skip

    @durable()
    def test_the_same_attempt_submitted_twice_runs_once(self) -> None:
        """Submitting a native id again finds the existing job, waiting, running or ended; or raises, and lookup returns
        FOUND."""
        self.trial.marks.put("go")
        client, native_id = self.trial.write({"job": self.jobs.counts(10)}).ready()
        client("submit_job")
        with contextlib.suppress(Raised):
            self.trial.other(native_id)("submit_job")  # at once: where there is a queue, it waits in it
        self.begun(client, "half")
        self.finished(client, "it was submitted")
        for _ in range(2):
            again = self.trial.other(native_id)
            again("generate_job_resource")
            with contextlib.suppress(Raised):
                again("submit_job")
            again("attach")
            self.ended(again)
        if self.trial.marks.count("half") != 1:
            complain(f"{self.name}: an attempt was submitted four times under one native id, and was executed "
                     f"{self.trial.marks.count('half')} times",
                     "create the job under its native id, and take what is there already for success",
                     "submitted-once")  # fmt: skip

    # -- artifacts and secrets --------------------------------------------------------------------------------------

    @durable()
    def test_artifacts_of_any_size(self) -> None:
        """Artifacts of 10 MB, and empty ones, are passed from one job to another."""
        makes = {f"make {kind}": self.jobs.makes(size, kind) for kind, size in SIZES.items()}
        reads = {f"read {kind}": self.jobs.reads(kind) for kind in SIZES}
        record = self.trial.write({**makes, **reads}).run()
        for kind, size in SIZES.items():
            for job in (f"make {kind}", f"read {kind}"):
                self.must_be(record, "FINISHED", f"the job {job!r} passes an artifact of {size} bytes on",
                             "use aiflow_ext.engines.bundle, and an artifacts URL that the jobs reach", "artifacts",
                             job)  # fmt: skip
            made, read = (_only(self.trial.marks.contents(f"{what}{kind}"))[:64] for what in ("made", "read"))
            if made != read:
                complain(f"{self.name}: an artifact of {size} bytes has another sha256 where it is read",
                         "pass artifacts on as aiflow_ext.engines does", "artifacts")  # fmt: skip

    @durable()
    def test_a_secret_is_nowhere(self) -> None:
        """A secret reaches the job, and is in no request, command line, handler, log of aiflow-ext, file of the run or
        store."""
        works = {"job": self.jobs.tells_variables(["TOKEN"]), "runs": self.jobs.counts(10)}
        self.trial.write(works, env={"TOKEN": {"secret": self.secret}})
        value = self.zygote.env[SECRET]
        client, _ = self.trial.ready()
        shown = json.dumps(client("render")) if "render" in self.zygote.facts["offers"] else ""
        if value in shown:
            complain(
                f"{self.name}: a secret's value stands in what render shows",
                "leave references as they are in render (aiflow_ext.plugin.secrets.shown), and resolve them in "
                "submit_job",
                "secrets",
            )
        before = self._files_with(value)
        client("submit_job")
        during = self._files_with(value)
        if value in client("handler"):
            complain(f"{self.name}: a secret's value stands in the handler", "let it hold what names the job, and not "
                     "what was sent", "secrets")  # fmt: skip
        self.finished(client, "it reads a secret")
        client("cleanup_attempt")
        runs, _ = self.trial.ready(job="runs")
        runs("submit_job")
        self.begun(runs, "half")
        commands = remains.commands_with(value)
        self.trial.marks.put("go")
        self.ended(runs)
        for command in commands:
            complain(f"{self.name}: a secret's value stands in a command line, which everybody may read: "
                     f"{command.replace(value, '(the secret)')[:200]}", "hand it over in the process's environment, or "
                     "as the platform's own kind of secret", "secrets")  # fmt: skip
        record = self.trial.run()
        self.must_be(record, "FINISHED", "the job reads a secret", "see the reason", "secrets")
        told = _only(self.trial.marks.contents("told"))
        if told != value.encode() + b"\0":
            complain(f"{self.name}: the secret has not reached the job", "resolve it in submit_job "
                     "(aiflow_ext.plugin.secrets.resolve)", "secrets")  # fmt: skip
        for path in dict.fromkeys([*before, *during, *self._files_with(value)]):
            complain(f"{self.name}: a secret's value stands in {path}", "hand it over in the process's environment, or "
                     "as the platform's own kind of secret", "secrets")  # fmt: skip

    def _files_with(self, value: str) -> list[str]:
        """The files of the trial, but for marks, that hold ``value``."""
        found = []
        for path in self.trial.root.rglob("*"):
            if path.is_file() and self.trial.root / "marks" not in path.parents:
                with contextlib.suppress(OSError):
                    if value.encode() in path.read_bytes():
                        found.append(str(path.relative_to(self.trial.root)))
        return found

    # -- the rest of the optional hooks -----------------------------------------------------------------------------

    @durable()
    def test_cleanup_run_comes_twice(self) -> None:
        """cleanup_run is called when every job has ended, and again by gc; also for a run that sent nothing."""
        client, _ = self.started(self.jobs.prints_and_exits("hello", 0), "end")
        self.ended(client)
        client("cleanup_attempt")
        for _ in range(2):
            client("cleanup_run", run=self.trial.runs[-1])
        client("cleanup_run", run="kit-a-run-that-sent-nothing")

    @durable()
    def test_the_platform_is_fit(self) -> None:
        """check_platform finds nothing wrong if jobs can be run, and returns problems with hints."""
        found = self.trial.write({"job": self.jobs.sleeps(LONG)}).attempt()("check_platform")
        if found:
            complain(f"{self.name}: check_platform finds problems, and jobs can be run: " + "; ".join(found),
                     "tell only what keeps jobs from being run", "durable-plugins")  # fmt: skip


def _only(contents: list[bytes]) -> bytes:
    return contents[0] if contents else b""
