"""Permissions of new files and folders in a folder: for the owner only, or also for the group of a shared folder.

A set-group-ID folder (``chmod 2770``) is shared: new files in it have its group, with the permissions that the folder
gives its group, whatever the umask. Standard library only, because supervisors and jobs use this module.
"""

from __future__ import annotations

import os
import stat


def group_bits(folder: str | os.PathLike[str] | int) -> int:
    """The permission bits for the group that new files in a folder get; 0 if it is not shared."""
    mode = os.stat(folder).st_mode
    return mode & stat.S_IRWXG if mode & stat.S_ISGID else 0


def make_folder(path: str | os.PathLike[str], shared: int | None = None) -> None:
    """Make a folder as ``os.mkdir`` does, for its owner, and for a group.

    Args:
        path: the folder's path; its parent exists.
        shared: what the group may do, as permission bits; 0 if it is not shared; None for what its parent says.
    """
    os.mkdir(path, 0o700)
    if bits := group_bits(os.path.dirname(os.path.abspath(path))) if shared is None else shared:
        os.chmod(path, stat.S_ISGID | 0o700 | bits)


def share_file(file: int | str | os.PathLike[str], folder: str | os.PathLike[str] | int) -> None:
    """Give the group of a shared ``folder`` its permissions on a file in it, which was just made with mode 0600. A file
    of another user is not changed: that user has done so."""
    if bits := group_bits(folder) & 0o060:
        try:
            os.chmod(file, 0o600 | bits)
        except PermissionError:
            pass
