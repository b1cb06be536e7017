"""The file system of a folder (locks and SQLite's WAL need a local one), and its layout on disk."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
from pathlib import Path

from aiflow_ext.model.errors import StateError

# Of /proc/self/mountinfo (proc(5)). SQLite's WAL needs memory shared by all clients: https://www.sqlite.org/wal.html
_NETWORK = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "beegfs", "gpfs",
     "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.ceph-fuse")
)  # fmt: skip


_OCTAL = rb"\\([0-7]{3})"  # as mountinfo writes space, tab, newline and backslash


def file_system_of(folder: Path) -> str:
    """The type of the file system that holds ``folder``; empty if it is not known."""
    found, depth = "", -1
    target = os.path.realpath(os.fsencode(folder))
    for point, kind in _mounts():
        inside = target == point or target.startswith(point.rstrip(b"/") + b"/")
        if inside and len(point) >= depth:
            found, depth = kind, len(point)
    return found


def mounted_in(folder: Path | str) -> str | None:
    """The path of a file system that is mounted below ``folder``, a part of another one (``mount --bind``) included;
    None where there is none. What is removed with the folder would be removed there, too."""
    above = os.path.realpath(os.fsencode(folder)) + b"/"
    return next((os.fsdecode(point) for point, _ in _mounts() if point.startswith(above)), None)


def _mounts() -> list[tuple[bytes, str]]:
    """Where each file system is mounted, and its type; none where that is not known."""
    try:
        with open("/proc/self/mountinfo", "rb") as mounts:
            parts = [line.partition(b" - ") for line in mounts]
    except OSError:
        return []
    return [
        (re.sub(_OCTAL, lambda escape: bytes([int(escape[1], 8)]), before.split(b" ")[4]),
         os.fsdecode(after.split(b" ")[0]))
        for before, _, after in parts
    ]  # fmt: skip


def refuse_network_folder(folder: Path) -> None:
    """Raise StateError where ``folder`` is on a network file system."""
    kind = file_system_of(folder)
    if kind in _NETWORK:
        raise StateError(
            f"state must be on a disk of this machine, and this folder is on a network file system ({kind})",
            where=str(folder),
            hint="name a local folder for state: AIFLOW_STATE=/path",
        )


# Of linux/fs.h: FS_IOC_GETFLAGS, FS_IOC_SETFLAGS (whose argument the kernel takes for an int) and FS_TOPDIR_FL.
_GET_FLAGS, _SET_FLAGS, _TOP_DIRECTORY = 0x80086601, 0x40086602, 0x20000


def spread(folder: Path) -> None:
    """Make ext4 place the folders in ``folder`` far from each other, as chattr(1) does with +T.

    ext4 without a journal skips every inode that was removed in the last minutes, one by one, whenever it makes a file
    in the same block group: 300 us a file instead of 10, after a run of a thousand jobs was removed. On other file
    systems this does nothing.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            (flags,) = struct.unpack_from("I", fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8)))
            if not flags & _TOP_DIRECTORY:
                fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("I4x", flags | _TOP_DIRECTORY))
        finally:
            os.close(descriptor)
