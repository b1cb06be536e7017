"""Where jobs run: a cluster and a namespace in it."""

from __future__ import annotations

import os
from typing import NamedTuple

from aiflow_ext_kubernetes.config import KubernetesJobConfig


class Cluster(NamedTuple):
    """Which cluster it is.

    Args:
        server: the API server's address.
        system: the uid of namespace kube-system; None where it may not be read.
        home: the uid of the run's own namespace; likewise.
    """

    server: str
    system: str | None = None
    home: str | None = None

    def is_same(self, other: Cluster) -> bool:
        """Whether both are one cluster: by the first uid that is known of both, else by the address."""
        for mine, its in ((self.system, other.system), (self.home, other.home)):
            if mine is not None and its is not None:
                return mine == its
        return self.server == other.server


class Target(NamedTuple):
    """A namespace of a cluster, as the config names it; None leaves it to the kubeconfig.

    Args:
        kubeconfig, context, namespace: as in the config.
        cluster: the cluster that it must be; None: any.
        or_current: whether the current context is used where the kubeconfig does not have ``context`` any more.
    """

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    cluster: Cluster | None = None
    or_current: bool = False


def target_of(config: KubernetesJobConfig) -> Target:
    """The target of a job, as its config names it."""
    return Target(config.kubeconfig, config.context, config.namespace)


def absolute(kubeconfig: str | None, root: str) -> str | None:
    """A kubeconfig's path, or several, as a job of the project in folder ``root`` names it."""
    if kubeconfig is None:
        return None
    paths = [os.path.join(root, os.path.expanduser(each)) for each in kubeconfig.split(os.pathsep) if each]
    return os.pathsep.join(paths)
