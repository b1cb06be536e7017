"""Job plugin ``local.python``."""

from __future__ import annotations

from aiflow_ext.plugin import AbstractEngine
from aiflow_ext.plugin.engines import PythonEngine
from aiflow_ext_local.jobs import LocalJobPlugin


class LocalPythonJobPlugin(LocalJobPlugin):
    """Runs a job's python calls in one process of this machine."""

    def engine(self) -> type[AbstractEngine]:
        return PythonEngine
