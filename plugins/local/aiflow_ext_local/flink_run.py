"""The process of one ``local.flink`` attempt: brings a cluster up, follows its job, saves its outputs, ends all of it.

It is started as a script, by the client's own Python, and is given what to do in a file. The cluster's processes are in
its session, so that they end with the attempt. What it is asked and answers is in files of the attempt's folder:
``stop`` (by the handler) and ``stop-refused``.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

if __name__ == "__main__":  # as a script, with the client's own import path
    del sys.path[0]
    with open(sys.argv[1], encoding="utf-8") as _file:
        sys.path[:] = dict.fromkeys([*json.load(_file)["path"], *sys.path])

from typing import Any, NoReturn

import aiflow_ext.plugin as af
from aiflow_ext.plugin import JobState, PlatformError, UnreachableError, safe_name, supervised
from aiflow_ext.plugin.authoring import InputRef, OutputFile
from aiflow_ext.plugin.engines import artifacts, read_whole
from aiflow_ext_flink.configuration import QUICK, java_options, jobmanager_sizes, taskmanager_sizes
from aiflow_ext_flink.home import jar_of
from aiflow_ext_flink.program import DRIVERS, MAINS, Program, python_words
from aiflow_ext_flink.rest import FlinkRest
from aiflow_ext_flink.verdict import Verdict, archived, python_error, restarts_of, root_cause, state_of

_FAILED = 1443 & 0xFF  # a JobManager's exit code: the application has failed
POLL = 0.3  # seconds between two looks at the cluster
UP_WITHIN = 180.0  # seconds until the JobManager answers
SAVED_WITHIN = 600.0  # seconds for a savepoint
STOP, REFUSED, ARCHIVE = "stop", "stop-refused", "archive"
ADDRESS = "127.0.0.1"
_MAIN = "org.apache.flink.container.entrypoint.StandaloneApplicationClusterEntryPoint"
_WORKER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
_LOG = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = Console
logger.types.name = org.apache.flink.api.java.typeutils
logger.types.level = WARN
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} ${sys:aiflow.process} %-5p %c{1} %x - %m%n
"""


# -- what the handler asks ---------------------------------------------------------------------------------------------


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


class _Failed(Exception):
    """The attempt has failed; the message is its reason."""

    def __init__(self, words: str, code: int = 1) -> None:
        super().__init__(words)
        self.code = code


