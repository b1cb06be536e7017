"""The platform local under the kit: both levels, with nothing that is not offered."""

from aiflow_ext.testing import JobPluginConformance


class TestLocalPython(JobPluginConformance):
    platform = "local"
    engine = "python"
    kills = 20


class TestLocalCommand(JobPluginConformance):
    platform = "local"
    engine = "cmd_line"
    kills = 20
