"""A folder as one file and back: how a folder crosses from one job to another. Runs inside jobs."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path


def pack(folder: Path, packed: Path, name: str) -> None:
    """Write ``folder`` into the tar ``packed`` under ``name``: a link stays one where it leads to inside the folder.

    What a link outside leads to travels instead of the link. Sockets and pipes are left out. Raises OSError for what
    cannot be read, links that lead nowhere included.
    """
    root = os.path.realpath(folder)
    with tarfile.open(packed, "w", format=tarfile.PAX_FORMAT) as tar:
        waiting = [(root, name)]
        while waiting:
            path, inside = waiting.pop()
            if os.path.islink(path):
                target = os.path.realpath(path, strict=True)
                if target.startswith(root + os.sep) or target == root:
                    info = tar.gettarinfo(path, inside)
                    info.linkname = os.path.relpath(target, os.path.dirname(path))
                    tar.addfile(info)
                    continue
                if root.startswith(target + os.sep):
                    raise OSError(f"{path} leads to {target}, which holds the folder itself")
                path = target
            if os.path.isdir(path):
                tar.add(path, inside, recursive=False)
                waiting += [(os.path.join(path, each), f"{inside}/{each}") for each in sorted(os.listdir(path))]
            elif os.path.isfile(path):
                tar.add(path, inside)


def unpack(packed: Path, home: Path) -> None:
    """Unpack what :func:`pack` wrote below ``home``."""
    with tarfile.open(packed) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(home, filter="data")
        else:
            tar.extractall(home)
