"""An environment with third-party plugins, pip-installed, and runs of projects in it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import CommandServer
from dist_info import declared, wheel
from patience import PATIENCE
from throwaway import make_environment, pip_install

from aiflow_ext.run.store.store import Store

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples" / "plugin-nohup"
ZOO = """
[aiflow_ext.platforms]
act = zoo_act:Act
shapes = zoo_shapes:Shapes
broken = zoo_broken:Broken
[aiflow_ext.job_plugins]
act.part = zoo_act:Plugin
shapes.klass = zoo_shapes:FromClass
shapes.instance = zoo_shapes:instance
shapes.factory = zoo_shapes:factory
shapes.sql = zoo_shapes:Positional
broken.job_type = zoo_broken:job_type
broken.job_config_type = zoo_broken:job_config_type
broken.platform = zoo_broken:platform
broken.engine = zoo_broken:engine
[aiflow_ext.extensions]
wraps = zoo_extension:Wraps
"""


def example_wheel(folder: Path) -> Path:
    """The example's wheel, as its own pyproject.toml says: a build backend would have to be downloaded."""
    said = declared(EXAMPLE)
    project, modules = said["project"], said["tool"]["setuptools"]["py-modules"]
    groups = {group.removeprefix("aiflow_ext."): entries for group, entries in project["entry-points"].items()}
    files = {f"{name}.py": EXAMPLE / f"{name}.py" for name in modules}
    return wheel(folder, project["name"], groups, files, requires=project["dependencies"])


class Environment:
    """A virtual environment with this one's distributions behind its own, and commands in it."""

    def __init__(self, folder: Path) -> None:
        self.python = make_environment(folder)
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(("AIFLOW_", "PYTHON"))}
        self.env |= {"XDG_CACHE_HOME": str(folder / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
        zoo = {module.name: module for module in HERE.glob("zoo/*.py")}
        wheels = [example_wheel(folder), wheel(folder, "aiflow-ext-zoo", ZOO, zoo, requires=["aiflow-ext"])]
        pip_install(self.python, *wheels)
        self.server = CommandServer(self.python, self.env)

    def popen(self, *args: str | Path, **options: Any) -> subprocess.Popen[str]:
        """``python ARGS`` in the environment, in a process group of its own."""
        return subprocess.Popen(
            [self.python, *map(str, args)], env={**self.env, **options.pop("env", {})}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, **options,
        )  # fmt: skip

    def call(
        self, *args: str | Path, env: Mapping[str, str] | None = None, cwd: Path | str = "."
    ) -> subprocess.CompletedProcess[str]:
        """``python ARGS`` in the environment, to its end; a command is forked from a process that has its modules."""
        words, given = [str(each) for each in args], {**self.env, **(env or {})}
        if words[:2] == ["-m", "aiflow_ext"] and self.server.can_start(given):
            command = self.server.start(words[2:], given, cwd, session=True)
            try:
                out, err = command.communicate(timeout=PATIENCE)
            finally:
                command.kill()
            return subprocess.CompletedProcess(command.args, command.wait(), out, err)
        process = self.popen(*words, env=env or {}, cwd=cwd)
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def run(self, root: Path, *args: str, **options: Any) -> Ran:
        done = self.call("-m", "aiflow_ext", "run", root, *args, **options)
        return self.ran(root, done.returncode, done.stdout, done.stderr)

    def ran(self, root: Path, exit_code: int, out: str, err: str) -> Ran:
        return Ran(root, exit_code, out, err)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    pytest.importorskip("pip")
    made = Environment(tmp_path_factory.mktemp("environment"))
    yield made
    made.server.close()


class Ran:
    """A project that has been run: what the command said, and each job's record and files."""

    def __init__(self, root: Path, exit_code: int, out: str, err: str) -> None:
        self.root, self.exit, self.out, self.err = root, exit_code, out, err
        self.folder = root
        self.jobs: dict[str, dict[str, Any]] = {}
        if (root / ".aiflow" / "state.db").exists():
            store = Store(root / ".aiflow", create=False)
            for run in store.runs()[:1]:
                record = store.run(run["run"])
                self.folder = Path(record.folder)
                self.jobs = {job["name"]: job for job in record.summary()["jobs"]}
            store.close()

    def last(self, job: str) -> dict[str, Any]:
        """The record of the job's last attempt."""
        found: dict[str, Any] = self.jobs[job]["attempts"][-1]
        return found

    def file(self, job: str, name: str, attempt: int = 1) -> str:
        """A file of an attempt's folder: stdout, stderr, trace."""
        path = Path(self.jobs[job]["attempts"][attempt - 1]["folder"], name)
        return path.read_bytes().decode("utf-8", "replace") if path.exists() else ""

    def steps(self, job: str, attempt: int = 1) -> list[str]:
        """Which methods of the platform ``act`` were called in the attempt's folder, in order."""
        return [line.split()[0] for line in self.file(job, "trace", attempt).splitlines()]


def project(root: Path, jobs: Mapping[str, Mapping[str, Any]], body: str = "") -> Path:
    """A project of these job configs; without a ``body`` its jobs have no nodes and do not wait for each other."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "workflow.yaml").write_text(yaml.safe_dump(dict(jobs), sort_keys=False))
    names = [name for name in jobs if name != "*"]
    body = body or "".join(f"    with af.job({name!r}):\n        pass\n" for name in names)
    (root / "workflow.py").write_text(f"import aiflow_ext as af\n\n@af.workflow\ndef tested():\n{body}")
    return root


def act(**steps: Any) -> dict[str, Any]:
    """The config of a job on the platform ``act``: what each method does, and keys that every job has."""
    properties = {name: steps.pop(name) for name in list(steps) if name == "generate" or name.endswith("_job")
                  or name == "generate_job_resource"}  # fmt: skip
    return {"platform": "act", "engine": "part", "properties": properties, **steps}


@pytest.fixture
def run(environment: Environment, tmp_path: Path) -> Any:
    """Runs a project of these job configs through the command line."""

    def call(jobs: Mapping[str, Mapping[str, Any]], *args: str, body: str = "", **options: Any) -> Ran:
        return environment.run(project(tmp_path / "project", jobs, body), *args, **options)

    return call


@pytest.fixture(scope="session")
def act_config() -> Any:
    """Makes the config of a job on the platform ``act``."""
    return act


@pytest.fixture(scope="session")
def write_project() -> Any:
    """Writes a project of these job configs."""
    return project


@pytest.fixture(scope="session")
def build_wheel() -> Any:
    """Makes a real wheel of some modules."""
    return wheel


@pytest.fixture(scope="session")
def example() -> Path:
    """The folder of the example plugin."""
    return EXAMPLE


def _marked(text: str) -> list[str]:
    """The command lines of living processes whose AIFLOW_MARK contains ``text``."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            marks = [one for one in (entry / "environ").read_bytes().split(b"\0") if one.startswith(b"AIFLOW_MARK=")]
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if state != "Z" and any(text.encode() in mark for mark in marks):
            found.append(f"{entry.name} {command}")
    return found


@pytest.fixture(scope="session")
def processes() -> Any:
    """Lists the living processes of a run's folder."""
    return _marked
