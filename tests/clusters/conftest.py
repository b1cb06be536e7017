"""Tests against real servers: all of them are marked ``cluster``, so that ``make test`` leaves them out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

_HERE = Path(__file__).parent
sys.path.append(str(_HERE))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker("cluster")


@pytest.fixture(scope="session")
def no_cluster() -> Callable[[str], NoReturn]:
    """Says why there is no cluster to test with: a skip, or a failure where ``CI=true``."""

    def say(reason: str) -> NoReturn:
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)

    return say
