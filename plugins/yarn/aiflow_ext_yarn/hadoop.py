"""A cluster's addresses, read from a Hadoop configuration folder.

Names and defaults are those of Hadoop's own core-default.xml, hdfs-default.xml and yarn-default.xml (3.4).
"""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from aiflow_ext.plugin import ConfigError
from aiflow_ext_yarn.hadoop_files import properties

MOST_REFERENCES = 20  # replaced in one value
_REFERENCE = re.compile(r"\$\{([^{}$ ]+)\}")
# Properties of a Java process that values refer to.
_JAVA: dict[str, Callable[[], str]] = {
    "user.name": getpass.getuser,
    "user.home": lambda: os.path.expanduser("~"),
    "java.io.tmpdir": lambda: "/tmp",  # noqa: S108 - what Java says; no file is made there
}
RPC_PORT = 8020  # a NameNode's, if its address has none
_ANY = ("", "0.0.0.0", "::", "[::]")  # an address that a server binds to, and no client can use


class HadoopConf:
    """The properties of a configuration folder.

    Args:
        values: by name, as in the files.
        folder: where they come from, for messages.
    """

    def __init__(self, values: Mapping[str, str], folder: str | None = None) -> None:
        self.values, self.folder = dict(values), folder

    def get(self, name: str, default: str = "") -> str:
        """A property with its ``${references}`` resolved, as Hadoop's Configuration does."""
        text = self.values.get(name, default)
        for _ in range(MOST_REFERENCES):
            match = _REFERENCE.search(text)
            value = self._referred(match[1]) if match is not None else None
            if match is None or value is None:
                break
            text = text[: match.start()] + value + text[match.end() :]
        return text.strip()

    def _referred(self, name: str) -> str | None:
        """The value of ``${name}``: a variable, a property of Java's, or another property; None if there is none."""
        if name.startswith("env."):  # ${env.NAME}, ${env.NAME-default}, ${env.NAME:-default}
            variable, dash, default = name[4:].partition("-")
            value = os.environ.get(variable.removesuffix(":")) if dash else os.environ.get(variable)
            if value is not None and (value or not variable.endswith(":")):
                return value
            return default if dash else self.values.get(name)
        if name in _JAVA:
            return _JAVA[name]()
        return self.values.get(name) or None  # to Hadoop an empty one is not there

    def resource_managers(self) -> list[str]:
        """The web addresses of the ResourceManagers, as URLs; empty where none is configured."""
        https = self.get("yarn.http.policy", "HTTP_ONLY").upper() == "HTTPS_ONLY"
        name, port = ("webapp.https.address", 8090) if https else ("webapp.address", 8088)
        found = self._each_rm(name, port)
        return [f"{'https' if https else 'http'}://{address}" for address in found]

    def schedulers(self) -> list[str]:
        """``host:port`` of each ResourceManager's service for application masters."""
        return self._each_rm("scheduler.address", 8030)

    def rpc(self) -> list[str]:
        """``host:port`` of each ResourceManager's RPC service for clients."""
        return self._each_rm("address", 8032)

    def _each_rm(self, name: str, port: int) -> list[str]:
        ids = [""]
        if self.get("yarn.resourcemanager.ha.enabled").lower() == "true":
            ids = [f".{each.strip()}" for each in self.get("yarn.resourcemanager.ha.rm-ids").split(",") if each.strip()]
        found = []
        for each in ids:
            said = self.get(f"yarn.resourcemanager.{name}{each}")
            host = self.get(f"yarn.resourcemanager.hostname{each}")
            address = _address(said, host, port)
            if address is not None:
                found.append(address)
        return found

    def namenodes(self, file_system: str | None = None) -> list[str]:
        """The web addresses of a file system's NameNodes, as URLs; of the default one where none is given."""
        default = self.default_fs if file_system is None else file_system
        parts = urlsplit(default)
        if parts.scheme in ("webhdfs", "swebhdfs"):
            return [f"{'https' if parts.scheme == 'swebhdfs' else 'http'}://{parts.netloc}"]
        if parts.scheme != "hdfs" and default:
            return []
        https = self.get("dfs.http.policy", "HTTP_ONLY").upper() == "HTTPS_ONLY"
        name, port = ("https-address", 9871) if https else ("http-address", 9870)
        scheme = "https" if https else "http"
        service = parts.netloc
        if ids := self._names(f"dfs.ha.namenodes.{service}"):
            found = []
            for each in ids:
                rpc = self.get(f"dfs.namenode.rpc-address.{service}.{each}")
                said = self.get(f"dfs.namenode.{name}.{service}.{each}")
                address = _address(said, rpc.partition(":")[0], port)
                if address is not None:
                    found.append(f"{scheme}://{address}")
            return found
        rpc = self.get(f"dfs.namenode.rpc-address.{service}").partition(":")[0]
        suffix = f".{service}" if service in self._names("dfs.nameservices") else self._suffix_of(parts)
        said = self.get(f"dfs.namenode.{name}{suffix}") or self.get(f"dfs.namenode.{name}")
        address = _address(said, rpc or parts.hostname or "", port)
        return [f"{scheme}://{address}"] if address is not None else []

    def _names(self, name: str) -> list[str]:
        """A property that is a list of names."""
        return [each.strip() for each in self.get(name).split(",") if each.strip()]

    def _suffix_of(self, file_system: SplitResult) -> str:
        """With what the properties of the NameNode end that has this RPC address: ``.NAMESERVICE[.ID]``, or nothing."""
        wanted = (file_system.hostname, file_system.port or RPC_PORT)
        for service in self._names("dfs.nameservices"):
            for each in self._names(f"dfs.ha.namenodes.{service}") or [""]:
                suffix = f".{service}.{each}" if each else f".{service}"
                address = urlsplit(f"hdfs://{self.get(f'dfs.namenode.rpc-address{suffix}')}")
                if (address.hostname, address.port or RPC_PORT) == wanted:
                    return suffix
        return ""

    def located(self, path: str) -> tuple[str, str]:
        """The file system that has a path of the default one, as a URI, and the path there.

        They differ from what is given only for ViewFS, which has folders of several file systems. Where its mount table
        has no entry for the path, nothing is changed.
        """
        parts = urlsplit(self.default_fs)
        if parts.scheme != "viewfs":
            return self.default_fs, path
        table = f"fs.viewfs.mounttable.{parts.netloc or 'default'}."
        links = {
            name.removeprefix(f"{table}link.").rstrip("/"): self.get(name)
            for name in self.values
            if name.startswith(f"{table}link./")
        }
        for mounted in sorted(links, key=len, reverse=True):
            if f"{path}/".startswith(f"{mounted}/"):
                return _below(links[mounted], path.removeprefix(mounted))
        rest = self.get(f"{table}linkMergeSlash") or self.get(f"{table}linkFallback")
        return _below(rest, path) if rest else (self.default_fs, path)

    @property
    def default_fs(self) -> str:
        """The default file system: ``hdfs://host:8020``, ``hdfs://nameservice``."""
        found = self.get("fs.defaultFS")
        return "" if found.startswith("file:") else found.rstrip("/")

    def history(self) -> str | None:
        """The URL below which the history server has ``containerlogs``; None where none is configured."""
        said = self.get("yarn.log.server.web-service.url")
        if said:
            return said.rstrip("/")
        # Many clusters configure only web pages: the history server's, or a timeline server's application history.
        page = urlsplit(self.get("yarn.log.server.url"))
        services = {"jobhistory": "history", "applicationhistory": "applicationhistory"}
        service = services.get(page.path.strip("/").partition("/")[0])
        if page.netloc and service is not None and page.hostname not in _ANY:
            return f"{page.scheme}://{page.netloc}/ws/v1/{service}"
        https = self.get("mapreduce.jobhistory.http.policy", "HTTP_ONLY").upper() == "HTTPS_ONLY"
        name, port = ("webapp.https.address", 19890) if https else ("webapp.address", 19888)
        rpc = self.get("mapreduce.jobhistory.address").partition(":")[0]
        address = _address(self.get(f"mapreduce.jobhistory.{name}"), rpc, port)
        return f"{'https' if https else 'http'}://{address}/ws/v1/history" if address is not None else None

    @property
    def kerberos(self) -> bool:
        """Whether the cluster requires Kerberos: WebHDFS then does, whatever is said of other web services."""
        names = ("hadoop.http.authentication.type", "hadoop.security.authentication")
        return any(self.get(name).lower() == "kerberos" for name in names)

    @property
    def simple_web(self) -> bool:
        """Whether the web services other than WebHDFS are told the user by name, although the cluster requires
        Kerberos."""
        return self.kerberos and self.get("hadoop.http.authentication.type").lower() == "simple"


