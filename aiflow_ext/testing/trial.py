"""A project in a folder of its own, and the clients that act on it."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiflow_ext.supervise import proc
from aiflow_ext.testing import remains
from aiflow_ext.testing.complaint import complain
from aiflow_ext.testing.marks import Marks
from aiflow_ext.testing.works import Work
from aiflow_ext.testing.zygote import NO_ANSWER, Client, Raised, Zygote


class Trial:
    """One test's project. At its end all its processes are ended.

    Args:
        root: a folder of the test's own.
        zygote: has the plugin loaded.
        config: keys of every job's config.
        marks: the marks of its jobs.
        patience: seconds for any one call.
        artifacts: the artifacts URL; empty: the default.
    """

    def __init__(
        self,
        root: Path,
        zygote: Zygote,
        config: Mapping[str, Any],
        marks: Marks,
        patience: float,
        artifacts: str = "",
    ) -> None:
        self.artifacts = artifacts
        self.root, self.zygote, self.config, self.marks, self.patience = root, zygote, config, marks, patience
        self.project = root / "project"
        self.runs: list[str] = []
        self._clients: list[Client] = []
        self._began = proc.ticks()
        for folder in (self.project, root / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)

    def write(self, works: Mapping[str, Work], env: Mapping[str, Any] | None = None) -> Trial:
        """Write a project of these jobs."""
        lines = ["import aiflow_ext as af"]
        files = {path: text for work in works.values() for path, text in work.files.items()}
        lines += [f"import {path[:-3]}" for path in files if path.endswith(".py") and "/" not in path]
        lines += ["", "", "@af.workflow", "def conformance():"]
        for name, work in works.items():
            lines += [f"    with af.job({name!r}):", *(f"        {line}" for line in work.body.splitlines())]
        config = {name: {**self.config, **({"env": dict(env)} if env else {}), **work.config}
                  for name, work in works.items()}  # fmt: skip
        files["workflow.py"] = "\n".join(lines) + "\n"
        files["workflow.yaml"] = json.dumps(config, ensure_ascii=False)  # JSON is YAML
        if self.artifacts:
            files["project.yaml"] = json.dumps({"artifacts": self.artifacts})
        for path, text in files.items():
            file = self.project / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return self

    def order(self, job: str, upstream: str) -> None:
        """Make ``job`` of the written project run after ``upstream``."""
        with open(self.project / "workflow.py", "a", encoding="utf-8") as file:
            file.write(f"    af.run_after({job!r}, {upstream!r})\n")

    def client(self) -> Client:
        """A new client: a process that shares no memory with others."""
        client = self.zygote.client(self.root, self.patience)
        self._clients.append(client)
        return client

    def attempt(self, job: str | None = None, number: int = 1, run: str | None = None) -> Client:
        """A new client that has generated an attempt's job, by default of a run of its own."""
        client = self.client()
        if run is None:
            run = self.new_run()
        client("open", run=run, job=job, number=number)
        return client

    def new_run(self) -> str:
        """The id for a new run."""
        self.runs.append(f"kit-{secrets.token_hex(6)}")
        return self.runs[-1]

    def ready(self, **which: Any) -> tuple[Client, str]:
        """An attempt whose native id is allocated and whose resources are in place; and that id."""
        client = self.attempt(**which)
        native_id = client("allocate_id")
        client("take_id", native_id=native_id)
        client("generate_job_resource")
        return client, native_id

    def other(self, native_id: str, number: int = 1, job: str | None = None) -> Client:
        """Another client with the latest run's attempt, made from its native id only."""
        client = self.client()
        client("open", run=self.runs[-1], job=job, number=number, native_id=native_id)
        return client

    def run(self, jobs: int | None = None, *, adding: bool = False) -> dict[str, Any]:
        """Run the project to its end; the run's record, jobs by name.

        Args:
            jobs: how many at once; by default as many as any run.
            adding: whether an installed job environment adds a variable to each attempt; by default none does.
        """
        client = self.client()
        self.runs.append(client("prepare_run", jobs=jobs)["run"])
        if adding:
            client("add_variables")
        return by_name(self.drive(client))

    def drive(self, client: Client) -> dict[str, Any]:
        """Let a client drive the latest run to its end; fails if it does not end in time."""
        try:
            record: dict[str, Any] = client("drive")
        except Raised as raised:
            if raised.kind != NO_ANSWER:
                raise
            failed = raised
        else:
            return record
        jobs = self.client()("stands", run=self.runs[-1])["jobs"]
        shown = "; ".join(f"{job['name']!r} is {job['state']}" + (f" ({job['reason']})" if job["reason"] else "")
                         for job in jobs if job["state"] not in ("FINISHED", "FAILED", "SKIPPED"))  # fmt: skip
        files = self.zygote.facts["files"]
        inside = any(f'"{file}' in failed.trace for file in files)
        complain(
            f"a run has not ended within {self.patience:g} s; {shown or 'all of its jobs have'}"
            + (f"; this is where it was:\n{failed.trace}" if inside else ""),
            "let every method return. Where a job has ended and the record does not have it: let submit_job return "
            "then, or, in a durable plugin, let watch tell the end of each attempt, also of those that come into "
            "jobs while it is read",
            "what-a-run-waits-for",
        )

    def marked(self, seconds: float = 0.0) -> dict[int, str]:
        """Processes that have the mark of one of the trial's attempts, and still do after ``seconds``."""
        deadline = time.monotonic() + seconds
        while found := {pid: command for run in self.runs for pid, command in remains.marked(run).items()}:
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        return found

    def lose(self, stat: bytes) -> bool:
        """End the process that has this /proc/PID/stat, and those that have started it since the trial began; False if
        it is not on this machine."""
        if not remains.alive(stat):
            return False
        remains.kill_line(int(stat.split()[0]), self._began, {client.pid for client in self._clients})
        return True

    def files(self) -> set[str]:
        """The files in the trial's folder, except aiflow-ext's own state, logs and marks."""
        state = f"{self.project / '.aiflow'}"
        found = remains.files_below(self.project, self.root / "tmp")
        return {path for path in found if path != state and not path.startswith(f"{state}/")}

    def close(self) -> None:
        """End every client, and every process of the trial's attempts."""
        for client in self._clients:
            client.kill()
        for run in self.runs:
            remains.kill_marked(run)


def by_name(record: dict[str, Any]) -> dict[str, Any]:
    """A run's record with its jobs by name."""
    return {**record, "jobs": {job["name"]: job for job in record["jobs"]}}
