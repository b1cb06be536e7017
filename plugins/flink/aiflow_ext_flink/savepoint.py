"""A savepoint or retained checkpoint in a folder that this machine sees: whether a job can begin with it."""

from __future__ import annotations

import os
import stat

from aiflow_ext.plugin.engines import read_whole

METADATA = "_metadata"  # the file that Flink completes last
_BEGINS = bytes.fromhex("4960672d")  # org.apache.flink.runtime.checkpoint.Checkpoints.HEADER_MAGIC_NUMBER
_LARGEST = 1 << 30  # bytes of it


def wrong_with(path: str) -> str | None:
    """What is wrong with a savepoint, to be said after its path; None where nothing is seen.

    Args:
        path: its folder, or the file of its metadata.
    """
    try:
        if not stat.S_ISDIR(os.stat(path).st_mode):
            return _wrong_with_metadata(path)
        if METADATA not in os.listdir(path):
            return f"has no file {METADATA}, so it is no savepoint, or none that is complete"
        return _wrong_with_metadata(os.path.join(path, METADATA))
    except FileNotFoundError:
        return "is not there"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"


def _wrong_with_metadata(file: str) -> str | None:
    if read_whole(file, _LARGEST)[: len(_BEGINS)] == _BEGINS:
        return None
    return f"is no savepoint of Flink's: its {METADATA} is damaged, or something else"
