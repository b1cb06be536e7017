"""Job plugin ``yarn.python``."""

from __future__ import annotations

from aiflow_ext.plugin import AbstractEngine
from aiflow_ext.plugin.engines import PythonEngine
from aiflow_ext_yarn.plugin import YarnJobPlugin
from aiflow_ext_yarn.readiness import ChecksReady


class YarnPythonJobPlugin(ChecksReady, YarnJobPlugin):
    """Runs a job's python calls in one process on a node."""

    def engine(self) -> type[AbstractEngine]:
        return PythonEngine
