"""What ``aiflow-ext new`` writes: it is clean, installs, runs and passes its own tests as it is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from throwaway import make_environment, pip_install

import aiflow_ext
import aiflow_ext_local

COMBINATIONS = {
    "aiflow-ext-grid": ["plugin", "grid.cmd_line", "grid.python"],
    "aiflow-ext-my-commands": ["plugin", "my-commands.cmd_line"],
    "aiflow-ext-my-calls": ["plugin", "my-calls.python"],
    "aiflow-ext-nine": ["plugin", "nine.cmd_line", "--nine"],
    "aiflow-ext-my-ears": ["plugin", "my-ears", "--extension"],
    "aiflow-ext-my-engine": ["plugin", "my-engine", "--engine"],
    "my-flow": ["workflow", "my-flow"],
}
DISTRIBUTIONS = [name for name in COMBINATIONS if name.startswith("aiflow-ext-")]


class Site:
    """A folder with one of everything that can be written, and an environment in which all of it is installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("AIFLOW_")}
        self.env |= {"XDG_CACHE_HOME": str(folder / "cache")}
        self.python = make_environment(folder / "environment")
        for words in COMBINATIONS.values():
            self.must(sys.executable, "-m", "aiflow_ext", "new", *words)
        pip_install(self.python, *[f"./{name}" for name in DISTRIBUTIONS], cwd=folder)

    def must(self, *argv: str, cwd: str = ".") -> str:
        """What a command says, which must succeed."""
        done = subprocess.run(argv, cwd=self.folder / cwd, env=self.env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def tests(self, name: str, *options: str) -> str:
        """What pytest says of the written tests, all of which must pass."""
        return self.must(self.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, cwd=name)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("new"))


def test_what_is_written_is_linted_formatted_and_strictly_typed(site: Site) -> None:
    for name in COMBINATIONS:
        site.must(sys.executable, "-m", "ruff", "check", "--no-cache", ".", cwd=name)
        site.must(sys.executable, "-m", "ruff", "format", "--no-cache", "--check", ".", cwd=name)
    sources = [f"{name}/src" for name in DISTRIBUTIONS]
    tested = {str(Path(package.__file__).parents[1]) for package in (aiflow_ext, aiflow_ext_local)}
    not_installed = [entry for entry in tested if not entry.endswith("-packages")]  # the others are found without that
    site.env["MYPYPATH"] = os.pathsep.join([*sources, *not_installed])
    site.must(sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", *sources, "my-flow/steps.py")


def test_what_is_installed_is_listed(site: Site) -> None:
    listed = site.must(site.python, "-m", "aiflow_ext", "plugins")
    job_plugins = ("grid.cmd_line", "grid.python", "my-commands.cmd_line", "my-calls.python", "nine.cmd_line")
    for name in (*job_plugins, "local.my-engine", "my-engine", "my-ears"):
        assert f"\t{name}\tavailable" in listed


@pytest.mark.parametrize("name", ["my-commands", "my-calls", "nine", "my-engine"])
def test_a_written_plugin_runs_jobs_to_their_ends(site: Site, name: str) -> None:
    said = site.tests(f"aiflow-ext-{name}", "-k", "found or succeeds or forked or installed_files")
    assert f"{3 if name in ('nine', 'my-engine') else 4} passed" in said  # one is about an optional hook
    assert f"tested: {site.folder}/environment" in said


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "levels"), [("my-calls", ["durable"]), ("nine", ["base"]), ("my-engine", ["base"])])
def test_a_written_plugin_passes_the_whole_kit(site: Site, name: str, levels: list[str]) -> None:
    assert re.findall(r": level (\w+)", site.tests(f"aiflow-ext-{name}", "-n", "2")) == levels


def test_a_written_extension_sees_a_run(site: Site) -> None:
    assert "1 passed" in site.tests("aiflow-ext-my-ears")


def test_a_written_workflow_runs_and_its_test_passes(site: Site) -> None:
    assert "1 passed" in site.tests("my-flow")
    site.must(site.python, "-m", "aiflow_ext", "run", ".", "-p", "count=4", cwd="my-flow")
    assert "3.5" in site.must(site.python, "-m", "aiflow_ext", "logs", "latest", "report", cwd="my-flow")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plugin", "slurm"], "'slurm' is none of PLATFORM.ENGINE"),
        (["plugin", "slurm.flink"], "an engine that is known: cmd_line and python"),
        (["plugin", "a.cmd_line", "b.python"], "these are of several platforms: a, b"),
        (["plugin", "Slurm.cmd_line"], "'Slurm' cannot be the name of a platform"),
        (["plugin", "../x.cmd_line"], "cannot be the name of a platform"),
        (["plugin", ".cmd_line"], "'' cannot be the name of a platform"),
        (["plugin", "class.cmd_line"], "'class' cannot be the name of a platform"),
        (["plugin", "slurm.python", "--nine"], "--nine writes a plugin for commands"),
        (["plugin", "a", "b", "--extension"], "--extension takes one name, and"),
        (["workflow", "a b"], "'a b' cannot be the name of a workflow"),
        (["workflow", "full", "--into", "."], "something is there already"),
        (["workflow", "full", "--into", "file/in"], "it cannot be written: Not a directory"),
    ],
)
def test_what_cannot_be_written_is_said_and_nothing_is_written(
    cli: Any, tmp_path: Path, words: list[str], said: str
) -> None:
    (tmp_path / "file").write_text("")
    done = cli("new", *words, cwd=tmp_path)
    assert done.returncode in (2, 3, 6)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
