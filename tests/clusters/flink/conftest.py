"""Fixtures of the tests on real Flink: its installation, a jar, a config, and runs that are looked at."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

import flink_install

from tests.helpers import flink_jvm

HERE = Path(__file__).parent
PATIENCE = 900  # seconds for what takes ten, on a machine that does much else


@pytest.fixture(scope="session")
def installed(no_cluster) -> Path:
    """The folder with Flink and PyFlink."""
    if shutil.which("javac") is None or shutil.which("mvn") is None:
        no_cluster("Flink needs Java and these tests a JDK and Maven: install openjdk-17-jdk-headless and maven")
    return flink_install.flink()


@pytest.fixture(scope="session")
def jar(installed, tmp_path_factory) -> Path:
    """The jar of Job.java."""
    folder = tmp_path_factory.mktemp("jar")
    libraries = os.pathsep.join(map(str, (installed / "pyflink" / "lib").glob("*.jar")))
    subprocess.run(["javac", "--release", "11", "-cp", libraries, "-d", folder, HERE / "Job.java"], check=True)
    with zipfile.ZipFile(folder / "job.jar", "w") as made:
        for each in folder.glob("*.class"):
            made.write(each, each.name)
    return folder / "job.jar"


@pytest.fixture
def config(installed) -> Callable[[str], str]:
    """A workflow.yaml for flink jobs on this machine, with further lines."""
    env = {"FLINK_HOME": str(installed / "pyflink"), "PYTHONPATH": str(installed), **flink_jvm.ENV}
    first = f'"*": {{platform: local, env: {json.dumps(env)}, python: {flink_install.interpreter()}}}\n'
    return lambda more: first + more


@pytest.fixture
def record(cli) -> Callable[..., dict]:
    """The record of a project's run."""

    def read(project, run: str) -> dict:
        found: dict = json.loads(cli("status", run, "--project", project.root, "--json").stdout)
        return found

    return read


@pytest.fixture
def begin(cli) -> Callable[..., str]:
    """Starts a project's run, and returns its id."""

    def start(project, *options: str) -> str:
        before = set((project.root / ".aiflow" / "runs").glob("*"))
        assert cli("run", project.root, "--detach", *options).returncode == 0
        (made,) = set((project.root / ".aiflow" / "runs").glob("*")) - before
        return made.name

    return start


@pytest.fixture
def until(record, project) -> Callable[..., dict]:
    """Waits until a job of a run, by its JSON, is as it must be; returns that."""

    def wait(run: str, job: str, fits: Callable[[dict], bool]) -> dict:
        deadline = time.monotonic() + PATIENCE
        while True:
            (found,) = (each for each in record(project, run)["jobs"] if each["name"] == job)
            if fits(found):
                return found
            assert found["state"] not in ("FAILED", "LOST"), found
            assert time.monotonic() < deadline, found
            time.sleep(0.5)

    return wait
