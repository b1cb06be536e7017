"""An attempt's logs as files in its folder on the client's machine, where ``cleanup_job`` keeps them."""

from __future__ import annotations

import os
from pathlib import Path

from aiflow_ext.model.names import container_log as container_log
from aiflow_ext.regular_file import read_regular

STREAMS = ("stdout", "stderr")
PIECE = 1 << 20  # bytes that one call gives at most
LOG_LIMIT = "AIFLOW_LOG_LIMIT"  # the variable with the MiB of a log that are kept; 1024
LOG_TAIL = 1 << 20  # bytes at the end of a longer log that are kept besides


def check_stream(stream: str) -> None:
    """Raise ValueError for what is neither ``stdout`` nor ``stderr``."""
    if stream not in STREAMS:
        raise ValueError(f"stream is stdout or stderr, not {stream!r}")


def read_log_file(folder: str | Path, stream: str, offset: int) -> bytes | None:
    """What is in a kept log from a byte on, at most ``PIECE`` bytes; None: there is no such file yet.

    For a handler's ``logs``, before it asks the platform: the file is there once the platform need not be asked.

    Args:
        folder: the attempt's folder, ``job.job_context.work_folder``.
        stream: ``stdout`` or ``stderr``; ValueError for any other.
        offset: in bytes; beyond the end there is ``b""``.

    Raises OSError for what is no regular file; a FIFO is not waited for.
    """
    check_stream(stream)
    try:
        return read_regular(Path(folder, stream), PIECE, offset)
    except FileNotFoundError:
        return None


def log_limit() -> int:
    """How many bytes of a log are kept, from its beginning; of a longer one its last ``LOG_TAIL`` bytes, too.

    So what a job writes, or a server claims, does not fill the client's disk.
    """
    given = os.environ.get(LOG_LIMIT, "")
    return (int(given) if given.isascii() and given.isdigit() and 0 < len(given) < 10 else 1024) << 20


def cut_note(left_out: int) -> bytes:
    """The line that stands in a kept log for the bytes that are left out of it."""
    words = f"{left_out} bytes are left out here; {LOG_LIMIT} says how many MiB of a log are kept"
    return f"\n[aiflow-ext: {words}]\n".encode()
