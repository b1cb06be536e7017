"""The job plugin, which both engines share: a job as an application."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import aiflow_ext.plugin as af
from aiflow_ext.plugin import ConfigError, Problem
from aiflow_ext.plugin.engines import build_bundle
from aiflow_ext_yarn import request
from aiflow_ext_yarn.cluster import cluster_of
from aiflow_ext_yarn.config import YarnJobConfig
from aiflow_ext_yarn.handler import YarnHandler
from aiflow_ext_yarn.job import YarnJob
from aiflow_ext_yarn.job_checks import job_problems
from aiflow_ext_yarn.platform import YarnPlatform


class YarnJobPlugin(af.AbstractJobPlugin):
    """Jobs as applications whose one container runs the application master and, as its child, the job."""

    def generate(self, sub_graph: af.AISubGraph, project_desc: af.ProjectDesc) -> YarnJob:
        config = sub_graph.config
        assert isinstance(config, YarnJobConfig)
        job = self._job(config, sub_graph, project_desc)
        problems = job_problems(job)
        if problems:
            raise ConfigError(problems=problems)
        return job

    def _job(self, config: YarnJobConfig, sub_graph: af.AISubGraph, project_desc: af.ProjectDesc) -> YarnJob:
        job = YarnJob(config, build_bundle(sub_graph, project_desc, self.engine().engine()), cluster_of(config))
        job.python()
        return job

    def generate_job_resource(self, job: af.BaseJob) -> None:
        from aiflow_ext_yarn import lifecycle

        lifecycle.stage(_yarn(job), self._files(_yarn(job)))

    def submit_job(self, job: af.BaseJob) -> YarnHandler:
        from aiflow_ext_yarn import lifecycle

        return lifecycle.submit(_yarn(job), self._request(_yarn(job)), self._files(_yarn(job)))

    def stop_job(self, job: af.BaseJob) -> None:
        if _yarn(job).context.native_id is not None:
            _yarn(job).application().stop(10.0)

    def cleanup_job(self, job: af.BaseJob) -> None:
        from aiflow_ext_yarn import lifecycle

        lifecycle.cleanup(_yarn(job), self._left(_yarn(job)) if _yarn(job).context.native_id is not None else ())

    def job_type(self) -> type[af.BaseJob]:
        return YarnJob

    def job_config_type(self) -> type[af.BaseJobConfig]:
        return YarnJobConfig

    def platform(self) -> type[af.AbstractPlatform]:
        return YarnPlatform

    # -- the optional hooks --------------------------------------------------------------------------------------

    @af.hookimpl
    def allocate_id(self, job: af.BaseJob) -> str:
        from aiflow_ext_yarn import lifecycle

        return lifecycle.allocate(_yarn(job))

    @af.hookimpl
    def render(self, job: af.BaseJob) -> af.Request:
        return self._request(_yarn(job))

    def _request(self, job: YarnJob) -> af.Request:
        return af.Request("yarn", request.content(job))

    def _files(self, job: YarnJob) -> list[request.Staged]:
        """The files of an attempt that has an id, those that are sent once a run first."""
        return request.files(job, str(job.context.native_id))

    def _left(self, job: YarnJob) -> list[str]:
        """What an attempt leaves in its staging folder, besides its markers."""
        return [staged.path for staged in self._files(job) if not staged.once and staged.path is not None]

    @af.hookimpl
    def lookup(self, job: af.BaseJob) -> af.Lookup:
        return _yarn(job).application().lookup()

    @af.hookimpl
    def attach(self, job: af.BaseJob) -> YarnHandler:
        from aiflow_ext_yarn import lifecycle

        return lifecycle.attach(_yarn(job))

    @af.hookimpl
    def watch(self, jobs: Mapping[str, af.BaseJob], since: str | None) -> Iterator[af.AttemptEvent | None]:
        from aiflow_ext_yarn.watch import watch

        return watch(jobs)

    @af.hookimpl
    def cleanup_run(self, run_id: str, jobs: Sequence[af.BaseJob]) -> None:
        from aiflow_ext_yarn import lifecycle

        lifecycle.cleanup_run(run_id, {job.cluster.key: job.cluster for job in map(_yarn, jobs)}.values())

    @af.hookimpl
    def remove_artifacts(self, jobs: Sequence[af.BaseJob], url: str, folders: Sequence[str]) -> list[str] | None:
        from aiflow_ext_yarn import lifecycle

        return lifecycle.remove_artifacts(map(_yarn, jobs), url, folders)

    @af.hookimpl
    def check_platform(self, jobs: Sequence[af.BaseJob]) -> Sequence[Problem]:
        from aiflow_ext_yarn.cluster_checks import check, check_artifacts

        configs = [_yarn(job).config for job in jobs]
        found = check(configs) or check_artifacts(map(_yarn, jobs))
        if not found and any(config.files or config.archives for config in configs):
            from aiflow_ext_yarn.localisation import warn_of_slow_localisation

            warn_of_slow_localisation(map(_yarn, jobs))
        return found


def _yarn(job: af.BaseJob) -> YarnJob:
    assert isinstance(job, YarnJob)
    return job
