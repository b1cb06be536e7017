"""The config of a Flink job on YARN."""

from __future__ import annotations

from typing import Any

from aiflow_ext_flink.config import FlinkKeys
from aiflow_ext_yarn.config import YarnJobConfig


class YarnFlinkJobConfig(FlinkKeys, YarnJobConfig):
    """The keys of a Flink job on YARN, besides those of any job on YARN and those of any Flink job.

    Args:
        flink_home: folder of this machine with Flink's ``lib`` and ``opt``. Default: that of the package
            apache-flink-libraries, FLINK_HOME, or what else is found.
        java_home: the Java on the nodes, which runs Flink. Default: JAVA_HOME of the NodeManagers.
        hadoop_classpath: the class path of Hadoop on the nodes, its configuration included, with commas or colons:
            ``$HADOOP_CONF_DIR:/opt/hadoop/share/hadoop/common/*``. Default: ``yarn.application.classpath`` of
            HADOOP_CONF_DIR, else where Hadoop is by default.

    The container of the application is the JobManager's: ``jobmanager: {memory: ...}`` is its size; ``memory`` is not
    used. ``python`` is an interpreter on the nodes: with PyFlink for a script, and with what the artifacts' URL needs
    for a job that reads or writes some.

    Attributes:
        beside: MiB of that container for what runs beside the JobManager.
    """

    beside = 0

    def __init__(
        self,
        flink_home: str | None = None,
        java_home: str | None = None,
        hadoop_classpath: str | None = None,
        **others: Any,
    ) -> None:
        super().__init__(**others)
        for key, value in (("java_home", java_home), ("hadoop_classpath", hadoop_classpath)):
            if value is not None and (not value.strip() or set(value) & set("\"'`\\;\n")):
                raise ValueError(f"{key} must be a path without quotes, semicolons and backslashes, not {value!r}")
        self.flink_home, self.java_home, self.hadoop_classpath = flink_home, java_home, hadoop_classpath

    @property
    def memory_mib(self) -> int:
        """The memory of the JobManager's container in MiB, rounded up."""
        return -(-self.jobmanager.memory // 1024**2) + self.beside

    @property
    def asked(self) -> list[tuple[str, str, int]]:
        """What the JobManager's container asks for, and what each TaskManager's."""
        workers = self.taskmanagers
        found = [
            ("memory", "jobmanager: {memory: %s}", self.memory_mib),
            ("cpu", "cpu: %s", self.vcores),
            ("memory", "taskmanagers: {memory: %s}", workers.memory // 1024**2),
        ]
        if "yarn.containers.vcores" not in self.flink:  # else a core for each slot
            found.append(("cpu", "taskmanagers: {slots: %s}", workers.slots))
        return found
