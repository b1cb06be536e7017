"""The config of a job on YARN."""

from __future__ import annotations

import datetime
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import aiflow_ext.plugin as af
from aiflow_ext.plugin.secrets import is_secret
from aiflow_ext_yarn.access import MODIFY, VIEW, AccessList, list_text
from aiflow_ext_yarn.images import ContainerImage
from aiflow_ext_yarn.layout import RESERVED

GPU = "yarn.io/gpu"  # org.apache.hadoop.yarn.api.records.ResourceInformation.GPU_URI
_MEMORY = 1024**3


class YarnJobConfig(af.BaseJobConfig):
    """The keys of a job on YARN, besides the common ones.

    Args:
        resource_manager: web address of the ResourceManager, or a list of them (high availability):
            ``http://rm1:8088``. Default: from HADOOP_CONF_DIR.
        webhdfs: web address of the NameNode, or several, or of an HttpFS server: ``http://nn1:9870``. Default: from
            HADOOP_CONF_DIR.
        history: web address of the history server that keeps logs: ``http://jhs:19888``. Default: from HADOOP_CONF_DIR.
        scheduler: ``host:port``, one or several, that application masters connect to. Default: from HADOOP_CONF_DIR,
            else port 8030 of the ResourceManagers' hosts.
        rpc: ``host:port``, one or several, where jobs with ``resources`` are submitted, which the REST API does not
            support. Default: from HADOOP_CONF_DIR, else port 8032 of the ResourceManagers' hosts.
        file_system: the URI by which nodes read what is staged: ``hdfs://nameservice``. Default: fs.defaultFS of
            HADOOP_CONF_DIR, else ``webhdfs://`` at the address above.
        user: the user to act as under simple authentication. Default: HADOOP_USER_NAME, else the client's user.
        proxy_user: the user for whom files are written and applications submitted, by ``user`` or the Kerberos
            principal, who must be allowed to: ``hadoop.proxyuser.NAME.hosts`` and ``.groups``. Default: none.
        authentication: ``simple`` or ``kerberos``. Default: what HADOOP_CONF_DIR says, else simple.
        principal: who logs in to Kerberos, from ``keytab``: ``ada@EXAMPLE.COM``. Default: whoever has run kinit.
        keytab: absolute path of the principal's keytab on this machine. Each process of aiflow-ext logs in from it by
            itself, and again before its ticket expires.
        gateway: how to authenticate at a gateway (Apache Knox) at which ``resource_manager`` and ``webhdfs`` are:
            ``{user: ada, password: {secret: "env:PASSWORD"}}``, or ``{token: {secret: ...}}``. Default: there is none.
        node_webhdfs: web address of WebHDFS or HttpFS as nodes reach it, or several. Default: ``webhdfs``; behind a
            gateway what HADOOP_CONF_DIR says.
        ca: absolute path of a PEM file with the certificate authorities to trust; application masters get a copy of it.
            Default: the system's.
        tls_verify: whether servers' certificates are verified; true by default.
        kerberos_hosts: hosts that get Kerberos tokens besides those of the addresses above, such as NodeManagers:
            names, or patterns: ``*.example.com``. Default: none.
        insecure_nodes: DataNodes and NodeManagers, likewise, that may be used without TLS although the NameNode's or
            ResourceManager's address is https. Default: none.
        staging: folder on the file system for what is sent. Default: ``/user/USER/.aiflow``.
        queue: the queue. Default: ``default``.
        priority: the application's priority in its queue; higher comes first. Default: the queue's.
        tags: further tags of the application, for your own searches.
        resources: other resources of the container by name, as the cluster calls them: ``{yarn.io/fpga: 1}``.
        node_label: node label expression that the container's node must satisfy.
        view_acls: who may see the application and its logs, besides its owner and administrators, where the cluster
            has access lists: ``{users: [eve], groups: [staff]}``, or ``eve staff``. Default: nobody.
        modify_acls: who may kill it, likewise.
        lifetime: how long the application may exist, waiting included; then YARN kills it.
        am_attempts: how often YARN itself starts the application. Default: 1; prefer ``retries``, which gives every
            attempt its own record. After the first start has begun, the job's start marker prevents a second one.
        files: local files, or URIs that the nodes reach, by the name that they have in the container's folder.
        archives: likewise, unpacked there: ``.tar.gz``, ``.tgz``, ``.zip``, ``.tar``.
        container: the image that the container runs in, where the cluster allows docker or runc:
            ``{image: team/ml:1}``. Default: none, the node itself.
        shared_folders: folders that every node and the client see under the same path (NFS); artifacts may be kept
            there.
        patience: how long stopping a job waits for a ResourceManager that does not answer. Default: two minutes. (A
            submission has no limit: it waits until the cluster answers.)

    Of the common keys, ``memory`` is the container's (default: 1Gi), ``cpu`` its virtual cores, rounded up (default:
    1), and ``gpu`` its resource ``yarn.io/gpu``. ``python`` is a path on the nodes (default ``python3``), or one inside
    an archive: ``env/bin/python3`` where ``archives`` has ``env``.
    """

    renamed: ClassVar[Mapping[str, str]] = {"vcores": "cpu"}

    def __init__(
        self,
        resource_manager: str | Sequence[str] | None = None,
        webhdfs: str | Sequence[str] | None = None,
        history: str | None = None,
        scheduler: str | Sequence[str] | None = None,
        rpc: str | Sequence[str] | None = None,
        file_system: str | None = None,
        user: str | None = None,
        proxy_user: str | None = None,
        authentication: Literal["simple", "kerberos"] | None = None,
        principal: str | None = None,
        keytab: str | None = None,
        gateway: Mapping[str, Any] | None = None,
        node_webhdfs: str | Sequence[str] | None = None,
        ca: str | None = None,
        tls_verify: bool = True,
        kerberos_hosts: Sequence[str] = (),
        insecure_nodes: Sequence[str] = (),
        staging: str | None = None,
        queue: str = "default",
        priority: int | None = None,
        tags: Sequence[str] = (),
        resources: Mapping[str, int] | None = None,
        node_label: str | None = None,
        view_acls: AccessList | str | None = None,
        modify_acls: AccessList | str | None = None,
        lifetime: datetime.timedelta | None = None,
        am_attempts: int = 1,
        files: Mapping[str, str] | None = None,
        archives: Mapping[str, str] | None = None,
        container: ContainerImage | None = None,
        shared_folders: Sequence[str] = (),
        patience: datetime.timedelta = datetime.timedelta(minutes=2),
    ) -> None:
        self.resource_manager = _list(resource_manager, "resource_manager", _web)
        self.webhdfs = _list(webhdfs, "webhdfs", _web)
        self.history = None if history is None else _web("history", history)
        self.scheduler = _list(scheduler, "scheduler", _host_port)
        self.rpc = _list(rpc, "rpc", _host_port)
        self.file_system, self.user, self.authentication = file_system, user, authentication
        if file_system is not None and not re.fullmatch(r"[a-z]+://[^/\s]+/?", file_system):
            raise ValueError(
                f"file_system must be a URI such as hdfs://nameservice or hdfs://host:8020, not {file_system!r}"
            )
        self.proxy_user = proxy_user
        if proxy_user is not None and not re.fullmatch(r"[^\s/@:]+", proxy_user):
            raise ValueError(f"proxy_user must be a user's name, not {proxy_user!r}")
        self.principal, self.keytab = principal, _own_file("keytab", keytab)
        if (principal is None) != (keytab is None):
            raise ValueError("principal and keytab belong together: whoever logs in, and the file with the keys")
        if principal is not None and not re.fullmatch(r"[^\s/@]+(/[^\s/@]+)?(@[^\s/@]+)?", principal):
            raise ValueError(f"principal must be NAME[/HOST][@REALM], such as ada@EXAMPLE.COM, not {principal!r}")
        if principal is not None and authentication == "simple":
            raise ValueError("principal and keytab are for Kerberos: take authentication: simple away")
        self.gateway = None if gateway is None else _gateway(gateway)
        self.node_webhdfs = _list(node_webhdfs, "node_webhdfs", _web)
        if self.gateway is not None:
            for address in (*self.resource_manager, *self.webhdfs):
                if not address.startswith("https:"):
                    raise ValueError(f"gateway has secrets, which are sent by https alone, not to {address}")
            if not self.resource_manager or not self.webhdfs:
                raise ValueError("gateway needs resource_manager and webhdfs: their addresses at the gateway")
            if proxy_user is not None:
                raise ValueError("a gateway says itself for whom it acts: take proxy_user away, or gateway")
        self.ca, self.tls_verify = _own_file("ca", ca), tls_verify
        self.kerberos_hosts = _hosts(kerberos_hosts, "kerberos_hosts")
        self.insecure_nodes = _hosts(insecure_nodes, "insecure_nodes")
        if staging is not None and not staging.startswith("/"):
            raise ValueError(f"staging must be an absolute path on the cluster's file system, not {staging!r}")
        self.staging = None if staging is None else staging.rstrip("/") or "/"
        self.queue, self.priority, self.tags = queue, priority, list(tags)
        if not queue.strip():
            raise ValueError("queue must be a queue's name, not empty")
        for tag in self.tags:
            # ApplicationSubmissionContext: at most 100 ASCII characters; the server lowers their case.
            if not tag or len(tag) > 100 or not tag.isascii() or not tag.isprintable() or "," in tag:
                raise ValueError(f"tags must each be 1 to 100 ASCII characters without a comma, not {tag!r}")
        self.resources, self.node_label = dict(resources or {}), node_label
        for name, amount in self.resources.items():
            if amount < 0 or name in ("memory-mb", "vcores", "memory", GPU):
                raise ValueError(f"resources cannot have {name}: {amount}; cpu, memory and gpu are keys of their own")
        self.view_acls, self.modify_acls = list_text("view_acls", view_acls), list_text("modify_acls", modify_acls)
        self.lifetime = None if lifetime is None else lifetime.total_seconds()
        if self.lifetime is not None and self.lifetime < 1:
            raise ValueError(f"lifetime must be at least a second, not {self.lifetime:g} s")
        if am_attempts < 1:
            raise ValueError(f"am_attempts must be at least 1, not {am_attempts}")
        self.am_attempts = am_attempts
        self.files = _named(files, "files")
        self.archives = _named(archives, "archives")
        twice = sorted(set(self.files) & set(self.archives))
        if twice:
            raise ValueError(f"files and archives both have {', '.join(twice)}; each needs a name of its own")
        self.container = container
        for name in container.sources if container is not None else ():
            if name not in self.files and name not in self.archives:
                have = ", ".join((*self.files, *self.archives)) or "nothing"
                raise ValueError(
                    f"container mounts {name}, which is neither an absolute path nor in files or archives: they have "
                    f"{have}"
                )
        self.shared_folders = list(shared_folders)
        self.patience = patience.total_seconds()

    @property
    def memory_mib(self) -> int:
        """The container's memory in MiB, rounded up."""
        return -(-(self.memory or _MEMORY) // 1024**2)

    @property
    def vcores(self) -> int:
        """Its virtual cores."""
        return math.ceil(self.cpu or 1)

    @property
    def asked(self) -> list[tuple[str, str, int]]:
        """What its containers ask for: ``memory`` (in MiB) or ``cpu``, the key that says so, and how much."""
        return [("memory", "memory: %s", self.memory_mib), ("cpu", "cpu: %s", self.vcores)]

    @property
    def access_lists(self) -> dict[str, str]:
        """Its access lists by what they allow, as Hadoop calls it."""
        given = {VIEW: self.view_acls, MODIFY: self.modify_acls}
        return {kind: text for kind, text in given.items() if text is not None}

    @property
    def other_resources(self) -> dict[str, int]:
        """Its resources besides memory and cores, by the cluster's names."""
        return {**self.resources, **({GPU: self.gpu} if self.gpu else {})}


def _list(given: Any, key: str, check: Any) -> list[str]:
    values = [] if given is None else [given] if isinstance(given, str) else list(given)
    return [check(key, each) for each in values]


def _web(key: str, address: str) -> str:
    """A web address as ``http://host:port``."""
    text = address.strip().rstrip("/")
    match = re.fullmatch(r"(?:(https?)://)?([^\s/:@\x00-\x20\x7f]+|\[[0-9a-fA-F:]+\])(?::(\d{1,5}))?(/\S*)?", text)
    if match is None:
        raise ValueError(f"{key} must be a web address such as http://host:8088, not {address!r}")
    scheme, host, port, path = match.groups()
    if port is None and scheme is None:
        raise ValueError(f"{key} must say the port too, such as {text}:8088, not {address!r}")
    return f"{scheme or 'http'}://{host}{f':{port}' if port else ''}{path or ''}"


def _hosts(given: Sequence[str], key: str) -> list[str]:
    for each in given:
        if not re.fullmatch(r"[A-Za-z0-9.*:_-]+", each):
            raise ValueError(f"{key} must be names of hosts, or patterns such as *.example.com, not {each!r}")
    return list(given)


def _gateway(given: Mapping[str, Any]) -> dict[str, Any]:
    """What authenticates at a gateway: a token, or a user's name and password; secrets are references."""
    hidden = [key for key in ("token", "password") if key in given]
    if set(given) not in ({"token"}, {"user", "password"}) or not isinstance(given.get("user", ""), str):
        raise ValueError("gateway must be {user: NAME, password: {secret: SOURCE}} or {token: {secret: SOURCE}}")
    if not all(is_secret(given[key]) for key in hidden):
        raise ValueError(f'gateway cannot have a {hidden[0]} in plain text: {{secret: "env:NAME"}}, or "file:PATH"')
    return {key: dict(value) if isinstance(value, Mapping) else value for key, value in given.items()}


def _own_file(key: str, path: str | None) -> str | None:
    """A path on this machine, which means the same in every folder."""
    whole = None if path is None else os.path.expanduser(path)
    if whole is not None and not os.path.isabs(whole):
        raise ValueError(f"{key} must be an absolute path on this machine, not {path!r}")
    return whole


def _host_port(key: str, address: str) -> str:
    if not re.fullmatch(r"([^\s/:]+|\[[0-9a-fA-F:]+\]):\d{1,5}", address):
        raise ValueError(f"{key} must be host:port, such as rm1:8030, not {address!r}")
    return address


def _named(given: Mapping[str, str] | None, key: str) -> dict[str, str]:
    """Resources by their names in the container's folder."""
    found = dict(given or {})
    for name, source in found.items():
        if not re.fullmatch(r"[A-Za-z0-9._+-]+", name) or name in (".", "..") or name in RESERVED:
            taken = ", ".join(sorted(RESERVED))
            raise ValueError(f"{key} cannot have the name {name!r}: letters, digits and . _ + -, and none of {taken}")
        if not source:
            raise ValueError(f"{key} says nothing for {name!r}: give a local path or a URI")
    return found
