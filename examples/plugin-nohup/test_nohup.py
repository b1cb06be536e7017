"""The conformance kit, pointed at the plugin: ``pip install . pytest``, then ``pytest``."""

from aiflow_ext.testing import JobPluginConformance


class TestNohup(JobPluginConformance):
    platform = "nohup"
    engine = "cmd_line"
