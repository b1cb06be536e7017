"""Job plugin ``local.cmd_line``."""

from __future__ import annotations

from aiflow_ext import AbstractEngine
from aiflow_ext.engines import CmdLineEngine
from aiflow_ext.engines.command import one_command
from aiflow_ext_local.jobs import LocalJob, LocalJobPlugin


class LocalCmdLineJobPlugin(LocalJobPlugin):
    """Runs a job's commands, one after the other; where no artifact is read or written, without any python."""

    def engine(self) -> type[AbstractEngine]:
        return CmdLineEngine

    def _argv(self, job: LocalJob) -> list[str]:
        return super()._argv(job) if job.bundle.needs_runner else one_command(job.bundle.command())
