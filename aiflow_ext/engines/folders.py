"""A folder as one file and back: how a folder crosses from one job to another. Runs inside jobs."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import IO


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


def unpack(packed: IO[bytes], home: Path) -> None:
    """Unpack what :func:`pack` wrote, member by member as it is read, below ``home``.

    Raises ValueError, in words, for what it does not write: members and links that lead out of ``home``, devices,
    pipes, sparse files (which would be larger than the tar).
    """
    root = os.path.realpath(home)
    try:
        with tarfile.open(fileobj=packed, mode="r|") as tar:
            for member in tar:
                if not (member.isdir() or member.issym() or member.isreg()) or member.issparse():
                    raise ValueError(f"its member {member.name!r} is no folder, link or whole file")
                where = os.path.realpath(os.path.join(root, member.name))
                inside = where.startswith(root + os.sep)
                if inside and member.issym():
                    # Its own path, even if it is a link; and the target.
                    parent = os.path.realpath(os.path.dirname(os.path.join(root, member.name)))
                    target = os.path.realpath(os.path.join(parent, member.linkname))
                    inside = (parent + os.sep).startswith(root + os.sep) and target.startswith(root + os.sep)
                if not inside or os.path.isabs(member.name) or os.path.isabs(member.linkname):
                    raise ValueError(f"its member {member.name!r} leads out of it")
                _extract(tar, member, root)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(str(error)) from error


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, root: str) -> None:
    member.mode &= 0o755
    member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
    if hasattr(tarfile, "data_filter"):
        tar.extract(member, root, filter="data")
    else:
        tar.extract(member, root)
