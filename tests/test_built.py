"""The distributions as they would be published: sdists, wheels built of them, and a run with these alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from throwaway import make_environment, pip_install

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {
    "aiflow-ext": ["pyproject.toml", "README.md", "LICENSE", "aiflow_ext"],
    **{f"aiflow-ext-{folder.name}": [f"plugins/{folder.name}"] for folder in sorted(ROOT.glob("plugins/*"))},
}
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"


def run(*argv: str | Path, cwd: Path, **env: str) -> str:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("AIFLOW_", "PYTHON"))}
    given = {**clean, **env}
    done = subprocess.run([*map(str, argv)], cwd=cwd, env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_wheels_of_the_sdists_run_a_workflow_without_the_repository(tmp_path: Path) -> None:
    wheels = []
    for name, parts in SOURCES.items():
        source = tmp_path / "sources" / name
        for part in parts:
            whole, target = ROOT / part, source if part.startswith("plugins/") else source / part
            target.parent.mkdir(parents=True, exist_ok=True)
            leave = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
            shutil.copytree(whole, target, ignore=leave) if whole.is_dir() else shutil.copy(whole, target)
        sdist = (
            tmp_path / run(sys.executable, "-W", "ignore", "-c", BUILD, "build_sdist", tmp_path, cwd=source).split()[-1]
        )
        with tarfile.open(sdist) as tar:
            tar.extractall(tmp_path / "unpacked", filter="data")
        unpacked = tmp_path / "unpacked" / sdist.name.removesuffix(".tar.gz")
        built = run(sys.executable, "-W", "ignore", "-c", BUILD, "build_wheel", tmp_path, cwd=unpacked).split()[-1]
        wheels.append(tmp_path / built)
    python = make_environment(tmp_path / "environment", tested=False)
    pip_install(python, *wheels)
    home = {"HOME": str(tmp_path / "home"), "XDG_STATE_HOME": str(tmp_path / "state")}
    told = run(python, "-c", "import aiflow_ext, aiflow_ext_yarn; print(aiflow_ext.__file__)", cwd=tmp_path)
    assert str(tmp_path / "environment") in told
    for name in ("local.python", "kubernetes.cmd_line", "yarn.flink"):
        assert f"\t{name}\tavailable" in run(python, "-m", "aiflow_ext", "plugins", cwd=tmp_path, **home)
    run(python, "-m", "aiflow_ext", "new", "workflow", "first", cwd=tmp_path, **home)
    assert "FINISHED" in run(python, "-m", "aiflow_ext", "run", "first", cwd=tmp_path, **home)
