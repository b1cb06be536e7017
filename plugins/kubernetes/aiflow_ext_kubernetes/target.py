"""Where jobs run: a cluster and a namespace in it."""

from __future__ import annotations

import os
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


def absolute(kubeconfig: str | None, root: str) -> str | None:
    """A kubeconfig's path, or several, as a job of the project in folder ``root`` names it."""
    if kubeconfig is None:
        return None
    paths = [os.path.join(root, os.path.expanduser(each)) for each in kubeconfig.split(os.pathsep) if each]
    return os.pathsep.join(paths)
