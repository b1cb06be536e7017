"""Containers that run in an image: the NodeManager's docker and runc runtimes, as a job's config asks for them.

The NodeManager reads what is asked for from the launch environment. The names are those of
org.apache.hadoop.yarn.server.nodemanager.containermanager.linux.runtime, DockerLinuxContainerRuntime and
RuncContainerRuntime, and of ContainerRuntimeConstants beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from aiflow_ext.plugin import Jsonable

TYPE = "YARN_CONTAINER_RUNTIME_TYPE"
NETWORK = "YARN_CONTAINER_RUNTIME_DOCKER_CONTAINER_NETWORK"
# The launch script has the values between double quotes: nothing in them may mean something to bash.
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")
_PATH = r"[A-Za-z0-9._/+@%=-]+"
_MODE = r"ro|rw|(?:r[ow]\+)?r?(?:shared|slave|private)"  # OCIContainerRuntime.USER_MOUNT_PATTERN
_MOUNT = re.compile(rf"({_PATH}):(/{_PATH})(?::({_MODE}))?")


class ContainerImage(Jsonable):
    """The image that a job's container runs in.

    Args:
        runtime: ``docker`` or ``runc``, which NodeManagers must allow.
        image: its name, as the nodes' docker or the cluster's runc repository knows it.
        mounts: ``SOURCE:DESTINATION[:MODE]`` each. SOURCE is a path on the node that the cluster allows, or a name of
            ``files`` or ``archives``; MODE is ``rw``, the default, ``ro``, or one with a propagation: ``ro+rslave``.
        network: of docker, one that the cluster allows. Default: the cluster's, usually ``host``.
    """

    def __init__(
        self,
        image: str,
        runtime: Literal["docker", "runc"] = "docker",
        mounts: Sequence[str] = (),
        network: str | None = None,
    ) -> None:
        self.image, self.runtime, self.mounts, self.network = image, runtime, list(mounts), network
        if not _IMAGE.fullmatch(image):
            raise ValueError(f"image must be an image's name such as team/ml:1, not {image!r}")
        for mount in self.mounts:
            if not _MOUNT.fullmatch(mount):
                raise ValueError(
                    f"mounts must each be SOURCE:DESTINATION or SOURCE:DESTINATION:MODE, such as /data:/data:ro, "
                    f"not {mount!r}"
                )
        if network is not None and runtime != "docker":
            raise ValueError(f"network is a key of runtime docker; runtime {runtime} has none")
        if network is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", network):
            raise ValueError(f"network must be the name of a network, such as host, not {network!r}")
        if network == "none":
            raise ValueError(
                "network cannot be none: the application master, which runs in the image too, must reach the "
                "ResourceManager and HDFS"
            )

    @property
    def sources(self) -> list[str]:
        """What is mounted by a name in the container's folder, not by a path on the node."""
        found = [mount.partition(":")[0] for mount in self.mounts]
        return [each for each in found if not each.startswith("/")]

    def environment(self) -> dict[str, str]:
        """The variables of the launch environment by which the NodeManager knows of it."""
        prefix = f"YARN_CONTAINER_RUNTIME_{self.runtime.upper()}"
        found = {TYPE: self.runtime, f"{prefix}_IMAGE": self.image}
        if self.mounts:
            found[f"{prefix}_MOUNTS"] = ",".join(
                mount if mount.count(":") == 2 else f"{mount}:rw" for mount in self.mounts
            )
        if self.network is not None:
            found[NETWORK] = self.network
        return found
