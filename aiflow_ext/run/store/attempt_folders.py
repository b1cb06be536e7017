"""The folders of attempts that run on this machine: ``<run folder>/jobs/<job>/<attempt>``, with ``work`` in it."""

from __future__ import annotations

import functools
import os
import stat

from aiflow_ext import shared_folder


def checkpoints(native_id: str) -> str:
    """The folder that all attempts of a job in a run share."""
    run, _, job, _ = native_id.rsplit(os.sep, 3)
    return f"{run}/checkpoints/{job}"


def prepare_folder(native_id: str) -> None:
    """Make the attempt's folder, the ``work`` folder in it, and the job's checkpoints."""
    work, shared = f"{native_id}/work", _group_bits(native_id.rsplit(os.sep, 3)[0])
    try:
        shared_folder.make_folder(work, shared)
    except OSError:
        make_folder(native_id, shared)
        make_folder(work, shared)
    make_folder(checkpoints(native_id), shared)


def make_attempt_folder(native_id: str) -> None:
    """Make an attempt's own folder."""
    shared = _group_bits(native_id.rsplit(os.sep, 3)[0])
    make_folder(os.path.dirname(native_id), shared)
    make_folder(native_id, shared)


def make_folder(folder: str, shared: int) -> None:
    """Create a folder and its parents, for whom the run's folder is for, unless it exists.

    Args:
        folder: the folder's path.
        shared: what its group may do, as permission bits; 0 if it is not shared.
    """
    try:
        shared_folder.make_folder(folder, shared)
    except FileNotFoundError:
        make_folder(os.path.dirname(folder), shared)
        make_folder(folder, shared)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):  # a link to a folder is none: it may lead anywhere
            raise


# A run is shared or not from its beginning: asked once for all folders of its attempts.
_group_bits = functools.lru_cache(maxsize=64)(shared_folder.group_bits)
