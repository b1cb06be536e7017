"""A plugin as AI Flow's own documents write one: their classes, aliases, methods, arguments and annotations."""

# ruff: noqa: RUF013, UP006, UP019, UP035, UP045

import shlex
from subprocess import CalledProcessError, Popen
from typing import Dict, List, Optional, Text

from aiflow_ext import (
    AbstractEngine,
    AbstractJob,
    AbstractJobConfig,
    AbstractJobGenerator,
    AbstractJobHandler,
    AbstractJobPlugin,
    AbstractJobSubmitter,
    AbstractPlatform,
    AIGraph,
    AINode,
    AISubGraph,
    BaseJob,
    BaseJobConfig,
    BaseNode,
    ExecutionMode,
    JobContext,
    Jsonable,
    PeriodicConfig,
    ProjectDesc,
    register_engine,
    register_job_plugin,
    register_platform,
)
from aiflow_ext.engines.bundle import build_bundle

assert AbstractJob is BaseJob
assert AbstractJobConfig is BaseJobConfig
assert issubclass(BaseJob, BaseNode)
assert issubclass(AbstractJobPlugin, AbstractJobGenerator)
assert issubclass(AbstractJobPlugin, AbstractJobSubmitter)
for _type in (AbstractPlatform, AbstractEngine, BaseJobConfig, JobContext, AIGraph, AISubGraph, AINode, ProjectDesc):
    assert issubclass(_type, Jsonable)


class SeedPlatform(AbstractPlatform):
    def __init__(self) -> None:
        super().__init__()

    @staticmethod
    def platform() -> Text:
        return "seed"


class SeedEngine(AbstractEngine):
    def __init__(self) -> None:
        super().__init__()

    @staticmethod
    def engine() -> Text:
        return "cmd_line"


class SeedJobConfig(BaseJobConfig):
    def __init__(
        self,
        platform: Text = None,
        engine: Text = None,
        job_name: Text = None,
        periodic_config: PeriodicConfig = None,
        exec_mode: Optional[ExecutionMode] = ExecutionMode.BATCH,
        properties: Dict[Text, Jsonable] = None,
    ) -> None:
        super().__init__(platform, engine, job_name, periodic_config, exec_mode, properties)


class SeedJob(BaseJob):
    def __init__(self, job_context: JobContext, job_config: BaseJobConfig) -> None:
        super().__init__(job_context, job_config)
        self.exec_cmd: List[Text] = []


class SeedJobHandler(AbstractJobHandler):
    def __init__(self) -> None:
        super().__init__()


class SeedJobPlugin(AbstractJobPlugin):
    def __init__(self) -> None:
        super().__init__()
        self.processes: Dict[Text, Popen] = {}

    # job generator interface
    def generate(self, sub_graph: AISubGraph, project_desc: ProjectDesc) -> AbstractJob:
        nodes: List[AINode] = list(sub_graph.nodes.values())
        assert [node.instance_id for node in nodes] == list(sub_graph.nodes.keys())
        job = SeedJob(job_context=JobContext(), job_config=sub_graph.config)
        job.exec_cmd = [shlex.join(argv) for argv in build_bundle(sub_graph, project_desc, "cmd_line").command()]
        return job

    def generate_job_resource(self, job: AbstractJob) -> None:
        pass

    # job submitter interface
    def submit_job(self, job: AbstractJob) -> AbstractJobHandler:
        config: SeedJobConfig = job.job_config
        if "told" in config.properties:
            print(
                config.platform,
                config.engine,
                config.job_name,
                config.exec_mode,
                config.periodic_config.cron,
                config.properties,
                flush=True,
            )
        process = self.processes[job.instance_id] = Popen(["/bin/sh", "-ec", "\n".join(job.exec_cmd)])
        if process.wait() != 0:
            raise CalledProcessError(process.returncode, job.exec_cmd)
        return SeedJobHandler()

    def stop_job(self, job: AbstractJob):
        if job.instance_id in self.processes:
            self.processes[job.instance_id].terminate()

    def cleanup_job(self, job: AbstractJob):
        pass

    # job type
    def job_type(self) -> type(AbstractJob):
        return SeedJob

    # job config type
    def job_config_type(self) -> type(AbstractJobConfig):
        return SeedJobConfig

    def platform(self) -> type(AbstractPlatform):
        return SeedPlatform

    def engine(self) -> type(AbstractEngine):
        return SeedEngine


register_platform(SeedPlatform)
register_engine(SeedEngine)
register_job_plugin(SeedJobPlugin())
