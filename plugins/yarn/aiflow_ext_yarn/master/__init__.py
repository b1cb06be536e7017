"""The application master: the process that YARN starts, and that runs the job's command as its child.

Plain Python, standard library only. It is sent with the job as one file, ``archive()``, and runs on any node with
Python 3.6 or newer: the sources have this project's Python version, and are sent without their annotations.

``wire`` and ``credentials`` parse Hadoop's formats, ``sasl`` and ``rpc`` are the connection to the ResourceManager,
``protocol`` has an application master's calls, ``staging`` the attempt's marker files, ``keeper`` is the child's
parent, and ``main`` is the main loop. Clients use ``archive``, the names below and ``outcome``.
"""

from __future__ import annotations

SPEC_VERSION = 1
SPEC_VARIABLE = "AIFLOW_AM_SPEC"
# Exceptions of the file system for which retrying does not help.
PERMANENT = (
    "AccessControlException", "SecurityException", "InvalidToken", "NSQuotaExceededException",
    "DSQuotaExceededException", "ParentNotDirectoryException", "FileNotFoundException",
)  # fmt: skip
UNUSABLE = 64  # exit code: nothing could be begun
STAGING_FAILED = (
    "the staging folder cannot be used: "  # so begins the reason of an attempt that could not begin for that
)
STARTED, ENDED = "started", "ended"


def archive() -> bytes:
    """The application master as one file that Python runs: ``python -S -E FILE --logs FOLDER``. The same each time."""
    from aiflow_ext_yarn.master._archive import build

    return build()
