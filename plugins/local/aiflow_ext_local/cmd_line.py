"""Job plugin ``local.cmd_line``."""

from __future__ import annotations

import functools
import os
import re

from aiflow_ext.plugin import AbstractEngine
from aiflow_ext.plugin.engines import CmdLineEngine, one_command
from aiflow_ext_local.jobs import LocalJob, LocalJobPlugin


class LocalCmdLineJobPlugin(LocalJobPlugin):
    """Runs a job's commands, one after the other; where no artifact is read or written, without any python."""

    def engine(self) -> type[AbstractEngine]:
        return CmdLineEngine

    def _argv(self, job: LocalJob) -> list[str]:
        return super()._argv(job) if job.bundle.needs_runner else _without_shell(one_command(job.bundle.command()))


def _without_shell(argv: list[str]) -> list[str]:
    """A command without a shell where that would do nothing but execute it: its signals and exit are the job's then."""
    if argv[:2] != ["/bin/sh", "-c"] or len(argv) > 3 or not _PLAIN.fullmatch(argv[2]):
        return argv
    words = argv[2].split(" ")
    return words if _is_binary(words[0]) else argv


@functools.lru_cache(64)
def _is_binary(path: str) -> bool:
    # The shell reports a missing program, and runs a script without a shebang line.
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"\x7fELF" and os.access(path, os.X_OK)
    except OSError:
        return False


_PLAIN = re.compile(r"/[A-Za-z0-9_./+-]+(?: [A-Za-z0-9_@%+=:,./-]+)*")
