"""A real session cluster of Flink on this machine: one JobManager, and TaskManagers with one slot each."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from aiflow_ext_flink.configuration import MIB, java_options, jobmanager_sizes, taskmanager_sizes
from tests.helpers import flink_jvm

ADDRESS = "127.0.0.1"
_MAIN = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_WORKER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
_LOG = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = Console
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss,SSS} %-5p %c{1} - %m%n
"""


class SessionCluster:
    """A session cluster, up until it is closed.

    Args:
        folder: of its own.
        home: Flink's folder.
        workers: how many TaskManagers it begins with.
        patience: seconds that it may take to be up.
    """

    def __init__(self, folder: Path, home: Path, workers: int = 1, patience: float = 300.0) -> None:
        self.folder, self.home, self.patience = folder, home, patience
        self.rest_port, self.rpc_port = _free_port(), _free_port()
        self.address = f"{ADDRESS}:{self.rest_port}"
        self.processes: list[subprocess.Popen[bytes]] = []
        conf = folder / "conf"
        conf.mkdir(parents=True)
        (conf / "log4j-console.properties").write_text(_LOG)
        (conf / "config.yaml").write_text(json.dumps({
            "jobmanager.rpc.address": ADDRESS, "jobmanager.rpc.port": self.rpc_port, "jobmanager.bind-host": ADDRESS,
            "rest.address": ADDRESS, "rest.bind-address": ADDRESS, "rest.port": self.rest_port,
            "rest.bind-port": str(self.rest_port), "taskmanager.host": ADDRESS, "taskmanager.bind-host": ADDRESS,
            "taskmanager.cpu.cores": 1.0, "taskmanager.numberOfTaskSlots": 1, "io.tmp.dirs": str(folder),
            "jobmanager.memory.process.size": "768 mb", "cluster.registration.error-delay": "300 ms",
            "slot.request.timeout": 600_000, "restart-strategy.type": "none",
            **flink_jvm.PATIENT,
        }))  # fmt: skip
        self._java("jobmanager", java_options(*jobmanager_sizes(768 * MIB)), _MAIN, [])
        for _ in range(workers):
            self.add_worker()
        self._until(lambda: self.get("/overview")["taskmanagers"] == workers)

    def add_worker(self) -> None:
        """Start one more TaskManager."""
        keys, sizes = taskmanager_sizes(1024 * MIB)
        given = [word for key, value in keys.items() for word in ("-D", f"{key}={value}")]
        self._java("taskmanager", java_options(*sizes), _WORKER, given)

    def get(self, path: str) -> Any:
        """What its REST API answers."""
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=30) as answer:
            return json.loads(answer.read())

    def states(self) -> dict[str, str]:
        """The state of each of its jobs, by id."""
        return {each["jid"]: each["state"] for each in self.get("/jobs/overview")["jobs"]}

    def cancel(self, job: str) -> None:
        """End one of its jobs."""
        asked = urllib.request.Request(f"http://{self.address}/jobs/{job}?mode=cancel", method="PATCH")
        urllib.request.urlopen(asked, timeout=30).close()

    def close(self) -> None:
        """End its processes."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()

    def _java(self, name: str, options: list[str], main: str, words: list[str]) -> None:
        conf, libraries = self.folder / "conf", os.pathsep.join(map(str, (self.home / "lib").glob("*.jar")))
        log = f"-Dlog4j.configurationFile={(conf / 'log4j-console.properties').as_uri()}"
        env = {**os.environ, **flink_jvm.ENV, "FLINK_CONF_DIR": str(conf), "FLINK_LIB_DIR": str(self.home / "lib"),
               "FLINK_OPT_DIR": str(self.home / "opt"), "FLINK_PLUGINS_DIR": str(self.home / "plugins")}  # fmt: skip
        argv = ["java", *options, log, "-cp", libraries, main, "--configDir", str(conf), *words]
        with open(self.folder / f"{name}.log", "ab") as out:
            self.processes.append(subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out))

    def _until(self, fits: Any) -> None:
        deadline = time.monotonic() + self.patience
        while True:
            try:
                if fits():
                    return
            except OSError:
                pass
            assert self.processes[0].poll() is None, (self.folder / "jobmanager.log").read_text()[-3000:]
            assert time.monotonic() < deadline, (self.folder / "jobmanager.log").read_text()[-3000:]
            time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as tried:
        tried.bind((ADDRESS, 0))
        return int(tried.getsockname()[1])
