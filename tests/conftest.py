"""Fixtures of every test: a project in a folder of its own, and the command line as a process."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent / "helpers"))

from commands import CommandServer
from dist_info import install
from patience import PATIENCE


def pytest_configure(config: pytest.Config) -> None:
    # hypothesis would make it in the middle of a test of another worker, and a changed folder on sys.path is scanned.
    (config.rootpath / ".hypothesis").mkdir(exist_ok=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "killed_anywhere" in item.name:  # one execution lost or doubled is one too many: no second chance on CI
            item.add_marker(pytest.mark.flaky(reruns=0))


class Project:
    """A project folder of a test."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, **files: str) -> Project:
        """Write files: ``workflow_py=...`` is workflow.py."""
        for name, text in files.items():
            stem, _, suffix = name.rpartition("_")
            (self.root / f"{stem}.{suffix}").write_text(textwrap.dedent(text), encoding="utf-8")
        return self

    def jobs(self, body: str, config: str, steps: str = "") -> Project:
        """A workflow whose function has this body, with this workflow.yaml and steps.py."""
        workflow = "import aiflow_ext as af\nfrom steps import *\n\n@af.workflow\ndef tested():\n"
        self.write(steps_py=steps, workflow_yaml=config)
        (self.root / "workflow.py").write_text(workflow + textwrap.indent(textwrap.dedent(body).strip(), "    ") + "\n")
        return self

    @property
    def run_folder(self) -> Path:
        """The folder of its only run."""
        (folder,) = (self.root / ".aiflow" / "runs").iterdir()
        return folder

    @contextlib.contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """A connection to the store's file, to read or damage it: committed and closed at the end."""
        with contextlib.closing(sqlite3.connect(self.root / ".aiflow" / "state.db")) as db, db:
            yield db

    def log(self, job: str, stream: str = "stdout", attempt: int = 1) -> bytes:
        """The output of an attempt of its only run."""
        return (self.run_folder / "jobs" / job / str(attempt) / stream).read_bytes()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project folder."""
    root = tmp_path / "project"
    root.mkdir()
    return Project(root)


@pytest.fixture(scope="session", autouse=True)
def _state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the runs of tests out of the user's own list of projects, which other workers would read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def cli_env(tmp_path: Path) -> dict[str, str]:
    """The environment of a command: this one, with cache and state folders of the test's own."""
    folders = {f"XDG_{kind}_HOME": str(tmp_path / kind.lower()) for kind in ("CACHE", "STATE")}
    return {**os.environ, **folders, "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def stranger(tmp_path: Path, cli_env: dict[str, str]) -> Callable[..., Path]:
    """Installs third-party job plugins for commands with ``cli_env``.

    ``stranger(name, source, {"queue.cmd_line": "Plugin"})``: the classes are in the module ``{name}_plugin``, whose
    text is ``source``. Returns the path that they have as ``$SEEN``, to write into; nothing is there yet.
    """

    def add(name: str, source: str, plugins: dict[str, str]) -> Path:
        module = f"{name}_plugin"
        advertised = {advertised: f"{module}:{found}" for advertised, found in plugins.items()}
        install(tmp_path / "site", name, {"job_plugins": advertised}, {f"{module}.py": source})
        cli_env.update(PYTHONPATH=str(tmp_path / "site"), SEEN=str(tmp_path / "seen"))
        return tmp_path / "seen"

    return add


@pytest.fixture(scope="session")
def command_server() -> Iterator[CommandServer]:
    """Forks the commands of ``cli``."""
    server = CommandServer()
    yield server
    server.close()


@pytest.fixture
def cli(cli_env: dict[str, str], command_server: CommandServer) -> Callable[..., subprocess.CompletedProcess[Any]]:
    """Runs ``aiflow-ext ARGS`` in a process of its own and returns its exit code and output.

    Options: ``env``, ``cwd``, ``text`` (False: bytes), and all others of ``subprocess.run``.
    """

    def call(*args: str | Path, **options: Any) -> subprocess.CompletedProcess[Any]:
        words = [os.fspath(each) for each in args]
        given = {"env": cli_env, "cwd": ".", "text": True, **options}
        if given.keys() == {"env", "cwd", "text"} and command_server.can_start(given["env"]):
            command = command_server.start(words, given["env"], given["cwd"])
            try:
                output: tuple[Any, Any] = (command.communicate if given["text"] else command.read)(timeout=PATIENCE)
            finally:
                command.kill()
            return subprocess.CompletedProcess(command.args, command.wait(), *output)
        given.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(
            [sys.executable, "-m", "aiflow_ext", *words], capture_output=True, timeout=PATIENCE, **given
        )

    return call


@pytest.fixture
def run_json(cli: Callable[..., subprocess.CompletedProcess[Any]]) -> Callable[..., dict[str, Any]]:
    """Runs a project with ``--json`` and returns its record, jobs by name."""

    def call(project: Project, *args: str, **options: Any) -> dict[str, Any]:
        done = cli("run", project.root, "--json", *args, **options)
        assert done.stdout.startswith("{"), done.stderr
        record: dict[str, Any] = json.loads(done.stdout)
        assert "jobs" in record, record
        record["exit"] = done.returncode
        record["jobs"] = {job["name"]: job for job in record["jobs"]}
        return record

    return call


def processes_marked(text: str) -> list[int]:
    """The pids of living processes whose AIFLOW_MARK contains ``text``."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                environment = Path(entry.path, "environ").read_bytes()
                state = Path(entry.path, "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            marks = [item for item in environment.split(b"\0") if item.startswith(b"AIFLOW_MARK=")]
            if state != "Z" and any(text.encode() in mark for mark in marks):
                found.append(int(entry.name))
    return found


@pytest.fixture
def nothing_left(tmp_path: Path) -> Callable[[], None]:
    """Asserts that no process of the test's runs is left."""

    def check() -> None:
        assert processes_marked(str(tmp_path)) == []

    return check