class _Attempt:
    def __init__(self, payload: str) -> None:
        self.folder = Path(payload).parent
        self.work = self.folder / "work"
        self.spec: dict[str, Any] = af.loads(Path(payload).read_text(encoding="utf-8"))
        self.rest_port, self.rpc_port = _free_ports(2)
        self.rest = FlinkRest(f"{ADDRESS}:{self.rest_port}", seconds=15.0)
        self.processes: list[tuple[str, subprocess.Popen[bytes]]] = []
        self.written: dict[str, Path] = {}
        self.status = supervised.Status()
        self.asked: str | None = None  # the stop that is being carried out, or was refused
        self.saved: str | None = None

    def run(self) -> None:
        if self.spec.get("lacks"):
            raise _Failed(self.spec["lacks"])
        self._start()
        try:
            ended = self._follow()
        finally:
            self._end_all()
        self._conclude(ended)

    # -- the cluster ---------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        spec = self.spec
        paths = self._paths()
        program = Program(spec["kind"], spec["file"], None, spec["entry_class"], spec["args"], spec["sql"],
                          spec["py_files"], af.AINode("flink", {"names": spec["names"]}, "flink"))  # fmt: skip
        filled = program.filled(paths, spec["properties"])
        conf = self.folder / "conf"
        conf.mkdir(exist_ok=True)
        (conf / "log4j-console.properties").write_text(_LOG)
        self._configuration(conf)
        words = self._program(filled.args, filled.sql)
        heap, direct, metaspace = jobmanager_sizes(spec["jobmanager_memory"])
        self._java("jobmanager", java_options(heap, direct, metaspace), _MAIN, ["--configDir", str(conf), *words])
        keys, (heap, direct, metaspace) = taskmanager_sizes(spec["taskmanager_memory"])
        for number in range(1, spec["taskmanagers"] + 1):
            own = {**keys, "taskmanager.resource-id": f"taskmanager-{number}"}
            given = [word for key, value in own.items() for word in ("-D", f"{key}={value}")]
            self._java(f"taskmanager-{number}", java_options(heap, direct, metaspace), _WORKER,
                       ["--configDir", str(conf), *given])  # fmt: skip

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

    def _configuration(self, conf: Path) -> None:
        spec, work = self.spec, str(self.work)
        found = {
            # The processes of a machine with much else to do start slowly, and are not lost for that.
            "pekko.startup-timeout": "180 s",
            "pekko.ask.timeout": "60 s",
            "io.tmp.dirs": work,
            "user.artifacts.base-dir": f"{work}/flink-artifacts",
            "taskmanager.cpu.cores": 1.0,
            **spec["configuration"],
            "jobmanager.rpc.address": ADDRESS,
            "jobmanager.rpc.port": self.rpc_port,
            "jobmanager.bind-host": ADDRESS,
            "rest.address": ADDRESS,
            "rest.bind-address": ADDRESS,
            "rest.port": self.rest_port,
            "rest.bind-port": str(self.rest_port),
            "taskmanager.host": ADDRESS,
            "taskmanager.bind-host": ADDRESS,
        }
        if found.get("taskmanager.memory.process.size"):
            del found["taskmanager.memory.process.size"]  # each part is said by itself
        if spec["jars"]:
            found["pipeline.jars"] = ";".join(Path(each).as_uri() for each in spec["jars"])
        if restored := self._restored():
            found["execution.state-recovery.path"] = restored
            found["execution.state-recovery.ignore-unclaimed-state"] = spec["allow_non_restored_state"]
            print(f"aiflow-ext: restoring from {restored}", file=sys.stderr, flush=True)
        (conf / "config.yaml").write_text(json.dumps(found, indent=1))  # JSON is YAML, too
        # Flink itself may fail to make the archive's, which two of its threads make at once.
        archive = self.folder / ARCHIVE / spec["id"] / "applications" / spec["id"]
        for folder in (archive, Path(spec["savepoints"]), Path(spec["checkpoints"])):
            folder.mkdir(parents=True, exist_ok=True)

    def _restored(self) -> str | None:
        """The savepoint or checkpoint that this attempt begins with."""
        said: str | None = self.spec["restore_from"]
        checkpoints = Path(self.spec["checkpoints"])
        found = [each for id in self.spec["former"] for each in checkpoints.glob(f"{id}/chk-*/_metadata")]
        if said == "latest":
            found += [*Path(self.spec["savepoints"]).glob("*/_metadata"), *checkpoints.glob("*/chk-*/_metadata")]
        if found:
            return str(max(found, key=lambda each: each.stat().st_mtime_ns).parent)
        if said == "latest":
            return None
        if said is not None and "://" not in said and not Path(said).exists():
            raise _Failed(f"restore_from names {said}, which is not there")
        return said

    def _program(self, args: list[str], sql: str | None) -> list[str]:
        spec = self.spec
        if spec["kind"] == "jar":
            named = ["--job-classname", spec["entry_class"]] if spec["entry_class"] else []
            return ["--jars", Path(spec["file"]).as_uri(), *named, *_arguments(args)]
        if spec["kind"] == "sql":
            script = self.work / "job.sql"
            script.write_text(sql or "", encoding="utf-8")
            return ["--job-classname", MAINS["sql"], *_arguments(["--scriptUri", script.as_uri()])]
        words = python_words(spec["python"], spec["file"], spec["py_files"], args)
        return ["--job-classname", MAINS["python"], *_arguments(words)]

    def _java(self, name: str, options: list[str], main: str, words: list[str]) -> None:
        spec, home = self.spec, Path(self.spec["flink"])
        libraries = sorted(str(each) for each in (home / "lib").glob("*.jar"))
        driver = DRIVERS.get(spec["kind"]) if name == "jobmanager" else None
        if driver is not None and (jar := jar_of(home, driver)) is not None:
            libraries.append(str(jar))
        log = f"-Dlog4j.configurationFile={(self.folder / 'conf' / 'log4j-console.properties').as_uri()}"
        argv = [spec["java"], *QUICK, *options, log,
                f"-Daiflow.process={name}", "-cp", os.pathsep.join(libraries), main, *words]  # fmt: skip
        paths = [*spec["python_paths"], *filter(None, [os.environ.get("PYTHONPATH")])]
        env = {**os.environ, "FLINK_CONF_DIR": str(self.folder / "conf"), "FLINK_HOME": str(home),
               "FLINK_LIB_DIR": str(home / "lib"), "FLINK_OPT_DIR": str(home / "opt"),
               "FLINK_PLUGINS_DIR": str(home / "plugins"), "PYTHONPATH": os.pathsep.join(paths)}  # fmt: skip
        try:
            process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL)
        except OSError as error:
            raise _Failed(f"{spec['java']} cannot be started: {error.strerror}") from error
        self.processes.append((name, process))

    def _end_all(self) -> None:
        for _, process in self.processes:
            if process.poll() is None:
                process.kill()
        for _, process in self.processes:
            process.wait()

    # -- while it runs -------------------------------------------------------------------------------------------------

    def _follow(self) -> int:
        """Follow the job until its JobManager has ended; returns that one's exit code."""
        jobmanager = self.processes[0][1]
        deadline, answered = time.monotonic() + UP_WITHIN, False
        while True:
            try:
                return jobmanager.wait(POLL)
            except subprocess.TimeoutExpired:
                pass
            for name, process in self.processes[1:]:
                if process.poll() is not None and jobmanager.poll() is None:
                    raise _Failed(f"{name} has ended with exit code {process.returncode}; its log says why")
            try:
                self._look()
                answered = True
            except UnreachableError as error:
                if not answered and time.monotonic() > deadline:
                    raise _Failed(f"the JobManager is not up after {UP_WITHIN:g} s: {error.message}") from error
            except PlatformError as error:  # a job that is not there any more, as the cluster ends
                print(f"aiflow-ext: {error.message}", file=sys.stderr, flush=True)
            self._stop_if_asked()

    def _look(self) -> None:
        jobs = self.rest.jobs()
        status = supervised.Status(state_of(str(each.get("state")) for each in jobs) if jobs else JobState.QUEUED,
                                   instance=self.rest.url, at=self.status.at)  # fmt: skip
        restarting = [str(each["jid"]) for each in jobs if each.get("state") in ("RESTARTING", "FAILING")]
        if restarting or self.status.restarts:
            job = restarting[0] if restarting else str(jobs[0]["jid"])
            count, why = restarts_of(self.rest.exceptions(job))  # of the last few
            count = max(count, self.rest.restarts(job))
            words = f"restarted {count} times; the last time because of {why}" if restarting and why else None
            status = status._replace(restarts=max(count, self.status.restarts), reason=words)
        if self.status.state is JobState.RUNNING:
            status = status._replace(state=JobState.RUNNING)
        elif status.state is JobState.RUNNING:
            status = status._replace(at=time.time())
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
        if self.status.state is not JobState.RUNNING:
            self._ends_stopped("stopped before it ran")
        try:
            self.saved = self._savepoint()
        except PlatformError as error:
            words = f"the job was not stopped: {error.message}"
            supervised.write_regular(self.folder / REFUSED, f"{asked}\n{words}".encode())

    def _savepoint(self) -> str:
        id, drain = self.spec["id"], self.spec["on_stop"] == "drain"
        request = self.rest.stop(id, None, drain=drain)
        deadline = time.monotonic() + SAVED_WITHIN
        while time.monotonic() < deadline:
            try:
                if (found := self.rest.savepoint(id, request)) is not None:
                    return found
            except UnreachableError:
                pass
            try:
                self.processes[0][1].wait(POLL)
            except subprocess.TimeoutExpired:
                continue
            raise PlatformError("the cluster has ended while the savepoint was made")
        raise PlatformError(f"the savepoint takes longer than {SAVED_WITHIN:g} s")

    # -- its end -------------------------------------------------------------------------------------------------------

    def _conclude(self, code: int) -> None:
        found = archived(self.folder / ARCHIVE, self.spec["id"], self.spec["id"]) or self._without_archive(code)
        if found.state is JobState.FINISHED:
            if self.saved is not None:
                self._ends_stopped(f"stopped with the savepoint {self.saved}")
            for keyword, path in self.written.items():
                if not path.exists():
                    raise _Failed(f"the program was to write its output {keyword!r} to {path} and did not")
                artifacts.save(self.spec["outputs"][keyword], path)
            return
        if found.state is JobState.STOPPED:
            raise _Failed("it was cancelled at Flink, and not by aiflow-ext")
        raise _Failed(self._explained(found.reason or f"its JobManager has ended with exit code {code}"), code or 1)

    def _without_archive(self, code: int) -> Verdict:
        """The verdict of a cluster that has archived nothing, from its JobManager's exit code and log."""
        words = {
            -signal.SIGKILL: "its JobManager was killed (SIGKILL)",
            1: "the cluster could not be started; its log says why",
            2: "the JobManager has failed; its log says why",
        }.get(code, f"the program has ended the JobManager with exit code {code} (System.exit)")
        if code == _FAILED:
            log = _tail(self.folder / "stderr").rpartition("Could not execute application")[2]
            words = root_cause(f"x: {log.partition(chr(10) + '20')[0]}") if log else "its log says why"
        return Verdict(JobState.FAILED, words)

    def _explained(self, reason: str) -> str:
        if "DuplicateJobSubmission" in reason or "has already been submitted" in reason:
            return (
                "the program of a STREAM job submits a second Flink job, and may submit one: make two jobs of it, put "
                "INSERTs of SQL into one STATEMENT SET, or take exec_mode: STREAM away"
            )
        # Its own words are among what the script's process has printed.
        said = python_error(_tail(self.folder / "stdout")) if "Python process exits with code" in reason else None
        return said or reason

    def _ends_stopped(self, words: str) -> NoReturn:
        self._end_all()
        _note(words)
        sys.exit(0)


def _arguments(words: list[str]) -> list[str]:
    """A program's arguments: after ``--``, so that none is taken for an option of the cluster's."""
    return ["--", *words] if words else []


def _free_ports(count: int) -> list[int]:
    """Ports that nothing listens on. Not of those that the kernel gives to connections: a JVM takes seconds until
    it listens."""
    try:
        end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        end = 32768
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(min(15000, end - 5000), end)
        with socket.socket() as tried:
            try:
                tried.bind((ADDRESS, port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def _tail(path: Path, size: int = 256 << 10) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return file.read(size).decode("utf-8", "replace")
    except OSError:
        return ""


def _note(words: str) -> None:
    """One line for the attempt's record."""
    if path := os.environ.get("AIFLOW_REASON_FILE"):
        supervised.write_regular(path, " ".join(words.split())[:2000].encode("utf-8", "backslashreplace"))


def main(payload: str) -> None:
    """Run the attempt and end this process with its exit code."""
    try:
        _Attempt(payload).run()
    except _Failed as error:
        words, code = str(error), error.code
    except (artifacts.ArtifactError, af.AiflowError) as error:
        words, code = getattr(error, "message", str(error)), 1
    except OSError as error:
        words, code = f"{type(error).__name__}: {error}", 1
    else:
        return
    _note(words)
    print(f"aiflow-ext: {words}", file=sys.stderr, flush=True)
    sys.exit(code if 0 < code < 256 else 1)


if __name__ == "__main__":
    main(sys.argv[1])
