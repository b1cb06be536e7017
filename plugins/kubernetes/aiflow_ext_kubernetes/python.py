"""Job plugin ``kubernetes.python``."""

from __future__ import annotations

from aiflow_ext.plugin import AbstractEngine
from aiflow_ext.plugin.engines import PythonEngine
from aiflow_ext_kubernetes.jobs import KubernetesJobPlugin
from aiflow_ext_kubernetes.readiness import ChecksReady


class KubernetesPythonJobPlugin(ChecksReady, KubernetesJobPlugin):
    """Runs a job's python calls in one process of a pod. The image needs a python, and nothing in it."""

    def engine(self) -> type[AbstractEngine]:
        return PythonEngine
