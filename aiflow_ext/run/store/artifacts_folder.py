"""The folder of a run's artifacts on this machine: made for its owner alone unless shared, and marked as a run's."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from aiflow_ext.regular_file import open_regular
from aiflow_ext.run.store.filesystem import mounted_in
from aiflow_ext.shared_folder import make_folder, share_file

MARK = ".aiflow-run"  # in the folder: the run's id


def make_artifacts_folder(base: Path, run_id: str, *, create: bool, state: Path) -> None:
    """Make a run's folder below ``base``, with the permissions of ``base``, so that both are shared alike.

    Args:
        base: the project's artifacts folder.
        run_id: the run's id.
        state: the state folder: artifacts in it are shared as it is.
        create: whether to make ``base`` if it is missing, for its owner alone. It may be one that only pods have.

    An error is ignored: a job that stores an artifact reports it.
    """
    with contextlib.suppress(OSError):
        if create:
            if base.parent == state and not base.is_dir():
                make_folder(base)
            base.mkdir(mode=0o700, parents=True, exist_ok=True)
        shared = stat.S_IMODE(base.stat().st_mode) & ~stat.S_ISVTX
        folder = base / run_id
        folder.mkdir(mode=0o700)
        with open(os.open(folder / MARK, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as mark:
            mark.write(f"{run_id}\n")
            share_file(mark.fileno(), base)
        if shared & 0o077:
            folder.chmod(shared)


def remove_artifacts_folder(base: Path, run_id: str) -> None:
    """Remove a run's folder below ``base``, if it is one: no link, marked with this run's id, and nothing is mounted in
    it."""
    folder = base / run_id
    if os.path.basename(run_id) != run_id or folder.is_symlink():
        return
    with contextlib.suppress(OSError):
        with open_regular(folder / MARK, follow=False) as mark:
            marked = mark.read(1000) == f"{run_id}\n".encode()
        if marked and mounted_in(folder) is None:
            import shutil

            shutil.rmtree(folder, ignore_errors=True)
