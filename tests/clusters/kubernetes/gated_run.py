"""A run of jobs that wait at a gate, and leave marks that count how often they have started and ended.

Jobs leave a mark as their first act and another as their last, in a folder that the node and this machine share.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubernetes_bed.waiting import until

CONFIG = """\
"*":
  platform: kubernetes
  engine: cmd_line
  platforms:
    kubernetes:
      image: localhost/busybox:1
      kubeconfig: {kubeconfig}
      namespace: {namespace}
      grace: 1
      volumes: [{{mount: /marks, host_path: {marks}}}]
"""
COMMAND = """\
mark() {{ read u < /proc/sys/kernel/random/uuid; : > /marks/$1.$AIFLOW_JOB.$AIFLOW_ATTEMPT.$u; }}
mark start
[ -e /marks/open ] || read x < /marks/gate
mark end
exit {exit}
"""


class Run:
    """A run of jobs that wait at a gate, driven by a process of its own."""

    def __init__(self, project: Any, env: dict[str, str], folder: Path, namespace: str) -> None:
        self.project, self.env, self.folder, self.namespace = project, env, folder, namespace
        self.marks = folder / "marks"
        self.marks.mkdir()
        self.marks.chmod(0o777)  # a pod's user is somebody else
        os.mkfifo(self.marks / "gate")
        (self.marks / "gate").chmod(0o666)
        self.driver: subprocess.Popen[str] | None = None

    def begin(self, kubeconfig: Path, jobs: int, exits: int = 0, at_once: int = 0) -> None:
        """Start a run of so many jobs, all at once if it is not said how many."""
        command = COMMAND.format(exit=exits)
        names = [f"j{number}" for number in range(jobs)]
        body = "\n".join(f"with af.job({name!r}): af.cmd({command!r})" for name in names)
        config = CONFIG.format(kubeconfig=kubeconfig, namespace=self.namespace, marks=self.marks)
        self.project.jobs(body, config + "".join(f"{name}:\n" for name in names))
        self._drive("run", str(self.project.root), "--jobs", str(at_once or jobs))

    def resume(self) -> None:
        """Kill the driver, and let another one go on."""
        assert self.driver is not None
        self.driver.kill()
        self.driver.wait()
        self._drive("resume", "latest", "--project", str(self.project.root))

    def _drive(self, *argv: str) -> None:
        with open(self.folder / "out", "w") as out, open(self.folder / "err", "w") as err:
            self.driver = subprocess.Popen(
                [sys.executable, "-m", "aiflow_ext", *argv, "--json"],
                env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, text=True, start_new_session=True,
            )  # fmt: skip

    def count(self, kind: str) -> Counter[tuple[str, int]]:
        """Marks of a kind, by job and attempt."""
        found = [path.name.split(".") for path in self.marks.glob(f"{kind}.*")]
        return Counter((job, int(attempt)) for _, job, attempt, _ in found)

    def up(self, count: int) -> None:
        """Wait until so many attempts have started."""
        assert until(lambda: sum(self.count("start").values()) >= count, 300), self.told()

    def release(self) -> None:
        """Let through whoever waits at the gate now, and whoever comes later."""
        (self.marks / "open").touch()
        try:
            os.close(os.open(self.marks / "gate", os.O_WRONLY | os.O_NONBLOCK))
        except OSError:  # nobody waits
            pass

    def status(self) -> dict[str, Any]:
        """What ``aiflow-ext status`` says, jobs by name."""
        argv = [sys.executable, "-m", "aiflow_ext", "status", "latest", "--project", str(self.project.root), "--json"]
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True)
        if not done.stdout.startswith("{"):
            return {}
        return {job["name"]: job for job in json.loads(done.stdout)["jobs"]}

    def says(self, condition: Callable[[dict[str, Any]], bool], seconds: float = 300) -> None:
        """Wait until the last attempt of one job is so."""

        def found() -> bool:
            return any(condition(job["attempts"][-1]) for job in self.status().values() if job["attempts"])

        assert until(found, seconds), self.told()

    def finish(self, seconds: float = 600) -> dict[str, Any]:
        """Open the gate, wait for the run's end, and return its jobs by name."""
        driver = self.driver
        assert driver is not None

        def ended() -> bool:
            self.release()  # again: one may have come to the gate as it was opened
            return driver.poll() is not None

        assert until(ended, seconds), self.told()
        text = (self.folder / "out").read_text()
        assert text.startswith("{"), self.told()
        return {job["name"]: job for job in json.loads(text)["jobs"]}

    def told(self) -> str:
        """What the run has said so far, for a failure's message."""
        lines = [(self.folder / "err").read_text()]
        for name, job in self.status().items():
            for attempt in job["attempts"]:
                words = [f"{key} {attempt[key]}" for key in ("exit_code", "reason") if attempt[key] is not None]
                flags = [key for key in ("disruption", "unreachable") if attempt[key]]
                lines.append(f"{name} {attempt['number']} {attempt['state']} {', '.join(words + flags)}")
        return "\n".join(lines)

    def ran_once(self, jobs: dict[str, Any], disrupted: bool = False) -> None:
        """Assert that every job has finished and ran once.

        It did so in its only attempt; or, if some may be ``disrupted``, in its last, and what came before is recorded
        as a disruption: a kubelet that dies as a container starts says afterwards that it did not. Of a Job whose pod
        was being created when the API server or etcd died, Kubernetes itself may make two pods (its documentation says
        so): the attempt's ``restarts`` then count them.
        """
        assert {name: job["state"] for name, job in jobs.items()} == dict.fromkeys(jobs, "FINISHED"), self.told()
        before = [attempt for job in jobs.values() for attempt in job["attempts"][:-1]]
        assert not before or disrupted, self.told()
        assert all(attempt["disruption"] for attempt in before), self.told()
        last = Counter({(name, len(job["attempts"])): 1 for name, job in jobs.items()})
        restarts = {(name, attempt["number"]): attempt["restarts"] for name, job in jobs.items()
                    for attempt in job["attempts"]}  # fmt: skip
        for marks in (self.count("start"), self.count("end")):
            twice = {key: number for key, number in marks.items() if not 1 <= number <= 1 + restarts[key]}
            assert not twice, f"ran more often than the platform's restarts explain: {twice}"
            assert last <= marks, self.told()
