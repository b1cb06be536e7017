"""What both job plugins of the platform have in common: a job as an application."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import aiflow_ext as af
from aiflow_ext.engines.bundle import Bundle, build_bundle
from aiflow_ext.model.errors import ConfigError, Problem
from aiflow_ext.model.names import safe_name
from aiflow_ext.translate import secrets
from aiflow_ext_yarn import known, request
from aiflow_ext_yarn.attempt import Attempt, YarnHandler
from aiflow_ext_yarn.config import YarnJobConfig
from aiflow_ext_yarn.connection import Connection, connection_of
from aiflow_ext_yarn.platform import YarnPlatform

Value = str | dict[str, str]


class YarnJob(af.AbstractJob):
    """A job that is an application on YARN."""

    def __init__(self, job_config: YarnJobConfig, bundle: Bundle, connection: Connection) -> None:
        super().__init__(af.JobContext(), job_config)
        self.bundle, self.connection = bundle, connection

    @property
    def config(self) -> YarnJobConfig:
        assert isinstance(self.job_config, YarnJobConfig)
        return self.job_config

    @property
    def context(self) -> af.JobContext:
        assert self.job_context is not None
        return self.job_context

    def attempt(self, native_id: str | None = None) -> Attempt:
        """Its attempt, as the cluster knows it."""
        context = self.context
        return Attempt(
            self.connection, str(native_id or context.native_id), str(context.run_id), str(context.work_folder)
        )

    def folder(self, native_id: str) -> str:
        """The attempt's staging folder."""
        return f"{self.connection.run_folder(str(self.context.run_id))}/{native_id}"

    @property
    def checkpoints(self) -> str | None:
        """The URL that all attempts of the job share; None where the artifacts are not at a URL."""
        url = self.reachable(self.context.artifacts_url or "")
        return f"{url}/checkpoints/{safe_name(str(self.context.job_name))}" if "://" in url else None

    def payload(self) -> bytes:
        """What the runner is given, with its URLs as the nodes reach them."""
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
        if parts.scheme == "webhdfs" and self.connection.kerberos:  # a token says who it is, and is to say it alone
            return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        if parts.scheme != "hdfs":
            return url
        who = "" if self.connection.kerberos else f"{self.connection.user}@"
        return f"webhdfs://{who}{urlsplit(self.connection.namenodes[0]).netloc}{parts.path}"

    def argv(self) -> list[Value]:
        """The job's argument vector, as the application master takes it."""
        if not self.bundle.needs_runner:
            from aiflow_ext.engines.command import one_command

            return list(one_command(self.bundle.command()))
        python = request.python_of(self)
        inside = "/" in python and not python.startswith("/")
        runner = f"{request.BUNDLE}/runtime/run_job.py"
        return [{"path": python} if inside else python, {"path": runner}, {"path": request.PAYLOAD}]

    def local_file(self, source: str) -> Path:
        """A file of ``files`` or ``archives`` on this machine."""
        return Path(self.bundle.project.root, Path(source).expanduser())

    def stamp(self, path: Path) -> str:
        """What tells two states of a local file apart, in a name."""
        stat = path.stat()
        return hashlib.sha256(
            f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}".encode("utf-8", "surrogateescape")
        ).hexdigest()[:16]

    def uri_of(self, source: str) -> str:
        """A URI of ``files`` or ``archives`` as nodes take it; ``hdfs:///path`` is of the cluster's own file system."""
        if source.startswith(("hdfs:///", "webhdfs:///", "swebhdfs:///")):
            return self.connection.uri(urlsplit(source).path)
        return source


class YarnJobPlugin(af.AbstractJobPlugin):
    """Jobs as applications whose one container holds our application master and, as its child, the job."""

    def generate(self, sub_graph: af.AISubGraph, project_desc: af.ProjectDesc) -> YarnJob:
        config = sub_graph.config
        assert isinstance(config, YarnJobConfig)
        bundle = build_bundle(sub_graph, project_desc, self.engine().engine())
        job = YarnJob(config, bundle, connection_of(config))
        problems = [*_secret_problems(sub_graph), *_file_problems(job), *_artifact_problems(job)]
        if problems:
            raise ConfigError(problems=problems)
        request.python_of(job)
        known.note(job)
        return job

    def generate_job_resource(self, job: af.BaseJob) -> None:
        from aiflow_ext_yarn import sending

        sending.stage(_yarn(job))

    def submit_job(self, job: af.BaseJob) -> YarnHandler:
        from aiflow_ext_yarn import sending

        return sending.submit(_yarn(job), self._request(_yarn(job)))

    def stop_job(self, job: af.BaseJob) -> None:
        if _yarn(job).context.native_id is not None:
            _yarn(job).attempt().stop(10.0)

    def cleanup_job(self, job: af.BaseJob) -> None:
        from aiflow_ext_yarn import sending

        sending.cleanup(_yarn(job))

    def job_type(self) -> type[af.BaseJob]:
        return YarnJob

    def job_config_type(self) -> type[af.BaseJobConfig]:
        return YarnJobConfig

    def platform(self) -> type[af.AbstractPlatform]:
        return YarnPlatform

    # -- the second specification -----------------------------------------------------------------------------------

    @af.hookimpl
    def allocate_id(self, job: af.BaseJob) -> str:
        from aiflow_ext_yarn import sending

        return sending.allocate(_yarn(job))

    @af.hookimpl
    def render(self, job: af.BaseJob) -> af.Request:
        return self._request(_yarn(job))

    def _request(self, job: YarnJob) -> af.Request:
        return af.Request("yarn", request.content(job))

    @af.hookimpl
    def lookup(self, native_id: str) -> af.Lookup:
        job = known.job_of(native_id)
        if job is not None:
            return job.attempt(native_id).lookup()
        from aiflow_ext_yarn import sending

        return sending.lookup_anywhere(native_id)

    @af.hookimpl
    def attach(self, job: af.BaseJob, native_id: str) -> YarnHandler:
        from aiflow_ext_yarn import sending

        return sending.attach(_yarn(job), native_id)

    @af.hookimpl
    def watch(self, native_ids: Collection[str], since: str | None) -> Iterator[af.AttemptEvent | None]:
        from aiflow_ext_yarn.watching import watch

        return watch(native_ids)

    @af.hookimpl
    def cleanup_run(self, run: str) -> None:
        from aiflow_ext_yarn import sending

        sending.cleanup_run(run)

    @af.hookimpl
    def check_platform(self) -> Sequence[Problem]:
        from aiflow_ext_yarn.check import check

        return check()


