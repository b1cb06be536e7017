"""Job plugin ``yarn.cmd_line``."""

from __future__ import annotations

from aiflow_ext.plugin import AbstractEngine
from aiflow_ext.plugin.engines import CmdLineEngine
from aiflow_ext_yarn.plugin import YarnJobPlugin
from aiflow_ext_yarn.readiness import ChecksReady


class YarnCmdLineJobPlugin(ChecksReady, YarnJobPlugin):
    """Runs a job's commands on a node, one after the other."""

    def engine(self) -> type[AbstractEngine]:
        return CmdLineEngine
