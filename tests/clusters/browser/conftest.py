"""Fixtures of the tests in a browser: Chromium, pages, projects, and where screenshots go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE
from ui_page import Page, own_env, served

sys.path.append(str(Path(__file__).parent))

from debian import PackagesMissing
from webdriver import Browser, install

SHOTS = Path(__file__).parents[3] / "build" / "screenshots"


@pytest.fixture(scope="session")
def chromium(no_cluster: Any) -> None:
    """Debian's Chromium, installed where it is missing."""
    try:
        install()
    except PackagesMissing as error:
        no_cluster(f"there is no browser: {error}")


@pytest.fixture
def browser(chromium: None) -> Iterator[Browser]:
    """A new browser. A test fails if its console has errors at the end."""
    made = Browser()
    try:
        yield made
        assert made.complaints() == []
    finally:
        made.close()


@pytest.fixture(scope="session")
def shot() -> Callable[[Browser, str], None]:
    """Saves what a browser shows as build/screenshots/NAME.png."""
    return lambda browser, name: browser.screenshot(SHOTS / f"{name}.png")


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of the commands of a module's tests."""
    return {**own_env(tmp_path_factory.mktemp("home")), "MPLBACKEND": "agg"}


@pytest.fixture(scope="module")
def page(env: dict[str, str]) -> Iterator[Page]:
    """A page of the module's runs."""
    with served(env) as page:
        yield page


@pytest.fixture(scope="module")
def command(env: dict[str, str]) -> Callable[..., Any]:
    """Runs ``aiflow-ext ARGS --json`` and returns what it has printed."""

    def run(*args: str | Path) -> Any:
        argv = [sys.executable, "-m", "aiflow_ext", *(os.fspath(each) for each in args), "--json"]
        done = subprocess.run(argv, env=env, text=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
        assert done.stdout.startswith(("{", "[")), done.stderr
        return json.loads(done.stdout)

    return run
