"""The page as a process of its own, and the commands beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from patience import PATIENCE
from ui_page import Page, own_env, served


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of the commands of a module's tests."""
    return own_env(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def page(env: dict[str, str]) -> Iterator[Page]:
    """A page of all runs of the module's tests."""
    with served(env) as page:
        yield page


@pytest.fixture(scope="module")
def command(env: dict[str, str]) -> Callable[..., str]:
    """Runs ``aiflow-ext ARGS`` and returns what it has printed."""

    def run(*args: str | Path, code: int = 0) -> str:
        argv = [sys.executable, "-m", "aiflow_ext", *(os.fspath(each) for each in args)]
        done = subprocess.run(argv, env=env, text=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
        assert done.returncode == code, done.stdout + done.stderr
        return str(done.stdout)

    return run
