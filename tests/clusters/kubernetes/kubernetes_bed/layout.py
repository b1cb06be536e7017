"""Where a bed's files are, and its addresses."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path

from kubernetes_bed.cache import cache_folder


@dataclass(frozen=True)
class Layout:
    """Names, paths and addresses of one bed: all follow from its name and its slot.

    The slot is the bed's alone on this machine. It chooses the two addresses of the link between them. Pods and
    services have the same addresses in every bed, since each bed has a network of its own.
    """

    name: str
    slot: int
    access_key: str
    secret_key: str

    @property
    def folder(self) -> Path:
        return folder_of(self.name)

    @property
    def network(self) -> ipaddress.IPv4Network:
        """The link: the bed has its first address, this machine the second."""
        return network_of(self.slot)

    @property
    def node_ip(self) -> str:
        return str(self.network[1])

    @property
    def host_ip(self) -> str:
        return str(self.network[2])

    @property
    def link(self) -> str:
        """The name of the link's end on this machine."""
        return f"aiflow-bed{self.slot}"

    @property
    def node(self) -> str:
        """The name of the node in Kubernetes."""
        return f"node-{self.name}"

    @property
    def cgroup(self) -> str:
        """The control group that pods are in, in every hierarchy."""
        return f"aiflow-bed{self.slot}"

    @property
    def server(self) -> str:
        return f"https://{self.node_ip}:6443"

    @property
    def s3(self) -> str:
        return f"http://{self.node_ip}:7070"

    @property
    def kubeconfig(self) -> Path:
        """An administrator's."""
        return self.folder / "kubeconfig"

    @property
    def audit(self) -> Path:
        """What the API server was asked, a JSON document a line."""
        return self.folder / "audit" / "audit.log"

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    @property
    def conf(self) -> Path:
        return self.folder / "conf"

    @property
    def logs(self) -> Path:
        return self.folder / "log"

    def save(self) -> None:
        values = {"name": self.name, "slot": self.slot, "access_key": self.access_key, "secret_key": self.secret_key}
        (self.folder / "bed.json").write_text(json.dumps(values))


def beds_folder() -> Path:
    return cache_folder() / "beds"


def folder_of(name: str) -> Path:
    return beds_folder() / name


def network_of(slot: int) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(f"10.97.{slot}.0/30")


def load(name: str) -> Layout | None:
    """The layout of a bed that is up, or was left half made; None where there is none."""
    try:
        return Layout(**json.loads((folder_of(name) / "bed.json").read_text()))
    except FileNotFoundError:
        return None
