"""Fixtures of the YARN suite: real daemons, started once a session and left running where they ran before."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# What begins with yarn_ there is found by its name; other clusters' folders are on the same path.
sys.path.append(str(Path(__file__).parent))

import yarn_settings as settings
from yarn_bed import RMADMIN, Bed
from yarn_hadoop import BedError
from yarn_runs import Workflow

HERE = Path(__file__).parent
# Configurations of the bed, by the fixture that needs one: tests that share one run together, as each change restarts
# YARN's daemons.
CONFIGURED = (
    "nodes",
    "two",
    "flink_bed",
    "operators",
    "without_images",
    "fair",
    "proxied",
    "pairs",
    "encrypted",
    "secure",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [item for item in items if HERE in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.cluster)
    places = [index for index, item in enumerate(items) if HERE in item.path.parents]
    for index, item in zip(places, sorted(ours, key=_configuration), strict=True):
        items[index] = item


def _configuration(item: pytest.Item) -> int:
    """Which configuration a test needs; 0: the plain one."""
    names = set(getattr(item, "fixturenames", ()))
    level = getattr(getattr(item, "callspec", None), "params", {}).get("protected")
    names |= {"integrity": {"nodes"}, "privacy": {"two"}}.get(level, set())
    return max((number for number, name in enumerate(CONFIGURED, 1) if name in names), default=0)


@pytest.fixture(scope="session")
def session_bed() -> Iterator[Bed]:
    """The running bed. If it does not start: a failure under CI=true, elsewhere a skip that says why."""
    bed = Bed.chosen()
    before = [name for name, pid in bed.status().items() if pid]
    options = {name: bed.options[name] for name in ("protection", "ha", "sites")}
    try:
        bed.up()
    except BedError as error:
        if not before:
            bed.down()
        if os.environ.get("CI") == "true":
            pytest.fail(f"the YARN bed does not come up: {error}", pytrace=False)
        pytest.skip(f"the YARN bed does not come up: {error}")
    yield bed
    if before:
        bed.up(**options)
    else:
        bed.down()


@pytest.fixture
def bed(session_bed: Bed) -> Iterator[Bed]:
    """The bed in its default configuration: daemons that a test stopped are restarted before the next one."""
    session_bed.just()
    yield session_bed
    for queue in session_bed.options["stopped"]:
        session_bed.queue(queue, running=True)


@pytest.fixture(scope="session")
def nodes(session_bed: Bed) -> Bed:
    """The bed with a second NodeManager, which has the label ``fast``, and with widgets; its RPC is signed."""
    session_bed.just(sites=settings.labelled(session_bed.folder), protection="integrity")
    session_bed.start_second_node()
    session_bed.admin(RMADMIN, "-addToClusterNodeLabels", "fast(exclusive=true)")
    session_bed.admin(RMADMIN, "-replaceLabelsOnNode", f"localhost:{session_bed.ports.nm2}=fast")
    return session_bed


@pytest.fixture(scope="session")
def two(session_bed: Bed) -> Bed:
    """The bed with two ResourceManagers; its RPC is encrypted."""
    session_bed.kill("nm2")
    session_bed.just(ha=True, protection="privacy")
    return session_bed


@pytest.fixture
def workflow(bed: Bed, tmp_path: Path) -> Iterator[Workflow]:
    """A project on the bed."""
    made = Workflow(tmp_path, bed)
    yield made
    made.close()
