"""Fixtures of the YARN suite: real daemons, started once a session and left running where they ran before."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# What begins with yarn_ there is found by its name; other clusters' folders are on the same path.
sys.path.append(str(Path(__file__).parent))

from yarn_bed import Bed
from yarn_hadoop import BedError
from yarn_runs import Workflow


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def session_bed() -> Iterator[Bed]:
    """The bed, up. Where it does not come up: a failure under CI=true, elsewhere a skip that says why."""
    bed = Bed.chosen()
    before = [name for name, pid in bed.status().items() if pid]
    try:
        bed.up()
    except BedError as error:
        if not before:
            bed.down()
        if os.environ.get("CI") == "true":
            pytest.fail(f"the YARN bed does not come up: {error}", pytrace=False)
        pytest.skip(f"the YARN bed does not come up: {error}")
    yield bed
    if not before:
        bed.down()


@pytest.fixture
def bed(session_bed: Bed) -> Iterator[Bed]:
    """The bed, ready; whatever the test did to its daemons is mended afterwards."""
    session_bed.up()
    yield session_bed
    if session_bed.options["stopped"]:
        for queue in session_bed.options["stopped"]:
            session_bed.queue(queue, running=True)
    session_bed.up()


@pytest.fixture
def workflow(bed: Bed, tmp_path: Path) -> Iterator[Workflow]:
    """A project on the bed."""
    made = Workflow(tmp_path, bed)
    yield made
    bed.up()
    made.close()
