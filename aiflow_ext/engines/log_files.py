"""An attempt's logs as files in its folder on the client's machine, where ``cleanup_job`` keeps them."""

from __future__ import annotations

from pathlib import Path

from aiflow_ext.regular_file import read_regular

STREAMS = ("stdout", "stderr")
PIECE = 1 << 20  # bytes that one call gives at most


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
