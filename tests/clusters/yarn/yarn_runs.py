"""Runs of whole workflows on a bed, driven by the command line in a process of its own; and what became of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from yarn_bed import Bed

CHAIN = """import aiflow_ext as af
import steps


@af.workflow
def tested():
    with af.job("make"):
        made = af.python(steps.make)
    with af.job("read"):
        af.python(steps.read, made)
"""


class Workflow:
    """A project of commands on a bed.

    Args:
        folder: a folder of the test's own.
        bed: where it runs; its node is this machine, so that jobs leave marks in ``folder``.
    """

    def __init__(self, folder: Path, bed: Bed) -> None:
        self.project, self.marks, self.bed = folder / "project", folder / "marks", bed
        self._begun: list[subprocess.Popen[str]] = []
        self.project.mkdir()
        self.marks.mkdir()
        self.env = {**os.environ, "HADOOP_CONF_DIR": str(bed.conf), "XDG_CACHE_HOME": str(folder / "cache"),
                    "XDG_STATE_HOME": str(folder / "state"), "HADOOP_USER_NAME": "root"}  # fmt: skip

    def write(self, jobs: dict[str, str], config: dict[str, Any] | None = None, **each: dict[str, Any]) -> Workflow:
        """Jobs by name: a shell script each, between a start mark and an end mark. ``config`` is every job's."""
        lines = ["import aiflow_ext as af", "", "", "@af.workflow", "def tested():"]
        for name, script in jobs.items():
            began, ended = (f"mktemp {self.marks}/{name}.{kind}.$AIFLOW_ATTEMPT.XXXXXXXX > /dev/null"
                            for kind in ("start", "end"))  # fmt: skip
            marked = f"{began}; ({script}); c=$?; {ended}; exit $c"
            lines += [f"    with af.job({name!r}):", f"        af.cmd({marked!r})"]
        (self.project / "workflow.py").write_text("\n".join(lines) + "\n")
        shared = {"platform": "yarn", "engine": "cmd_line", "memory": "128Mi", **(config or {})}
        told = {"*": shared, **{name: each.get(name, {}) for name in jobs}}
        (self.project / "workflow.yaml").write_text(json.dumps(told))
        return self

    def write_chain(self, make: dict[str, Any] | None = None, **config: Any) -> Workflow:
        """Two python jobs: a value made by one, ``make``, and read by the other, ``read``, at an ``hdfs://`` URL.

        ``config`` is of both, ``make`` of the first one alone.
        """
        (self.project / "project.yaml").write_text('artifacts: "hdfs:///artifacts"\n')
        (self.project / "steps.py").write_text(
            "def make():\n    return list(range(1000))\n\n\ndef read(made):\n    print(sum(made))\n"
        )
        (self.project / "workflow.py").write_text(CHAIN)
        shared = {"platform": "yarn", "engine": "python", "memory": "256Mi", "python": sys.executable, **config}
        (self.project / "workflow.yaml").write_text(json.dumps({"*": shared, "make": make or {}, "read": {}}))
        return self

    def begin(self, *options: str) -> subprocess.Popen[str]:
        """Start ``aiflow-ext run``; it goes on in the background."""
        argv = [sys.executable, "-m", "aiflow_ext", "run", str(self.project), "--json", *options]
        process = subprocess.Popen(argv, env=self.env, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip
        self._begun.append(process)
        return process

    def finish(self, process: subprocess.Popen[str], timeout: float = 600) -> dict[str, Any]:
        """The run's record, jobs by name, with the command's exit code and what it said."""
        out, err = process.communicate(timeout=timeout)
        return self.record(out, err, process.returncode)

    def record(self, out: str, err: str, code: int) -> dict[str, Any]:
        """What a command with ``--json`` has said, jobs by name."""
        found: dict[str, Any] = json.loads(out) if out.startswith("{") else {}
        jobs = {job["name"]: job for job in found.get("jobs", [])}
        return {**found, "jobs": jobs, "exit": code, "said": out + err}

    def close(self) -> None:
        """Stop what a failed test has left running."""
        if all(process.returncode is not None and process.returncode >= 0 for process in self._begun):
            return  # each has seen its run to its end
        self.bed.up()
        found = json.loads(self.call("runs", "--project", str(self.project), "--json").stdout or "[]")
        for run in found if isinstance(found, list) else []:
            if run["ended_at"] is None:
                self.call("stop", run["run"], "--grace", "0")

    def run(self, *options: str, timeout: float = 600) -> dict[str, Any]:
        """``aiflow-ext run`` to its end."""
        return self.finish(self.begin(*options), timeout)

    def call(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Any other command."""
        return subprocess.run([sys.executable, "-m", "aiflow_ext", *args], env=self.env, text=True, timeout=600,
                              stdin=subprocess.DEVNULL, capture_output=True)  # fmt: skip

    def attempts(self, job: str) -> list[dict[str, Any]]:
        """The attempts of a job of the run that was begun last, as its driver has recorded them so far."""
        done = self.call("status", "latest", "--project", str(self.project), "--json")
        return list(self.record(done.stdout, done.stderr, done.returncode)["jobs"].get(job, {}).get("attempts", ()))

    def newest_run(self) -> str:
        """The id of the run that was begun last."""
        run: str = json.loads(self.call("runs", "--project", str(self.project), "--json").stdout)[0]["run"]
        return run

    def newest(self) -> dict[str, Any]:
        """The report of the running application that was submitted last."""
        apps = self.bed.json(f"{self.bed.active()}/ws/v1/cluster/apps?states=RUNNING&applicationTags=aiflow")["apps"]
        found: dict[str, Any] = max(apps["app"], key=lambda app: app["startedTime"])
        return found

    def count(self, kind: str) -> int:
        """How many marks of a kind there are, of all jobs."""
        return len(list(self.marks.glob(f"*.{kind}.*")))

    def each(self, kind: str) -> dict[str, int]:
        """The marks of a kind by job."""
        found: dict[str, int] = {}
        for path in self.marks.glob(f"*.{kind}.*"):
            name = path.name.split(".")[0]
            found[name] = found.get(name, 0) + 1
        return found

    def executions(self, kind: str) -> Counter[tuple[str, int]]:
        """The marks of a kind by job and attempt."""
        found = [path.name.split(".") for path in self.marks.glob(f"*.{kind}.*")]
        return Counter((job, int(attempt)) for job, _, attempt, *_ in found)

    def wait(self, what: Callable[[], bool], timeout: float = 300) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + timeout
        while not what():
            assert time.monotonic() < deadline, f"it has not come about; marks: {self.each('start')}"
            time.sleep(0.02)

    def put(self, name: str) -> None:
        """Leave a file that jobs wait for."""
        (self.marks / name).touch()

    def until(self, name: str) -> str:
        """A command that waits for that file."""
        return f"until [ -e {self.marks}/{name} ]; do sleep 0.05; done"

    def log(self, record: dict[str, Any], job: str, stream: str = "stdout") -> str:
        """What a job's last attempt has printed, as it is kept."""
        return Path(record["jobs"][job]["attempts"][-1]["folder"], stream).read_text()
