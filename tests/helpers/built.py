"""Distributions of this repository, built from copies of their sources: nothing is left beside these."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE = ("pyproject.toml", "README.md", "LICENSE", "aiflow_ext")
PLUGINS = [f"plugins/{folder.name}" for folder in sorted(ROOT.glob("plugins/*"))]
_BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"


def copy_source(folder: str, into: Path) -> Path:
    """Copy what a distribution is built of; ``folder``: its own in the repository, ``.`` for aiflow-ext."""
    for part in CORE if folder == "." else ("",):
        whole, target = ROOT / folder / part, into / part
        target.parent.mkdir(parents=True, exist_ok=True)
        leave = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", ".aiflow")
        shutil.copytree(whole, target, ignore=leave) if whole.is_dir() else shutil.copy(whole, target)
    return into


def build(kind: str, source: Path, into: Path) -> Path:
    """Build a ``wheel`` or an ``sdist`` by setuptools, offline, and return its path."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("AIFLOW_", "PYTHON"))}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", _BUILD, f"build_{kind}", str(into)], cwd=source,
                          env=env, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return into / done.stdout.split()[-1]
