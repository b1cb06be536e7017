"""A run whose jobs wait at gates, its driver killed or stopped at will, and its records read from outside."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from commands import Command, CommandServer

from aiflow_ext.run.store.records import AttemptRecord, RunRecord
from aiflow_ext.run.store.store import Store
from aiflow_ext.supervise import Supervisor, kernel

CMD = '"*": {platform: local, engine: cmd_line}\n'


def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Wait until ``condition()`` is true and return it; fails with ``what`` when it does not come."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, what
        select.select([], [], [], 0.01)
    return found


class Bench:
    """A project with gates outside of it: ``gate(job)`` is a command that says it is up and waits to be let through."""

    def __init__(self, project: Any, env: dict[str, str], folder: Path, server: CommandServer) -> None:
        self.project, self.folder, self._server = project, folder, server
        self.env = {**env, "XDG_STATE_HOME": str(folder / "home"), "MARKS": str(folder / "marks")}
        self.marks = folder / "marks"
        self.marks.mkdir()
        self.drivers: list[subprocess.Popen[str] | Command] = []

    def gate(self, job: str, exit_code: int = 0) -> str:
        """A command: it marks its start, waits for :meth:`release`, marks its end and exits."""
        os.mkfifo(self.folder / f"gate-{job}")
        return (
            f"set -C; read u < /proc/sys/kernel/random/uuid; : > $MARKS/start-{job}-$AIFLOW_ATTEMPT-$u; "
            f"read x < {self.folder}/gate-{job}; : > $MARKS/end-{job}-$AIFLOW_ATTEMPT-$u; exit {exit_code}"
        )

    def workflow(self, commands: dict[str, str], *edges: tuple[str, ...], config: str = "") -> None:
        """A workflow of these commands; edges are (job, upstream) or (job, upstream, when)."""
        body = [f"with af.job({job!r}): af.cmd({command!r})" for job, command in commands.items()]
        body += [f"af.run_after({edge[0]!r}, {edge[1]!r}{f', when={edge[2]!r}' if edge[2:] else ''})" for edge in edges]
        self.project.jobs("\n".join(body), CMD + (config or "".join(f"{job}: {{}}\n" for job in commands)))

    def up(self, job: str, attempt: int = 1) -> None:
        """Wait until an attempt has started."""
        until(lambda: self.count("start", job, attempt), f"{job} does not start")

    def count(self, kind: str, job: str, attempt: int | None = None) -> int:
        """How many marks there are."""
        return len(list(self.marks.glob(f"{kind}-{job}-{'*' if attempt is None else f'{attempt}-*'}")))

    def release(self, job: str) -> None:
        """Let a job that waits at its gate through, and wait for its end mark."""
        before = self.count("end", job)
        with open(self.folder / f"gate-{job}", "w") as gate:
            gate.write("go\n")
        until(lambda: self.count("end", job) > before, f"{job} does not end")

    def drive(self, *args: str, **options: Any) -> subprocess.Popen[str] | Command:
        """Start ``aiflow-ext ARGS``, with options of ``subprocess.Popen``; ``run`` alone runs the project."""
        words = args or ("run", str(self.project.root))
        env, cwd = options.pop("env", self.env), options.pop("cwd", self.folder)
        driver: subprocess.Popen[str] | Command
        if not options and self._server.can_start(env):
            driver = self._server.start(words, env, cwd, session=True)
        else:
            streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            given = {**streams, "start_new_session": True, **options}
            driver = subprocess.Popen(
                [sys.executable, "-m", "aiflow_ext", *words], env=env, cwd=cwd, text=True, **given
            )
        self.drivers.append(driver)
        return driver

    def call(self, *args: str, **options: Any) -> tuple[int, str]:
        """What ``aiflow-ext ARGS`` exits with and all that it says."""
        driver = self.drive(*args, **options)
        out, err = driver.communicate(timeout=120)
        assert "Traceback" not in err, err
        return driver.wait(), out + err

    def _runs(self, job: str) -> bool:
        return bool(self.attempt(job).state == "RUNNING")

    def killed(self, *jobs: str) -> None:
        """Run the project until these jobs have started, and kill the driver."""
        driver = self.drive()
        for job in jobs:
            self.up(job)
            until(partial(self._runs, job), f"{job} is not seen running")
        driver.kill()
        driver.communicate()

    def resume(self, *args: str, **options: Any) -> tuple[int, str]:
        """Take the latest run up again."""
        return self.call("resume", "latest", "--project", str(self.project.root), *args, **options)

    @property
    def state(self) -> Path:
        return Path(self.project.root, ".aiflow")

    @property
    def record(self) -> RunRecord:
        store = Store(self.state, create=False)
        try:
            return store.run(store.runs()[0]["run"])
        finally:
            store.close()

    @property
    def ends(self) -> dict[str, tuple[str, int]]:
        """Each job's state and how many attempts it had."""
        return {name: (str(job.state), len(job.attempts)) for name, job in self.record.jobs.items()}

    def attempt(self, job: str) -> AttemptRecord:
        last = self.record.jobs[job].last
        assert last is not None
        return last

    def kill_supervisor(self) -> None:
        pid = int((self.project.run_folder / "supervisor.lock").read_text().split()[0])
        descriptor = kernel.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        assert select.select([descriptor], [], [], 20)[0]
        os.close(descriptor)


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Any]:
    return until


@pytest.fixture
def bench(project: Any, cli_env: dict[str, str], tmp_path: Path, command_server: CommandServer) -> Iterator[Bench]:
    made = Bench(project, cli_env, tmp_path, command_server)
    yield made
    for driver in made.drivers:
        if driver.poll() is None:
            driver.kill()
            driver.communicate()
    for folder in tmp_path.glob("**/runs/*/processes.jsonl"):
        with Supervisor(folder.parent) as supervisor:
            for record in supervisor.records().values():
                if not record.ended:
                    supervisor.stop(record.id, 0.0)
