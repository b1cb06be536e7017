"""Applications run by our application master, submitted by bare requests: nothing of the client is in between."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from yarn_bed import Bed

from aiflow_ext_yarn.master import SPEC_VARIABLE, SPEC_VERSION, archive
from aiflow_ext_yarn.master.outcome import Outcome, parse

USER = "root"
PYTHON = "/usr/bin/python3"


class Application:
    """One application. Its mark is its id."""

    def __init__(self, bed: Bed, id: str, staging: str) -> None:
        self.bed, self.id, self.staging = bed, id, staging

    def report(self) -> dict[str, Any]:
        """What the active ResourceManager knows of it."""
        found: dict[str, Any] = self.bed.json(f"{self.bed.active()}/ws/v1/cluster/apps/{self.id}")["app"]
        return found

    def wait(self, *states: str, timeout: float = 60) -> dict[str, Any]:
        """Wait for one of the states, by default for an end; a ResourceManager that is away is waited for."""
        wanted = states or ("FINISHED", "FAILED", "KILLED")
        deadline = time.monotonic() + timeout
        while True:
            try:
                report = self.report()
            except (OSError, LookupError):
                report = {"state": "away"}
            if report["state"] in wanted:
                return report
            assert time.monotonic() < deadline, f"{self.id} is {report} after {timeout} s"
            time.sleep(0.05)

    def end(self, timeout: float = 60) -> tuple[str, str, Outcome]:
        """State, final status and outcome of the ended application."""
        report = self.wait(timeout=timeout)
        outcome = parse(report["diagnostics"])
        assert outcome is not None, report["diagnostics"]
        return report["state"], report["finalStatus"], outcome

    @property
    def container(self) -> str:
        """The container of the application master."""
        return str(self.report()["amContainerLogs"].split("/")[-2])

    def signal(self, command: str = "GRACEFUL_SHUTDOWN") -> None:
        """Have the NodeManager signal the container."""
        url = f"{self.bed.active()}/ws/v1/cluster/containers/{self.container}/signal/{command}?user.name={USER}"
        with urllib.request.urlopen(urllib.request.Request(url, b"", method="POST"), timeout=10):
            pass

    def kill(self) -> None:
        """Have the ResourceManager kill it."""
        url = f"{self.bed.active()}/ws/v1/cluster/apps/{self.id}/state?user.name={USER}"
        self.bed.json(url, "PUT", {"state": "KILLED"})

    def log(self, name: str = "stdout") -> str:
        """A log file, while it runs and after it. Waits for the aggregation."""
        url = f"{self.bed.history}/ws/v1/history/containerlogs/{self.container}/{name}?user.name={USER}"
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(
                    urllib.request.Request(url, headers={"Accept": "text/plain"}), timeout=10
                ) as answer:
                    text = answer.read().decode()
            except urllib.error.HTTPError:
                text = ""
            if "LogContents:\n" in text:
                head, _, rest = text.partition("LogContents:\n")
                length = int(head.split("LogLength:")[1].split()[0])
                return str(rest.encode()[:length].decode())
            assert time.monotonic() < deadline, f"no log {name} of {self.id}"
            time.sleep(0.1)

    def until(self, met: Callable[[], bool], timeout: float = 60) -> None:
        """Wait until something has come true."""
        deadline = time.monotonic() + timeout
        while not met():
            assert time.monotonic() < deadline
            time.sleep(0.02)


def processes(mark: str) -> list[int]:
    """Living processes that carry an attempt's mark."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                environ = Path(entry.path, "environ").read_bytes().split(b"\0")
                state = Path(entry.path, "stat").read_text().rpartition(")")[2].split()[0]
                if f"AIFLOW_MARK={mark}".encode() in environ and state != "Z":
                    found.append(int(entry.name))
    return found


def masters(app: Application) -> list[int]:
    """The application master and, last, its keeper: they carry the container's name and not the mark."""
    container = app.container
    found = []
    for entry in sorted(int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()):
        with contextlib.suppress(OSError):
            environ = Path(f"/proc/{entry}/environ").read_bytes().split(b"\0")
            line = Path(f"/proc/{entry}/cmdline").read_bytes()
            if f"CONTAINER_ID={container}".encode() in environ and b"aiflow-am.pyz" in line and b"bash" not in line:
                found.append(entry)
    return found