def _yarn(job: af.BaseJob) -> YarnJob:
    assert isinstance(job, YarnJob)
    return job


def _secret_problems(sub_graph: af.AISubGraph) -> Iterator[Problem]:
    for name, value in sub_graph.config.env.items():
        if secrets.is_secret(value) and not str(value["secret"]).startswith(("env:", "file:")):
            yield Problem(
                f"job {sub_graph.name!r}: the secret {value['secret']!r} of variable {name} cannot be read on "
                "platform yarn",
                hint="use env:NAME or file:PATH there",
            )


def _file_problems(job: YarnJob) -> Iterator[Problem]:
    """What is wrong with the local files that are to be sent."""
    ca = job.connection.ca
    if ca is not None and not Path(ca).is_file():
        yield Problem(f"job {job.name!r}: ca names {ca}, which is no file", where=ca,
                      hint="give the file with the certificates of the authorities to trust")  # fmt: skip
    for key, names in (("files", job.config.files), ("archives", job.config.archives)):
        for name, source in names.items():
            if "://" in source:
                if urlsplit(source).scheme not in ("hdfs", "webhdfs", "swebhdfs"):
                    yield Problem(
                        f"job {job.name!r}: {key} has {source} for {name!r}; of a URI on another file system than the "
                        "cluster's own the size and time that YARN wants cannot be asked for",
                        hint="copy it to the cluster's HDFS and give hdfs:///path, or give a local file",
                    )
                suffix = source
            else:
                path = job.local_file(source)
                if not path.is_file():
                    what = "is a folder" if path.is_dir() else "is not there"
                    yield Problem(
                        f"job {job.name!r}: {key} names {source} for {name!r}, which {what}",
                        where=str(path),
                        hint=f"correct {key}.{name} in workflow.yaml; a folder is sent as an archive of it",
                    )
                    continue
                suffix = path.name
                if key == "archives" and suffix.endswith(request.ARCHIVES) and not _is_archive(path):
                    yield Problem(
                        f"job {job.name!r}: archives names {source} for {name!r}, which is no archive, whatever its "
                        "name says",
                        where=str(path),
                        hint="is it complete? tar tf, or unzip -l, shows it",
                    )
            if key == "archives" and not suffix.endswith(request.ARCHIVES):
                yield Problem(
                    f"job {job.name!r}: archives names {source} for {name!r}; YARN unpacks by the name's end, and "
                    f"knows {', '.join(request.ARCHIVES)}",
                    hint="pack it as one of these, or send it under files",
                )


_archives: dict[tuple[str, int, int], bool] = {}


def _is_archive(path: Path) -> bool:
    stat = path.stat()
    key = (str(path), stat.st_mtime_ns, stat.st_size)
    if key not in _archives:
        if path.name.endswith((".zip", ".jar")):
            _archives[key] = zipfile.is_zipfile(path)
        else:
            _archives[key] = tarfile.is_tarfile(path)
    return _archives[key]


def _artifact_problems(job: YarnJob) -> Iterator[Problem]:
    """Data edges whose artifacts the nodes cannot reach."""
    graph, url = job.bundle.sub_graph, job.bundle.project.artifacts
    path = url.removeprefix("file://")
    if "://" in path or any(_below(path, folder) for folder in job.config.shared_folders):
        return
    edges = [f"reads {edge.source}" for edge in graph.inputs] + [f"is read from: {name}" for name in graph.outputs]
    if edges:
        yield Problem(
            f"job {job.name!r} {edges[0]}{' (and more)' if len(edges) > 1 else ''}, and artifacts are kept in {path}, "
            "a folder of this machine, which the nodes of platform yarn do not see",
            hint="let artifacts in project.yaml be a URL that they reach, such as hdfs:///user/me/artifacts; or, where "
            "every node has that folder under the same path, name it under shared_folders",
        )


def _below(path: str, folder: str) -> bool:
    return path == folder.rstrip("/") or path.startswith(f"{folder.rstrip('/')}/")
