"""Fixtures of the Slurm suite: real daemons, started once a session and left running where they ran before."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from slurm_bed import Bed, BedError


@pytest.fixture(scope="session")
def bed(no_cluster) -> Iterator[Bed]:
    """The running bed."""
    if not list(metadata.entry_points(group="aiflow_ext.platforms", name="slurm")):
        no_cluster("examples/plugins/slurm is not installed: make test-cluster-slurm does that")
    bed = Bed.chosen()
    before = bed.pid("slurmctld")
    try:
        bed.up()
    except BedError as error:
        bed.down()
        no_cluster(f"the Slurm bed does not come up: {error}")
    yield bed
    if not before:
        bed.down()
