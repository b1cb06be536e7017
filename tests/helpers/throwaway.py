"""Virtual environments for tests: quick to make, because what this one has installed is behind their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import aiflow_ext


def make_environment(folder: Path, *, tested: bool = True) -> str:
    """Make a virtual environment in ``folder``, without pip, and return its python.

    ``tested``: the very aiflow_ext that is tested comes first, wherever the environment's own may lead; else what is
    installed there comes first, and this environment gives only what is missing.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    behind = [entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]
    if tested:
        source = str(Path(aiflow_ext.__file__).parents[1])
        lines = [f"import site, sys; sys.path.insert(0, {source!r})",
                 "import site; " + "; ".join(f"site.addsitedir({entry!r})" for entry in behind)]  # fmt: skip
    else:
        lines = [f"import sys; sys.path.append({entry!r})" for entry in behind]
    (next(folder.glob("lib/python*/site-packages")) / "behind.pth").write_text("\n".join(lines) + "\n")
    return str(folder / "bin" / "python")


def pip_install(python: str, *what: str | Path, cwd: Path | None = None) -> None:
    """Install wheels, or folders whose build backend is installed here, into that python's environment: offline."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "-q", "--no-index",
         "--no-deps", "--no-build-isolation", *map(str, what)],
        cwd=cwd, capture_output=True, text=True, env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
