"""A job that is an application on YARN: its files, URLs and command, made offline."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import aiflow_ext.plugin as af
from aiflow_ext.plugin import ConfigError
from aiflow_ext.plugin.engines import Bundle, checkpoint_url
from aiflow_ext_yarn.application import Application
from aiflow_ext_yarn.cluster import Cluster
from aiflow_ext_yarn.config import YarnJobConfig
from aiflow_ext_yarn.layout import BUNDLE, PAYLOAD

Value = str | dict[str, str]
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./+@:,=-]+")


class YarnJob(af.AbstractJob):
    """A job that runs as an application on YARN."""

    def __init__(self, job_config: YarnJobConfig, bundle: Bundle, cluster: Cluster) -> None:
        super().__init__(af.JobContext(), job_config)
        self.bundle, self.cluster = bundle, cluster

    @property
    def config(self) -> YarnJobConfig:
        assert isinstance(self.job_config, YarnJobConfig)
        return self.job_config

    @property
    def context(self) -> af.JobContext:
        assert self.job_context is not None
        return self.job_context

    def application(self) -> Application:
        """Its attempt as an application on the cluster."""
        context = self.context
        return Application(self.cluster, str(context.native_id), str(context.run_id), str(context.work_folder))

    def folder(self, native_id: str) -> str:
        """The attempt's staging folder."""
        return f"{self.cluster.run_folder(str(self.context.run_id))}/{native_id}"

    @property
    def checkpoints(self) -> str | None:
        """The URL that all attempts of the job share; None where the artifacts are not at a URL."""
        url = self.reachable(self.context.artifacts_url or "")
        return checkpoint_url(url, self.context) if "://" in url else None

    @property
    def checkpoints_by_rpc(self) -> str | None:
        """The same folder for Hadoop's own client, which knows the nameservice; None where it is not on HDFS."""
        url = self.context.artifacts_url or ""
        if url.startswith("hdfs:///"):
            url = self.cluster.uri(url.removeprefix("hdfs://"))
        return checkpoint_url(url, self.context) if url.startswith("hdfs://") else None

    def payload(self) -> bytes:
        """The runner's input, with URLs as the nodes reach them."""
        context = self.context
        kept = context.artifacts_url, context.inputs
        context.artifacts_url = self.reachable(context.artifacts_url or "")
        context.inputs = {name: self.reachable(url) for name, url in context.inputs.items()}
        try:
            return self.bundle.payload(context)
        finally:
            context.artifacts_url, context.inputs = kept

    def reachable(self, url: str) -> str:
        """An artifact's URL for fsspec on a node: ``hdfs://`` becomes ``webhdfs://``, which needs no Hadoop there."""
        parts = urlsplit(url)
        if parts.scheme == "webhdfs" and self.cluster.kerberos:  # the token has the user; the URL must not
            return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        if parts.scheme != "hdfs":
            return url
        who = "" if self.cluster.kerberos else f"{self.cluster.user}@"
        return f"webhdfs://{who}{urlsplit(self.cluster.node_namenodes[0]).netloc}{parts.path}"

    def artifacts_path(self) -> str | None:
        """The folder of its artifacts on the cluster's file system; None if it passes none, or they are elsewhere."""
        graph = self.bundle.sub_graph
        return self.path_of(self.bundle.project.artifacts) if graph.inputs or graph.outputs else None

    def path_of(self, url: str) -> str | None:
        """The path of a URL on the cluster's file system; None if it is on another one."""
        parts = urlsplit(self.reachable(url))
        hosts = [urlsplit(each).netloc for each in self.cluster.node_namenodes]
        if parts.scheme != "webhdfs" or parts.netloc.rpartition("@")[2] not in hosts:
            return None
        return parts.path.rstrip("/")

    def argv(self) -> list[Value]:
        """The job's argument vector, in the form that the application master reads."""
        if not self.bundle.needs_runner:
            from aiflow_ext.plugin.engines import one_command

            return list(one_command(self.bundle.command()))
        python = self.python()
        inside = "/" in python and not python.startswith("/")
        runner = f"{BUNDLE}/runtime/run_job.py"
        return [{"path": python} if inside else python, {"path": runner}, {"path": PAYLOAD}]

    def python(self) -> str:
        """The interpreter on the nodes. Raises ConfigError for a path that a shell would not read unchanged."""
        python = self.config.python or "python3"
        if not _PLAIN_PATH.fullmatch(python):
            raise ConfigError(
                f"job {self.name!r}: python {python!r} cannot be: a path on the nodes has letters, digits and "
                "_./+@:,=-",
                hint="give an absolute path on the nodes, or a path in an archive: env/bin/python3",
            )
        first = python.partition("/")[0]
        if "/" in python and not python.startswith("/") and first not in self.config.archives:
            have = ", ".join(self.config.archives) or "none"
            raise ConfigError(
                f"job {self.name!r}: python {python!r} is a path in an archive; archives has no {first!r}: it has "
                f"{have}",
                hint=f"give an absolute path on the nodes, or add archives: {{{first}: PATH OR URI}}",
            )
        return python

    def local_file(self, source: str) -> Path:
        """A file of ``files`` or ``archives`` on this machine."""
        return Path(self.bundle.project.root, os.path.expanduser(source))

    def stamp(self, path: Path) -> str:
        """A digest of a local file's path, size and time of change, for a name."""
        stat = path.stat()
        return hashlib.sha256(
            f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}".encode("utf-8", "surrogateescape")
        ).hexdigest()[:16]

    def uri_of(self, source: str) -> str:
        """A URI of ``files`` or ``archives`` as nodes take it; ``hdfs:///path`` is of the cluster's own file system."""
        if source.startswith(("hdfs:///", "webhdfs:///", "swebhdfs:///")):
            return self.cluster.uri(urlsplit(source).path)
        return source
