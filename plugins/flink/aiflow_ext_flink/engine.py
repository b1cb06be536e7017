"""The engine ``flink``."""

from __future__ import annotations

from aiflow_ext.plugin import AbstractEngine


class FlinkEngine(AbstractEngine):
    """Engine ``flink``: one program of Apache Flink a job, a jar, a PyFlink script or SQL."""

    @staticmethod
    def engine() -> str:
        return "flink"
