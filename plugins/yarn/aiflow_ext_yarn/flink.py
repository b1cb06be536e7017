"""Job plugin ``yarn.flink``."""

from __future__ import annotations

from collections.abc import Sequence

import aiflow_ext.plugin as af
from aiflow_ext.plugin import ConfigError, Problem
from aiflow_ext.plugin.engines import Bundle, build_bundle
from aiflow_ext_flink.artifacts import names_of
from aiflow_ext_flink.engine import FlinkEngine
from aiflow_ext_flink.program import Program, program_of
from aiflow_ext_yarn import flink_request
from aiflow_ext_yarn.cluster import cluster_of
from aiflow_ext_yarn.config import YarnJobConfig
from aiflow_ext_yarn.flink_artifacts import BESIDE
from aiflow_ext_yarn.flink_checks import check, key_problems
from aiflow_ext_yarn.flink_config import YarnFlinkJobConfig
from aiflow_ext_yarn.flink_job import YarnFlinkJob
from aiflow_ext_yarn.flink_libraries import Libraries, home, libraries
from aiflow_ext_yarn.hadoop import hadoop_conf
from aiflow_ext_yarn.job import YarnJob
from aiflow_ext_yarn.plugin import YarnJobPlugin
from aiflow_ext_yarn.request import Staged


class YarnFlinkJobPlugin(YarnJobPlugin):
    """Runs a Flink program on a cluster of its own, whose JobManager is the application master."""

    def _job(self, config: YarnJobConfig, sub_graph: af.AISubGraph, project_desc: af.ProjectDesc) -> YarnFlinkJob:
        assert isinstance(config, YarnFlinkJobConfig)
        conf, program, engine = hadoop_conf(), program_of(sub_graph, project_desc), self.engine().engine()
        artifacts = bool(names_of(program))
        config.beside = BESIDE if artifacts else 0
        job = YarnFlinkJob(
            config,
            build_bundle(sub_graph, project_desc, engine) if artifacts else Bundle(sub_graph, project_desc, engine),
            cluster_of(config, conf),
            program,
            _libraries(config, program, sub_graph.name, project_desc.root),
            conf.get("yarn.application.classpath"),
        )
        check(job)
        return job

    def generate_job_resource(self, job: af.BaseJob) -> None:
        from aiflow_ext_yarn.flink_folders import latest, prepare

        _flink(job).checkpoint = latest(_flink(job))
        super().generate_job_resource(job)
        prepare(_flink(job))

    def _request(self, job: YarnJob) -> af.Request:
        return af.Request("yarn", flink_request.content(_flink(job)))

    def _files(self, job: YarnJob) -> list[Staged]:
        return flink_request.files(_flink(job), str(job.context.native_id))

    def _left(self, job: YarnJob) -> list[str]:
        flink, native_id = _flink(job), str(job.context.native_id)
        exchanged = [flink.exchanged(keyword, native_id) for keyword in names_of(flink.program)]
        return [*super()._left(job), flink.archive(native_id), *exchanged]

    @af.hookimpl
    def check_platform(self, jobs: Sequence[af.BaseJob]) -> Sequence[Problem]:
        from aiflow_ext_yarn.flink_folders import restore_problem

        return super().check_platform(jobs) or [*filter(None, map(restore_problem, map(_flink, jobs)))]

    def job_type(self) -> type[af.BaseJob]:
        return YarnFlinkJob

    def job_config_type(self) -> type[af.BaseJobConfig]:
        return YarnFlinkJobConfig

    def engine(self) -> type[af.AbstractEngine]:
        return FlinkEngine


def _libraries(config: YarnFlinkJobConfig, program: Program, name: str, root: str) -> Libraries:
    """Flink's libraries on this machine. Where there are none, ConfigError has what else is wrong with the keys, too;
    of a job that asks for a session cluster that alone."""
    try:
        return libraries(*home(config.flink_home, root))
    except ConfigError as error:
        mistakes = list(key_problems(name, config, program))
        raise ConfigError(problems=mistakes if config.session is not None else [*mistakes, *error.problems]) from error


def _flink(job: af.BaseJob) -> YarnFlinkJob:
    assert isinstance(job, YarnFlinkJob)
    return job
