"""Finds programs by name, for code that runs in whatever folder its user is in."""

from __future__ import annotations

import os


def find_program(name: str, path: str | None = None) -> str | None:
    """The path of a program, searched for as a shell does, but not in or below the current folder: who may write there
    could have put one of that name in it.

    Args:
        name: without a slash; one with a slash is taken as it is.
        path: folders, as in PATH; None: this process's PATH. Those that are empty or relative are left out.

    Returns None if there is none.
    """
    import shutil

    said = os.environ.get("PATH", os.defpath) if path is None else path
    return shutil.which(name, path=os.pathsep.join(filter(os.path.isabs, said.split(os.pathsep))) or os.devnull)
