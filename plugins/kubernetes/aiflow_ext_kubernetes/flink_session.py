"""A session cluster that a job is submitted to, in Kubernetes or beside it: where it is, and what it cannot be given.

A pod of the job's own submits the job, with the Flink of its image, and follows it. So a script and SQL can be
submitted too, a client on any machine suffices, and the attempt is a Job as any other: its end is known without a
client. The client asks the session cluster itself only to take savepoints, and to cancel what a pod has left.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from aiflow_ext.plugin import BaseJobConfig, Problem
from aiflow_ext.plugin.engines import is_remote
from aiflow_ext_flink import session
from aiflow_ext_flink.config import FlinkKeys
from aiflow_ext_flink.program import Program, is_url
from aiflow_ext_flink.rest import FlinkRest
from aiflow_ext_kubernetes.access import RULES, SESSION_RULES, Rule
from aiflow_ext_kubernetes.flink_rest import ProxiedRest
from aiflow_ext_kubernetes.target import Target

MEMORY = 1024**3  # bytes of the pod, unless the config says otherwise: Flink's client, and Python beside it
IN_IMAGE = "local://"  # how the URL of a file of the image begins


class Address(NamedTuple):
    """Where a session cluster's REST API is.

    Attributes:
        host, port: as the pod reaches it.
        service: the Service that it is; None where the client reaches the same host and port.
        namespace: of the Service; None: that of the job.
    """

    host: str
    port: int
    service: str | None = None
    namespace: str | None = None


def address_of(text: str) -> Address:
    """The address that a config says: ``NAME:8081`` and ``NAME.NAMESPACE.svc:8081`` are Services."""
    host, _, port = text.rpartition(":")
    parts = host.split(".")
    if len(parts) == 1 and not host.startswith("["):
        return Address(host, int(port), host)
    if len(parts) > 2 and parts[2] == "svc":
        return Address(host, int(port), parts[0], parts[1])
    return Address(host.strip("[]"), int(port))


def rest_of(target: Target, address: str) -> FlinkRest:
    """The session cluster's REST API, as the client reaches it: a Service through the API server."""
    found = address_of(address)
    if found.service is None:
        return FlinkRest(address)
    return ProxiedRest(target, found.service, found.port, found.namespace)


def rules(address: str) -> tuple[Rule, ...]:
    """What must be permitted in the job's namespace."""
    found = address_of(address)
    ours = found.service is not None and found.namespace is None
    return (*RULES, *(each for each in SESSION_RULES if ours or each.resource != "services/proxy"))


def problems(name: str, config: BaseJobConfig, program: Program) -> Iterator[Problem]:
    """What a session cluster cannot be given, before anything is sent.

    Args:
        name: the job's.
        config: its config, with FlinkKeys.
        program: what it runs.
    """
    assert isinstance(config, FlinkKeys)
    address = str(config.session)
    if session.is_here(address):
        yield Problem(
            f"job {name!r}: jobmanager: {address} would be the job's own pod",
            hint="name the Service of the session cluster's REST API (NAME:8081, NAME.NAMESPACE.svc:8081), or a host "
            "that pods and this machine reach",
        )
    if config.jars:
        yield Problem(
            f"job {name!r}: the session cluster {address} takes one jar, and jars names more", program.where,
            "build one jar with all of it, or have them in the folder lib of the cluster and of the image",
        )  # fmt: skip
    if program.kind == "jar" and is_url(str(program.file)) and not str(program.file).startswith(IN_IMAGE):
        yield Problem(
            f"job {name!r}: Flink's client, which submits to a session cluster, takes no jar at a URL: {program.file}",
            program.where,
            "have it in the project, or in the image (local:///opt/flink/usrlib/job.jar)",
        )
    folders = (config.savepoints, config.checkpoints)
    if config.restore_from == "latest" and all(each is None or is_remote(each) for each in folders):
        yield Problem(
            f"job {name!r}: restore_from: latest looks into folders that the job's pod sees, and it has none of the "
            f"session cluster {address}",
            program.where,
            "name folders where a volume is mounted, here and in the cluster, under savepoints: and checkpoints:; or "
            "name the savepoint itself, which aiflow-ext status tells",
        )


def placed(path: str) -> str:
    """A file of the image as Flink's client takes it."""
    return path.removeprefix(IN_IMAGE)
