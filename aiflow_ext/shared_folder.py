"""Permissions of what is made in a folder: its owner's alone, or its group's too where the folder was prepared so.

A set-group-ID folder, as ``chmod 2770`` makes it, is shared: what is made in it has its group, and gives that group the
permissions that the folder gives, whatever the umask. Standard library only, for supervisors and jobs use it.
"""

from __future__ import annotations

import os
import stat


def group_bits(folder: str | os.PathLike[str] | int) -> int:
    """The permission bits that a folder gives its group and hands on; 0 where it is its owner's alone."""
    mode = os.stat(folder).st_mode
    return mode & stat.S_IRWXG if mode & stat.S_ISGID else 0


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder as ``os.mkdir`` does, for its owner and whom the folder that it is in is shared with."""
    os.mkdir(path, 0o700)
    if bits := group_bits(os.path.dirname(os.path.abspath(path))):
        os.chmod(path, stat.S_ISGID | 0o700 | bits)


def share_file(file: int | str | os.PathLike[str], folder: str | os.PathLike[str] | int) -> None:
    """Let whom ``folder`` is shared with read and write a file in it, which was just made with mode 0600. Whoever else
    made it has done so."""
    if bits := group_bits(folder) & 0o060:
        try:
            os.chmod(file, 0o600 | bits)
        except PermissionError:
            pass
