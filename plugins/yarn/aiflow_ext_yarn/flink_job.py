"""A Flink job as an application on YARN: its program, files and configuration, made offline."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from aiflow_ext.plugin.engines import Bundle
from aiflow_ext_flink.artifacts import names_of, payload
from aiflow_ext_flink.configuration import JVM, QUICK, configuration, jobmanager_sizes, stop_mode
from aiflow_ext_flink.ids import flink_id
from aiflow_ext_flink.program import DRIVERS, MAINS, Program, is_url, python_words
from aiflow_ext_yarn import request
from aiflow_ext_yarn.cluster import Cluster
from aiflow_ext_yarn.flink_application import FlinkApplication
from aiflow_ext_yarn.flink_config import YarnFlinkJobConfig
from aiflow_ext_yarn.flink_libraries import Libraries
from aiflow_ext_yarn.job import YarnJob
from aiflow_ext_yarn.request import Staged

Json = dict[str, Any]
RUN = "aiflow-run.sh"  # the runner's command
# Without the compiler's packages, which a Java that is no JDK does not have.
_OPENED = tuple(each for each in JVM if "jdk.compiler" not in each)


class YarnFlinkJob(YarnJob):
    """A Flink program that runs as an application on YARN.

    Args:
        job_config, bundle, cluster: as of any job on YARN.
        program: what it runs.
        libraries: Flink's, on this machine.
        hadoop_classpath: of the nodes, as HADOOP_CONF_DIR has it; empty where it does not say.
    """

    def __init__(
        self,
        job_config: YarnFlinkJobConfig,
        bundle: Bundle,
        cluster: Cluster,
        program: Program,
        libraries: Libraries,
        hadoop_classpath: str,
    ) -> None:
        super().__init__(job_config, bundle, cluster)
        self.program, self.libraries, self.hadoop_classpath = program, libraries, hadoop_classpath
        self.checkpoint: str | None = None  # of an earlier attempt, from which this one goes on

    @property
    def config(self) -> YarnFlinkJobConfig:
        assert isinstance(self.job_config, YarnFlinkJobConfig)
        return self.job_config

    def application(self) -> FlinkApplication:
        context = self.context
        return FlinkApplication(
            self.cluster,
            str(context.native_id),
            str(context.run_id),
            str(context.work_folder),
            flink_id(context),
            stop_mode(self.config),
            self.has_artifacts,
        )

    def archive(self, native_id: str) -> str:
        """Where Flink writes how the application has ended."""
        return f"{self.folder(native_id)}/{FlinkApplication.ARCHIVE}"

    # -- its artifacts ----------------------------------------------------------------------------------------------

    @property
    def has_artifacts(self) -> bool:
        """Whether it reads or writes artifacts, so that Flink is the command of a runner."""
        return bool(names_of(self.program))

    def exchanged(self, keyword: str, native_id: str) -> str:
        """Where Flink's processes read and write an artifact: in the attempt's staging folder."""
        return f"{self.folder(native_id)}/artifact-{keyword}"

    def payload(self) -> bytes:
        words = [f"{{{keyword}}}" for keyword in names_of(self.program)]
        return payload(super().payload(), self.program, ["/bin/bash", RUN, *words]).encode()

    # -- the program ------------------------------------------------------------------------------------------------

    def options(self) -> list[str]:
        """The jars of Flink's ``opt`` that it needs, without version."""
        return [DRIVERS[self.program.kind]] if self.program.kind in DRIVERS else []

    def program_files(self) -> list[Staged]:
        """The program and what belongs to it. Jars of ``jars`` are on Flink's own class path."""
        program = self.program
        found = [self._file(f"lib/{_name(jar)}", jar) for jar in self.config.jars]
        if program.file is not None and program.kind != "sql":
            found.append(self._file(self._place(program.file), program.file))
        return [*found, *(self._file(_name(each), each) for each in program.py_files)]

    def _place(self, file: str) -> str:
        return f"usrlib/{_name(file)}" if self.program.kind == "jar" else _name(file)

    def _file(self, name: str, source: str) -> Staged:
        if is_url(source):
            return Staged(name, uri=self.uri_of(source), once=True)
        return request.local_file(self, name, self.local_file(source))

    def words(self, native_id: str) -> list[str]:
        """The arguments of the class that Flink runs."""
        program, python = self.program, self.config.python or "python3"
        paths = {keyword: self.cluster.uri(self.exchanged(keyword, native_id)) for keyword in names_of(program)}
        filled = program.filled(paths, self.config.properties)
        if program.kind == "jar":
            return filled.args
        if program.kind == "sql":
            return ["--script", filled.sql or ""] if program.sql is not None else ["--scriptUri", str(program.file)]
        return python_words(python, _name(str(program.file)), [_name(each) for each in program.py_files], filled.args)

    def for_flink(self, url: str) -> str:
        """A URL or path as Flink on the nodes reads it: on the cluster's own file system by its own address."""
        if url.startswith("hdfs://") and not url.startswith("hdfs:///"):
            return url
        path = self.path_of(url) if "://" in url else None
        return url if path is None else self.cluster.uri(path)

    # -- its configuration ------------------------------------------------------------------------------------------

    def configuration(self, native_id: str) -> Json:
        """Flink's configuration, apart from what is YARN's."""
        config, program = self.config, self.program
        found = configuration(
            config,
            flink_id(self.context),
            archive=self.cluster.uri(self.archive(native_id)),
            savepoints=self.kept("savepoints"),
            checkpoints=self.kept("checkpoints"),
            restore_from=self.checkpoint or (config.restore_from and self.for_flink(config.restore_from)),
        )
        found["$internal.application.program-args"] = self.words(native_id)
        main = MAINS.get(program.kind, program.entry_class)
        if main is not None:
            found["$internal.application.main"] = main
        if program.kind == "jar":
            found["pipeline.jars"] = [self._place(str(program.file))]
            found["yarn.classpath.include-user-jar"] = "DISABLED"  # its classes are loaded by Flink, from usrlib
        found.setdefault("env.java.opts.all", " ".join(_OPENED))
        return found

    def kept(self, what: str) -> str:
        """The default folder for ``savepoints`` or ``checkpoints``: beside the artifacts, where they are at a URL; else
        below the user's staging folder, where savepoints outlive the run and checkpoints do not."""
        if self.checkpoints_by_rpc is not None:
            return f"{self.checkpoints_by_rpc}/{what}"
        cluster = self.cluster
        top = cluster.staging if what == "savepoints" else cluster.run_folder(str(self.context.run_id))
        return cluster.uri(f"{top}/{what}/{self.context.job_name}")

    def java_options(self) -> list[str]:
        """Those of the JobManager's Java."""
        heap, _, metaspace = jobmanager_sizes(self.config.jobmanager.memory)
        said = {key: str(self.config.flink.get(f"env.java.opts.{key}", "")).split() for key in ("all", "jobmanager")}
        return [f"-Xmx{heap}", f"-Xms{heap}", f"-XX:MaxMetaspaceSize={metaspace}", *(said["all"] or _OPENED),
                *(said["jobmanager"] or QUICK)]  # fmt: skip


def _name(path: str) -> str:
    return PurePosixPath(urlsplit(path).path if is_url(path) else os.fspath(Path(path))).name