def _below(uri: str, path: str) -> tuple[str, str]:
    """A path below the folder that ``uri`` names: its file system and the path there."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}", f"{parts.path.rstrip('/')}{path}" or "/"


def _address(said: str, host: str, port: int) -> str | None:
    """``host:port`` of a configured address; ``host`` replaces a wildcard or a missing one."""
    name, _, number = said.rpartition(":") if ":" in said else (said, "", "")
    if name in _ANY:
        name = host
    if name in _ANY:
        return None
    return f"{name}:{number or port}"


def hadoop_conf(environ: Mapping[str, str] | None = None) -> HadoopConf:
    """The configuration of ``HADOOP_CONF_DIR`` or ``YARN_CONF_DIR``; empty where neither is set.

    Raises ConfigError for a folder that does not exist and a file that is not XML.
    """
    env = os.environ if environ is None else environ
    folders = [env[name] for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR") if env.get(name)]
    home = env.get("HADOOP_HOME")
    if not folders and home and Path(home, "etc", "hadoop").is_dir():
        folders = [str(Path(home, "etc", "hadoop"))]
    folders = list(dict.fromkeys(folders))
    for folder in folders:
        if not Path(folder).is_dir():
            raise ConfigError(
                f"HADOOP_CONF_DIR names {folder}, which is no folder",
                hint="let it name the folder with core-site.xml and yarn-site.xml, or unset it",
            )
    return HadoopConf(properties(folders), folders[0] if folders else None)
