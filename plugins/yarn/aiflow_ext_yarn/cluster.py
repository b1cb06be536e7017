"""A cluster's addresses and the user to act as: plain data, made offline from config and HADOOP_CONF_DIR."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from aiflow_ext.plugin import ConfigError, Jsonable, Problem
from aiflow_ext_yarn.config import YarnJobConfig
from aiflow_ext_yarn.hadoop import HadoopConf, hadoop_conf


class Cluster(Jsonable):
    """A cluster's addresses and credentials.

    Args:
        resource_managers: URLs of the ResourceManagers' web services, ``http://host:8088``.
        schedulers: ``host:port`` for application masters.
        rpc: ``host:port`` for clients, of Hadoop RPC.
        namenodes: URLs of the NameNodes' (or an HttpFS server's) web services, ``http://host:9870``.
        history: URL of the history server's ``/ws/v1/history``; None: there is none.
        file_system: URI prefix by which nodes read staged files.
        user: the user to act as; under Kerberos the one whose home folder is used for staging.
        kerberos: whether to authenticate by SPNEGO.
        ca: file of certificate authorities; None: the system's.
        verify: whether certificates are verified.
        staging: absolute path on the file system.
        patience: seconds to wait for a service that does not answer.
        renewer: the principal that renews delegation tokens: the ResourceManager's.
        kerberos_hosts: further hosts that get Kerberos tokens, besides those of the addresses above: names or patterns.
        insecure_nodes: DataNodes and NodeManagers that may be used without TLS although NameNode and ResourceManager
            have it: likewise.
        simple_web: whether, under Kerberos, services other than WebHDFS are told the user by name
            (``hadoop.http.authentication.type`` is simple).
        real_user: who authenticates, where ``user`` is another one for whom that user acts; else None.
        gateway: how to authenticate at the gateway where the web services are; secrets are references. None: there is
            no gateway.
        node_namenodes: ``namenodes`` as nodes reach them; empty: the same.
        principal, keytab: who logs in, and from which file; None: the user's own tickets are used.
    """

    def __init__(
        self,
        resource_managers: Sequence[str],
        schedulers: Sequence[str],
        namenodes: Sequence[str],
        history: str | None,
        file_system: str,
        user: str,
        kerberos: bool,
        ca: str | None,
        verify: bool,
        staging: str,
        patience: float,
        renewer: str = "yarn",
        rpc: Sequence[str] = (),
        kerberos_hosts: Sequence[str] = (),
        insecure_nodes: Sequence[str] = (),
        simple_web: bool = False,
        principal: str | None = None,
        keytab: str | None = None,
        real_user: str | None = None,
        gateway: dict[str, Any] | None = None,
        node_namenodes: Sequence[str] = (),
    ) -> None:
        self.resource_managers, self.schedulers = list(resource_managers), list(schedulers)
        self.namenodes, self.history, self.file_system = list(namenodes), history, file_system
        self.user, self.kerberos, self.ca, self.verify = user, kerberos, ca, verify
        self.staging, self.patience, self.renewer, self.rpc = staging, patience, renewer, list(rpc)
        self.real_user, self.gateway = real_user, gateway
        self.node_namenodes = list(node_namenodes) or self.namenodes
        self.simple_web, self.principal, self.keytab = simple_web, principal, keytab
        self.kerberos_hosts, self.insecure_nodes = list(kerberos_hosts), list(insecure_nodes)

    @property
    def key(self) -> tuple[str, ...]:
        """Identifies the cluster, and the user on it."""
        who = [each for each in (self.principal, self.real_user) if each is not None]
        return (*self.resource_managers, "|", *self.namenodes, "|", self.user, self.staging, *who)

    def run_folder(self, run: str) -> str:
        """The staging folder of a run."""
        return f"{self.staging}/{run}"

    def uri(self, path: str) -> str:
        """A staged file as nodes find it."""
        return f"{self.file_system}{path}"


def cluster_of(config: YarnJobConfig, conf: HadoopConf | None = None) -> Cluster:
    """The cluster that a job's config and the Hadoop configuration give. Raises ConfigError for what is missing."""
    conf = hadoop_conf() if conf is None else conf
    said = f"HADOOP_CONF_DIR ({conf.folder}) does not say it" if conf.folder else "HADOOP_CONF_DIR is not set"
    problems = []
    managers = config.resource_manager or conf.resource_managers()
    if not managers:
        problems.append(
            Problem(
                f"platform yarn: no address of a ResourceManager: {said}",
                hint="export HADOOP_CONF_DIR=/etc/hadoop/conf, or give resource_manager: http://host:8088 in the "
                "job's platforms: {yarn: {...}}",
            )
        )
    gateway = config.gateway or {}
    real_user = (
        config.user
        or gateway.get("user")
        or _short(config.principal)
        or os.environ.get("HADOOP_USER_NAME")
        or getpass.getuser()
    )
    user = config.proxy_user or real_user
    staging = config.staging or f"/user/{user}/.aiflow"
    default_fs = ""
    if gateway or not config.webhdfs:
        default_fs, staging = conf.located(staging)
    namenodes = config.webhdfs or conf.namenodes(default_fs)
    if not namenodes:
        words = f"its fs.defaultFS, {conf.default_fs}, is no HDFS" if conf.default_fs else said
        if conf.default_fs.startswith("viewfs:"):
            words = f"{staging} is on no HDFS by the mount table of its fs.defaultFS, {conf.default_fs}"
        problems.append(
            Problem(
                f"platform yarn: no address of WebHDFS or HttpFS, through which files are sent: {words}",
                hint="give webhdfs: http://namenode:9870 in the job's platforms: {yarn: {...}}",
            )
        )
    own_addresses = bool(config.resource_manager) and not gateway
    schedulers = config.scheduler or ([] if own_addresses else conf.schedulers())
    for_nodes = config.node_webhdfs or (conf.namenodes(default_fs) if gateway else namenodes)
    for key, example, found in (("scheduler", "rm:8030", schedulers), ("node_webhdfs", "http://nn:9870", for_nodes)):
        if gateway and not found:
            problems.append(
                Problem(
                    f"platform yarn: nodes do not use the gateway, and {key} does not say what they use: {said}",
                    hint=f"give {key}: {example} in the job's platforms: {{yarn: {{...}}}}",
                )
            )
    if problems:
        raise ConfigError(problems=problems)
    if not schedulers:
        schedulers = [f"{urlsplit(url).hostname}:8030" for url in managers]
    namenode = urlsplit(for_nodes[0])
    file_system = config.file_system or default_fs
    if not file_system:
        file_system = f"{'swebhdfs' if namenode.scheme == 'https' else 'webhdfs'}://{namenode.netloc}"
    rm_host = schedulers[0].rpartition(":")[0] if gateway else urlsplit(managers[0]).hostname
    return Cluster(
        managers,
        schedulers,
        [_webhdfs(url) for url in namenodes],
        _history(config.history, None if own_addresses else conf.history()),
        file_system.rstrip("/"),
        user,
        _kerberos(config, conf),
        config.ca,
        config.tls_verify,
        staging,
        config.patience,
        _renewer(conf.get("yarn.resourcemanager.principal"), rm_host or ""),
        config.rpc or ([] if own_addresses else conf.rpc()) or [f"{urlsplit(url).hostname}:8032" for url in managers],
        config.kerberos_hosts,
        config.insecure_nodes,
        conf.simple_web and config.authentication is None,
        config.principal,
        config.keytab,
        None if config.proxy_user is None else real_user,
        config.gateway,
        [_webhdfs(url) for url in for_nodes],
    )


def _webhdfs(url: str) -> str:
    """The root of the file system at an address, which may be complete already."""
    if "/webhdfs/" in url:
        return url
    return f"{url}/v1" if url.endswith("/webhdfs") else f"{url}/webhdfs/v1"


def _short(principal: str | None) -> str:
    """The user of a principal by Hadoop's default rule: the name before its host and realm."""
    return re.split("[/@]", principal or "")[0]


def _kerberos(config: YarnJobConfig, conf: HadoopConf) -> bool:
    if config.authentication is not None:
        return config.authentication == "kerberos"
    return conf.kerberos or config.principal is not None


def _renewer(principal: str, host: str) -> str:
    """The ResourceManager's principal for a NameNode, which maps whole principals to users by rules of its own."""
    # As in org.apache.hadoop.security.SecurityUtil.getServerPrincipal.
    return principal.replace("/_HOST@", f"/{host.lower()}@") or "yarn"


def _history(given: str | None, found: str | None) -> str | None:
    if given is None:
        return found
    return given if "/ws/" in given else f"{given}/ws/v1/history"
