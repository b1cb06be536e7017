"""A cluster's addresses, read from a Hadoop configuration folder.

Names and defaults are those of Hadoop's own core-default.xml, hdfs-default.xml and yarn-default.xml (3.4).
"""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

from aiflow_ext.plugin import ConfigError

FILES = ("core-site.xml", "hdfs-site.xml", "yarn-site.xml", "mapred-site.xml")
_REFERENCE = re.compile(r"\$\{([^{}$]+)\}")
_INCLUDE = "{http://www.w3.org/2001/XInclude}include"
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
        for _ in range(20):
            filled = _REFERENCE.sub(self._referred, text)
            if filled == text:
                break
            text = filled
        return text.strip()

    def _referred(self, match: re.Match[str]) -> str:
        """The value of ``${match}``: a variable, the user, or another property; the text itself if there is none."""
        name = match[1]
        if name.startswith("env."):  # ${env.NAME}, ${env.NAME-default}, ${env.NAME:-default}
            variable, dash, default = name[4:].partition("-")
            value = os.environ.get(variable.removesuffix(":")) if dash else os.environ.get(variable)
            unset = value is None or (not value and variable.endswith(":"))
            return (default if dash else match[0]) if unset else str(value)
        return self.values.get(name) or (getpass.getuser() if name == "user.name" else match[0])

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

    def namenodes(self) -> list[str]:
        """The web addresses of the NameNodes of the default file system, as URLs."""
        default = self.default_fs
        parts = urlsplit(default)
        if parts.scheme in ("webhdfs", "swebhdfs"):
            return [f"{'https' if parts.scheme == 'swebhdfs' else 'http'}://{parts.netloc}"]
        if parts.scheme != "hdfs" and default:
            return []
        https = self.get("dfs.http.policy", "HTTP_ONLY").upper() == "HTTPS_ONLY"
        name, port = ("https-address", 9871) if https else ("http-address", 9870)
        scheme = "https" if https else "http"
        service = parts.netloc
        ids = [each.strip() for each in self.get(f"dfs.ha.namenodes.{service}").split(",") if each.strip()]
        if ids:
            found = []
            for each in ids:
                rpc = self.get(f"dfs.namenode.rpc-address.{service}.{each}")
                said = self.get(f"dfs.namenode.{name}.{service}.{each}")
                address = _address(said, rpc.partition(":")[0], port)
                if address is not None:
                    found.append(f"{scheme}://{address}")
            return found
        said = self.get(f"dfs.namenode.{name}.{service}") or self.get(f"dfs.namenode.{name}")
        address = _address(said, parts.hostname or "", port)
        return [f"{scheme}://{address}"] if address is not None else []

    @property
    def default_fs(self) -> str:
        """The default file system: ``hdfs://host:8020``, ``hdfs://nameservice``."""
        found = self.get("fs.defaultFS") or self.get("fs.default.name")
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
        """Whether the cluster's web services require Kerberos."""
        said = self.get("hadoop.http.authentication.type") or self.get("hadoop.security.authentication", "simple")
        return said.lower() == "kerberos"


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
    values: dict[str, str] = {}
    for folder in reversed(list(dict.fromkeys(folders))):
        if not Path(folder).is_dir():
            raise ConfigError(
                f"HADOOP_CONF_DIR names {folder}, which is no folder",
                hint="let it name the folder with core-site.xml and yarn-site.xml, or unset it",
            )
        for name in FILES:
            path = Path(folder, name)
            try:
                stat = path.stat()
            except OSError:
                continue
            values |= _read(str(path), stat.st_mtime_ns, stat.st_size)
    return HadoopConf(values, folders[0] if folders else None)


@lru_cache(maxsize=64)
def _read(path: str, mtime: int, size: int) -> dict[str, str]:
    return _properties(path, 0)


def _properties(path: str, depth: int) -> dict[str, str]:
    """The properties of a file and of those that it includes (XInclude), in document order."""
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError) as error:
        raise ConfigError(f"a Hadoop configuration file cannot be read: {error}", where=path,
                          hint="mend it, or let HADOOP_CONF_DIR name another folder") from error  # fmt: skip
    found: dict[str, str] = {}
    for each in root.iter():
        if each.tag == "property":
            name, value = each.get("name") or each.findtext("name"), each.get("value") or each.findtext("value")
            if name is not None and value is not None:
                found[name.strip()] = value
        elif each.tag == _INCLUDE and depth < 10:
            other = Path(path).parent / str(each.get("href") or "").removeprefix("file://")
            if other.is_file() or not len(each):  # its content is the fallback for a missing file
                found |= _properties(str(other), depth + 1)
    return found
