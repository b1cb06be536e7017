"""The link between this machine and a bed: a pair of virtual devices, one end in each network."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from collections.abc import Collection

from kubernetes_bed.cache import run
from kubernetes_bed.errors import BedError
from kubernetes_bed.layout import Layout, network_of


def free_slot(taken: Collection[int]) -> int:
    """A slot that no other bed has, and whose addresses this machine does not use or route elsewhere.

    Raises:
        BedError: there is none.
    """
    routes = json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"]))
    used = [ipaddress.ip_network(route["dst"], strict=False) for route in routes if route["dst"] != "default"]
    used = [network for network in used if network.prefixlen > 8]  # ours goes before one for all of 10.0.0.0/8
    for slot in range(1, 256):
        if slot not in taken and not any(network_of(slot).overlaps(network) for network in used):
            return slot
    raise BedError("every address of 10.97.0.0/16 is in use on this machine: take a bed down")


def connect(layout: Layout, pid: int) -> None:
    """Link this machine to the network of process ``pid``."""
    run(["ip", "link", "add", layout.link, "type", "veth", "peer", "name", "node", "netns", str(pid)])
    run(["ip", "address", "add", f"{layout.host_ip}/{layout.network.prefixlen}", "dev", layout.link])
    run(["ip", "link", "set", layout.link, "up"])
    inside = ["nsenter", f"--net=/proc/{pid}/ns/net"]
    run([*inside, "ip", "address", "add", f"{layout.node_ip}/{layout.network.prefixlen}", "dev", "node"])
    run([*inside, "ip", "link", "set", "node", "up"])
    run([*inside, "sysctl", "--quiet", "net.ipv4.ip_forward=1"])
    # Services reach pods of the same bridge through the packet filter only where bridges ask it.
    subprocess.run([*inside, "modprobe", "br_netfilter"], capture_output=True)
    run([*inside, "sysctl", "--quiet", "net.bridge.bridge-nf-call-iptables=1"])


def cut(pid: int) -> None:
    """Drop every packet between this machine and the bed, silently, as a dead network would."""
    for chain, device in (("INPUT", "--in-interface"), ("OUTPUT", "--out-interface")):
        run([*_iptables(pid), "--insert", chain, device, "node", "--jump", "DROP"])


def join(pid: int) -> bool:
    """Undo :func:`cut`; False if there was nothing to undo."""
    was_cut = False
    for chain, device in (("INPUT", "--in-interface"), ("OUTPUT", "--out-interface")):
        rule = [chain, device, "node", "--jump", "DROP"]
        while subprocess.run([*_iptables(pid), "--check", *rule], capture_output=True).returncode == 0:
            run([*_iptables(pid), "--delete", *rule])
            was_cut = True
    return was_cut


def _iptables(pid: int) -> list[str]:
    return ["nsenter", "--target", str(pid), "--mount", "--net", "iptables", "--wait"]


def disconnect(layout: Layout) -> None:
    """Remove the link, if it is still there."""
    subprocess.run(["ip", "link", "delete", layout.link], capture_output=True)
