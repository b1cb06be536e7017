"""The kit, run by pytest in a process of its own on plugins that are installed for it alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from dist_info import install

_TELLS = """
import json, os
told = {}

def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        told[report.nodeid.partition("::")[2]] = [report.outcome, str(report.longrepr or "")]

def pytest_sessionfinish():
    with open(os.environ["TOLD"], "w") as file:
        json.dump(told, file)
"""


class Kit:
    """What the kit said: outcome and words of each test, by ``Class::test``; and what pytest printed."""

    def __init__(self, told: Mapping[str, Sequence[str]], printed: str) -> None:
        self.told, self.printed = told, printed

    def failed(self, prefix: str = "") -> dict[str, str]:
        """The words of the tests that failed."""
        return {
            name: words
            for name, (outcome, words) in self.told.items()
            if outcome == "failed" and name.startswith(prefix)
        }


def run_kit(
    folder: Path, modules: Sequence[Path], job_plugins: Mapping[str, str], tests: str, asked: Sequence[str] = ()
) -> Kit:
    """Install these modules as a distribution, and run these tests: all, or those asked for."""
    install(folder / "site", "installed", {"job_plugins": job_plugins}, {module.name: module for module in modules})
    (folder / "test_all.py").write_text(tests)
    (folder / "conftest.py").write_text(_TELLS)
    (folder / "pytest.ini").write_text("[pytest]\n")  # else one of a folder further up would be found
    path = os.pathsep.join([str(folder / "site"), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "aiflow_ext.testing.pytest_plugin", "-p", "no:cacheprovider", "-q",
         "--basetemp", str(folder / "base"), "--rootdir", str(folder), *(asked or ["test_all.py"])],
        cwd=folder, env={**os.environ, "PYTHONPATH": path, "TOLD": f"{folder}/told"}, capture_output=True, text=True,
    )  # fmt: skip
    assert (folder / "told").exists(), done.stdout + done.stderr
    return Kit(json.loads((folder / "told").read_text()), done.stdout)


@pytest.fixture(scope="session")
def kit_runner() -> Any:
    """``run_kit``."""
    return run_kit
