"""The platform ``yarn``."""

from __future__ import annotations

from aiflow_ext.plugin import AbstractPlatform


class YarnPlatform(AbstractPlatform):
    """A Hadoop YARN cluster, with HDFS (or HttpFS) to send files through."""

    jobs_at_once = 100
    calls_at_once = 16
    resources = ("cpu", "memory", "gpu")

    @staticmethod
    def platform() -> str:
        return "yarn"