def running(app: Application) -> None:
    """Wait until the child runs."""
    app.until(lambda: bool(processes(app.id)))


def submit(
    bed: Bed,
    argv: Sequence[Any],
    *,
    python: str = PYTHON,
    secrets: Mapping[str, str] | None = None,
    attempts: int = 1,
    staging: str | None = None,
    namenodes: Sequence[str] = (),
    before: Callable[[], None] = lambda: None,
    **spec: Any,
) -> Application:
    """Submit a command.

    Args:
        bed: where.
        argv: the command.
        python: the node's interpreter.
        secrets: what the submission's credentials hold.
        attempts: how often YARN may start the application master.
        staging: the attempt's folder; a fresh one by default.
        namenodes: where the application master finds it; ``{}`` is the bed's own.
        before: called when everything is uploaded, and nothing submitted.
        spec: adds to the application master's specification.
    """
    rm = bed.active()
    id = bed.json(f"{rm}/ws/v1/cluster/apps/new-application?user.name={USER}", "POST")["application-id"]
    staging = staging or f"/staging/{uuid.uuid4().hex}"
    master = put(bed, f"{staging}/aiflow-am.pyz", archive())
    full = {
        "version": SPEC_VERSION,
        "scheduler": bed.schedulers,
        "argv": list(argv),
        "mark": id,
        "cwd": "work",
        "grace": 5.0,
        "heartbeat": 0.5,
        **spec,
    }
    roots = [root.format(bed.webhdfs) for root in namenodes or ("{}",)]
    full["staging"] = {"urls": [f"{root}{staging}" for root in roots], "user": USER, **spec.get("staging_options", {})}
    environment = {SPEC_VARIABLE: base64.b64encode(json.dumps(full).encode()).decode()}
    command = f"exec {python} -S -E aiflow-am.pyz --logs <LOG_DIR> 1><LOG_DIR>/am.stdout 2><LOG_DIR>/am.stderr"
    container: dict[str, Any] = {
        "local-resources": {"entry": [{"key": "aiflow-am.pyz", "value": master}]},
        "environment": {"entry": [{"key": key, "value": value} for key, value in environment.items()]},
        "commands": {"command": command},
    }
    if secrets:
        entries = [{"key": key, "value": base64.b64encode(text.encode()).decode()} for key, text in secrets.items()]
        container["credentials"] = {"tokens": {}, "secrets": {"entry": entries}}
    body = {
        "application-id": id,
        "application-name": "test",
        "application-type": "AIFLOW",
        "queue": "default",
        "max-app-attempts": attempts,
        "resource": {"memory": 128, "vCores": 1},
        "am-container-spec": container,
    }
    before()
    bed.json(f"{rm}/ws/v1/cluster/apps?user.name={USER}", "POST", body)
    return Application(bed, id, staging)


def put(bed: Bed, path: str, data: bytes) -> dict[str, Any]:
    """Upload a file; the local resource that it is."""
    where = bed.json(f"{bed.webhdfs}{path}?op=CREATE&overwrite=true&noredirect=true&user.name={USER}", "PUT")[
        "Location"
    ]
    with urllib.request.urlopen(urllib.request.Request(where, data, method="PUT"), timeout=30):
        pass
    status = bed.json(f"{bed.webhdfs}{path}?op=GETFILESTATUS&user.name={USER}")["FileStatus"]
    return {
        "resource": f"hdfs://127.0.0.1:{bed.ports.nn}{path}",
        "type": "FILE",
        "visibility": "APPLICATION",
        "size": status["length"],
        "timestamp": status["modificationTime"],
    }


def get(bed: Bed, path: str) -> bytes | None:
    """A file's content; None where there is none."""
    try:
        with urllib.request.urlopen(f"{bed.webhdfs}{path}?op=OPEN&user.name={USER}", timeout=30) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise
