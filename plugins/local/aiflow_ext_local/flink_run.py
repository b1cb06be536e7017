"""The process of one ``local.flink`` attempt: brings a cluster up, follows its job, saves its outputs, ends all of it;
or submits the job to a session cluster (``flink_session``).

It is started as a script, by the client's own Python, and is given what to do in a file. The cluster's processes are in
its session, so that they end with the attempt.
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
from functools import partial
from pathlib import Path

if __name__ == "__main__":  # as a script, with the client's own import path
    del sys.path[0]
    with open(sys.argv[1], encoding="utf-8") as _file:
        sys.path[:] = dict.fromkeys([*json.load(_file)["path"], *sys.path])

from typing import Any

import aiflow_ext.plugin as af
from aiflow_ext.plugin import JobState, PlatformError, UnreachableError
from aiflow_ext.plugin.engines import artifacts, read_log_file
from aiflow_ext_flink import session
from aiflow_ext_flink.configuration import QUICK, has_tls, java_options, jobmanager_sizes, taskmanager_sizes
from aiflow_ext_flink.home import jar_of
from aiflow_ext_flink.program import DRIVERS, MAINS, is_url, python_words
from aiflow_ext_flink.rest import FlinkRest
from aiflow_ext_flink.verdict import Verdict, archived, reason_of, told_by_program
from aiflow_ext_local import flink_tls
from aiflow_ext_local.flink_attempt import POLL, REST, Attempt, Failed, note, say
from aiflow_ext_local.flink_session import Session

_FAILED = 1443 & 0xFF  # a JobManager's exit code: the application has failed
UP_WITHIN = 180.0  # seconds until the JobManager answers
ARCHIVE = "archive"
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


class Cluster(Attempt):
    """An attempt with a cluster of its own, whose processes are in the session of its process."""

    def __init__(self, payload: str, spec: dict[str, Any]) -> None:
        self.rest_port, self.rpc_port = _free_ports(2)
        super().__init__(payload, spec, f"{ADDRESS}:{self.rest_port}")
        self.processes: list[tuple[str, subprocess.Popen[bytes]]] = []

    def _run(self) -> None:
        self._start()
        try:
            ended = self._follow()
        finally:
            self._end_all()
        self._conclude(ended)

    # -- the cluster ---------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        spec = self.spec
        filled = self._filled()
        conf = self.folder / "conf"
        conf.mkdir(mode=0o700, exist_ok=True)
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

    def _configuration(self, conf: Path) -> None:
        spec, work = self.spec, str(self.work)
        found = {
            **self._key(conf),
            # The processes of a machine with much else to do start slowly, and are not lost for that.
            "pekko.ask.timeout": "60 s",
            "io.tmp.dirs": work,
            "web.refresh-interval": 500,  # ms, of what the REST API tells of tasks
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
        if has_tls(found):
            self.rest = FlinkRest(f"https://{ADDRESS}:{self.rest_port}", REST, flink_tls.client_context(conf))
        (conf / "config.yaml").write_text(json.dumps(found, indent=1))  # JSON is YAML, too
        # Flink itself may fail to make the archive's, which two of its threads make at once.
        archive = self.folder / ARCHIVE / spec["id"] / "applications" / spec["id"]
        state = [each for each in (spec["savepoints"], spec["checkpoints"]) if not is_url(each)]
        for folder in (archive, *map(Path, state)):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                words = "name another one under savepoints: or checkpoints:"
                raise Failed(f"the folder {folder} cannot be made: {error.strerror}; {words}") from error

    def _key(self, conf: Path) -> dict[str, Any]:
        try:
            return flink_tls.make_key(conf, ADDRESS)
        except flink_tls.NotMade as error:
            say(f"other users of this machine can reach the cluster's ports, because {error}")
            return {}

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
            raise Failed(f"{spec['java']} cannot be started: {error.strerror}") from error
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
            if self._wait(POLL):
                return jobmanager.returncode
            for name, process in self.processes[1:]:
                if process.poll() is not None and jobmanager.poll() is None:
                    raise Failed(f"{name} has ended with exit code {process.returncode}; its log says why")
            try:
                jobs = self.rest.jobs()
                self._seen(jobs, self._waits(jobs))
                answered = True
            except UnreachableError as error:
                if not answered and time.monotonic() > deadline:
                    raise Failed(f"the JobManager is not up after {UP_WITHIN:g} s: {error.message}") from error
            except PlatformError as error:  # a job that is not there any more, as the cluster ends
                say(error.message)
            self._stop_if_asked()

    def _waits(self, jobs: list[dict[str, Any]]) -> str | None:
        """What the program's jobs wait for, as long as none has run; None where they wait for nothing."""
        if self.status.state is JobState.RUNNING:
            return None
        waiting = [session.waits(self.rest, self.rest.job(str(each["jid"]))) for each in jobs]
        return waiting[0] if waiting and None not in waiting else None

    def _wait(self, seconds: float) -> bool:
        try:
            self.processes[0][1].wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    # -- its end -------------------------------------------------------------------------------------------------------

    def _conclude(self, code: int) -> None:
        found = archived(self.folder / ARCHIVE, self.spec["id"], self.spec["id"]) or self._without_archive(code)
        if self._has_finished(found.state):
            return
        reason = found.reason or f"its JobManager has ended with exit code {code}"
        raise Failed(told_by_program(reason, partial(read_log_file, self.folder)), code or 1)

    def _without_archive(self, code: int) -> Verdict:
        """The verdict of a cluster that has archived nothing, from its JobManager's exit code and log."""
        words = {
            -signal.SIGKILL: "its JobManager was killed (SIGKILL)",
            1: "the cluster could not be started; its log says why",
            2: "the JobManager has failed; its log says why",
        }.get(code, f"the program has ended the JobManager with exit code {code} (System.exit)")
        if code == _FAILED:
            log = _tail(self.folder / "stderr").rpartition("Could not execute application")[2]
            words = reason_of(f"x: {log.partition(chr(10) + '20')[0]}") if log else "its log says why"
        return Verdict(JobState.FAILED, words)


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


def main(payload: str) -> None:
    """Run the attempt and end this process with its exit code."""
    try:
        spec: dict[str, Any] = af.loads(Path(payload).read_text(encoding="utf-8"))
        (Session if spec["session"] else Cluster)(payload, spec).run()
    except Failed as error:
        words, code = str(error), error.code
    except (artifacts.ArtifactError, af.AiflowError) as error:
        words, code = getattr(error, "message", str(error)), 1
    except OSError as error:
        words, code = f"{type(error).__name__}: {error}", 1
    else:
        return
    note(words)
    say(words)
    sys.exit(code if 0 < code < 256 else 1)


if __name__ == "__main__":
    main(sys.argv[1])
