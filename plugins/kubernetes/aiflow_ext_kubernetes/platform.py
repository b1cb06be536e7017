"""The platform ``kubernetes``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiflow_ext.plugin import AbstractPlatform


class KubernetesPlatform(AbstractPlatform):
    """A Kubernetes cluster: the one of the kubeconfig's context, or the one that the client itself runs in."""

    jobs_at_once = 100
    calls_at_once = 16
    resources = ("cpu", "memory", "gpu")

    @staticmethod
    def platform() -> str:
        return "kubernetes"

    @classmethod
    def permissions(cls, jobs: Iterable[Any]) -> str:
        """The smallest Role with which these jobs can be run, as YAML; made offline."""
        from aiflow_ext_kubernetes.access import roles

        return roles(jobs)
