"""Where jobs run: a cluster and a namespace in it."""

from __future__ import annotations

from typing import NamedTuple

from aiflow_ext_kubernetes.config import KubernetesJobConfig


class Target(NamedTuple):
    """A namespace of a cluster, as the config names it; None leaves it to the kubeconfig."""

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None


def target_of(config: KubernetesJobConfig) -> Target:
    """The target of a job."""
    return Target(config.kubeconfig, config.context, config.namespace)
