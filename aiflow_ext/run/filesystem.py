"""What kind of disk a folder is on: locks and SQLite's WAL need one of this machine's own."""

from __future__ import annotations

import os
from pathlib import Path

from aiflow_ext.model.errors import StateError

# Of /proc/self/mountinfo (proc(5)). SQLite's WAL needs memory shared by all clients: https://www.sqlite.org/wal.html
_NETWORK = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "beegfs", "gpfs",
     "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.ceph-fuse")
)  # fmt: skip


def file_system_of(folder: Path) -> str:
    """The type of the file system that holds ``folder``; empty where that cannot be told."""
    found, depth = "", -1
    target = os.path.realpath(folder)
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                before, _, after = line.partition(" - ")
                point = before.split(" ")[4].encode().decode("unicode_escape", "replace")
                inside = target == point or target.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= depth:
                    found, depth = after.split(" ")[0], len(point)
    except OSError:
        return ""
    return found


def refuse_network_folder(folder: Path) -> None:
    """Raise StateError where ``folder`` is on a network file system."""
    kind = file_system_of(folder)
    if kind in _NETWORK:
        raise StateError(
            f"state must be on a disk of this machine, and this folder is on a network file system ({kind})",
            where=str(folder),
            hint="name a local folder for state: AIFLOW_STATE=/path",
        )
