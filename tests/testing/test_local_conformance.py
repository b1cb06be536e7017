"""The platform local under the kit: both levels, with nothing that is not offered."""

from aiflow_ext.testing import JobPluginConformance


class TestLocalPython(JobPluginConformance):
    platform = "local"
    engine = "python"
    kills = 10  # and all of the plugin's own lines from submit on


class TestLocalCommand(JobPluginConformance):
    platform = "local"
    engine = "cmd_line"
    kills = 10  # and all of the plugin's own lines from submit on
