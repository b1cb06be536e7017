"""A job plugin of the nine methods and nothing more: its jobs run in attempt hosts, and do nothing."""

from __future__ import annotations

_PLUGIN = """\
import aiflow_ext.plugin as af


class Platform(af.AbstractPlatform):
    platform = staticmethod(lambda: {platform!r})


class Engine(af.AbstractEngine):
    engine = staticmethod(lambda: {engine!r})


class Plugin(af.AbstractJobPlugin):
    def generate(self, sub_graph, project_desc): return af.BaseJob(af.JobContext(), sub_graph.config)
    def generate_job_resource(self, job): pass
    def submit_job(self, job): pass
    def stop_job(self, job): pass
    def cleanup_job(self, job): pass
    def job_type(self): return af.BaseJob
    def job_config_type(self): return af.BaseJobConfig
    def platform(self): return Platform
    def engine(self): return Engine
"""


def plugin_of_nine_methods(platform: str, engine: str = "cmd_line", more: str = "") -> str:
    """The text of its module, with the classes ``Platform``, ``Engine`` and ``Plugin``.

    Args:
        platform: the platform's name.
        engine: the engine's name.
        more: what follows in the module: a class that inherits from ``Plugin`` and differs in what a test is about.
    """
    return _PLUGIN.format(platform=platform, engine=engine) + more
