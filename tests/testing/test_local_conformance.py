"""The platform local under the kit."""

from aiflow_ext.testing import JobPluginConformance


class TestLocalPython(JobPluginConformance):
    platform = "local"
    engine = "python"


class TestLocalCommand(JobPluginConformance):
    platform = "local"
    engine = "cmd_line"
