"""Job plugin ``kubernetes.cmd_line``."""

from __future__ import annotations

from aiflow_ext.plugin import AbstractEngine
from aiflow_ext.plugin.engines import CmdLineEngine
from aiflow_ext_kubernetes.jobs import KubernetesJobPlugin
from aiflow_ext_kubernetes.readiness import ChecksReady


class KubernetesCmdLineJobPlugin(ChecksReady, KubernetesJobPlugin):
    """Runs a job's commands in a pod, one after the other. The image needs /bin/sh; where an artifact is read or
    written, a python too."""

    def engine(self) -> type[AbstractEngine]:
        return CmdLineEngine
