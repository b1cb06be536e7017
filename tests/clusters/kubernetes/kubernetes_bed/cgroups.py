"""The control group of a bed, in each hierarchy of this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from kubernetes_bed.errors import BedError
from kubernetes_bed.machine import CGROUPS, cgroup_version

SHARES = 8  # a whole cluster gets as much processor time as so many processes that want all they can get


def make(name: str) -> None:
    """Make the group, with every controller that there is.

    Raises:
        BedError: the root group does not hand its controllers on.
    """
    if cgroup_version() == 2:
        controllers = " ".join(f"+{one}" for one in (CGROUPS / "cgroup.controllers").read_text().split())
        try:
            (CGROUPS / "cgroup.subtree_control").write_text(controllers)
        except OSError as error:
            raise BedError(
                f"{CGROUPS}/cgroup.subtree_control takes no controllers ({error}): in a container, its processes have "
                "to leave the root group first (docker run --init --cgroupns=private does not do; --cgroupns=host does)"
            ) from None
    for hierarchy in hierarchies():
        (hierarchy / name).mkdir(exist_ok=True)
        for file, usual in (("cpu.shares", 1024), ("cpu.weight", 100)):  # of cgroup v1 and v2
            if (hierarchy / name / file).exists():
                (hierarchy / name / file).write_text(str(SHARES * usual))


def remove(name: str, seconds: float = 10.0) -> None:
    """Remove the group and those in it, once their processes, which are dead by now, have left them.

    Raises:
        BedError: a process is still in one.
    """
    deadline = time.monotonic() + seconds
    for hierarchy in hierarchies():
        for folder, _, _ in os.walk(hierarchy / name, topdown=False):
            while True:
                try:
                    os.rmdir(folder)
                except FileNotFoundError:
                    pass
                except OSError as error:
                    if time.monotonic() > deadline:
                        raise BedError(f"the control group {folder} cannot be removed: {error}") from None
                    time.sleep(0.02)
                    continue
                break


def hierarchies() -> Iterator[Path]:
    """Where groups are made: one place with cgroup v2, one a controller before it."""
    if cgroup_version() == 2:
        yield CGROUPS
        return
    for path in sorted(CGROUPS.iterdir()):
        # cpu,cpuacct and their like have a link for each name.
        if path.is_dir() and not path.is_symlink():
            yield path
