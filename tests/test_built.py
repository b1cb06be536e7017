"""The distributions as they would be published: sdists, wheels built of them, and a run with these alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from built import PLUGINS, ROOT, build, copy_source
from throwaway import make_environment, pip_install


def run(*argv: str | Path, cwd: Path, **env: str) -> str:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("AIFLOW_", "PYTHON"))}
    given = {**clean, **env}
    done = subprocess.run([*map(str, argv)], cwd=cwd, env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_wheels_of_the_sdists_run_a_workflow_without_the_repository(tmp_path: Path) -> None:
    wheels = []
    for folder in (".", *PLUGINS):
        sdist = build("sdist", copy_source(folder, tmp_path / "sources" / folder), tmp_path)
        with tarfile.open(sdist) as tar:
            tar.extractall(tmp_path / "unpacked", filter="data")
        wheels.append(build("wheel", tmp_path / "unpacked" / sdist.name.removesuffix(".tar.gz"), tmp_path))
    python = make_environment(tmp_path / "environment", tested=False)
    pip_install(python, *wheels)
    page = ("app.js", "index.html", "style.css", "vendor/preact.js", "vendor/LICENSES.txt")
    where = run(python, "-c", "import aiflow_ext; print(aiflow_ext.__path__[0])", cwd=tmp_path).strip()
    assert [each for each in page if not Path(where, "ui/static", each).is_file()] == []
    home = {"HOME": str(tmp_path / "home"), "XDG_STATE_HOME": str(tmp_path / "state")}
    told = run(python, "-c", "import aiflow_ext, aiflow_ext_yarn; print(aiflow_ext.__file__)", cwd=tmp_path)
    assert str(tmp_path / "environment") in told
    for name in ("local.python", "kubernetes.cmd_line", "yarn.flink"):
        assert f"\t{name}\tavailable" in run(python, "-m", "aiflow_ext", "plugins", cwd=tmp_path, **home)
    run(python, "-m", "aiflow_ext", "new", "workflow", "first", cwd=tmp_path, **home)
    assert "FINISHED" in run(python, "-m", "aiflow_ext", "run", "first", cwd=tmp_path, **home)


@pytest.mark.thorough
def test_a_wheel_that_passed_the_kit_brings_its_certificate(tmp_path: Path) -> None:
    example = ROOT / "examples" / "plugin-nohup"
    tests = shutil.copy(example / "test_nohup.py", tmp_path)
    told = run(sys.executable, ROOT / ".ci" / "proven_wheels.py", "dist", "examples/plugin-nohup", tests, cwd=tmp_path)
    wheel = Path(told.splitlines()[-1])
    assert wheel.parent == tmp_path / "dist"
    python = make_environment(tmp_path / "environment")
    pip_install(python, wheel)
    shown = run(python, "-m", "aiflow_ext", "plugins", "--proof", cwd=tmp_path, HOME=str(tmp_path / "home"))
    assert "proven base" in shown
