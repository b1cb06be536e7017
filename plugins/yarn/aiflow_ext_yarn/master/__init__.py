"""The application master: the process that YARN starts, and that runs the job's command as its child.

Plain Python, standard library only. It is sent with the job as one file, ``archive()``, and runs on any node with
Python 3.6 or newer: what is in here is written for this project's Python, and travels without its annotations.

``wire`` and ``credentials`` read what Hadoop writes, ``sasl`` and ``rpc`` speak to the ResourceManager, ``protocol``
says what an application master has to say, ``staging`` keeps the attempt's marks, ``keeper`` is the child's parent, and
``main`` puts them together. Clients use ``archive``, the names below and ``outcome``.
"""

from __future__ import annotations

SPEC_VERSION = 1
SPEC_VARIABLE = "AIFLOW_AM_SPEC"
STARTED, ENDED = "started", "ended"


def archive() -> bytes:
    """The application master as one file that Python runs: ``python -S -E FILE --logs FOLDER``. The same each time."""
    from aiflow_ext_yarn.master._archive import build

    return build()
