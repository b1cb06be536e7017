"""Platform ``shapes``, one engine for each thing that an entry point may lead to, and for each kind of config."""

import enum
import os
import pathlib
import sys

import attrs

import aiflow_ext as af


class Shapes(af.AbstractPlatform):
    @staticmethod
    def platform():
        return "shapes"


def engine_called(name):
    class Engine(af.AbstractEngine):
        @staticmethod
        def engine():
            return name

    return Engine


class Mode(enum.Enum):
    FAST = "fast"
    SLOW = "slow"


class Word(str):
    """A string of the author's own kind."""


class PlainConfig(af.AbstractJobConfig):
    limit = 7  # a class attribute is no key

    def __init__(self, size: int, mode: Mode | None = None, home: pathlib.Path | None = None, tags: list[str] = ()):
        self.size, self.mode, self.home, self.tags, self.word = size, mode, home, tags, Word("x")


class PositionalConfig(af.AbstractJobConfig):
    def __init__(self, platform, engine, job_name=None, properties=None, queue: str = "default"):
        super().__init__(platform, engine, job_name, None, af.ExecutionMode.BATCH, properties)
        self.queue = queue


class ClashingConfig(af.AbstractJobConfig):
    """Has common keys as parameters of its own."""

    def __init__(self, timeout: int = 30, env: dict[str, str] | None = None):
        self.limit, self.variables = timeout, env


@attrs.define
class AttrsConfig(af.AbstractJobConfig):
    size: int = 1
    words: list[str] = attrs.field(factory=list)


class Job(af.AbstractJob):
    def __init__(self, context, config, nodes):
        super().__init__(context, config)
        self.nodes = nodes


class Base(af.AbstractJobPlugin):
    config_type, engine_type = af.AbstractJobConfig, None

    def generate(self, sub_graph, project_desc):
        # As the seed's own graphs were used: a mapping by instance id, and a sequence.
        for node in sub_graph.nodes.values():
            assert node.properties is not None
        nodes = [(node.kind, dict(node.properties)) for node in sub_graph.nodes]
        print("printed by generate")
        config = sub_graph.config
        if attrs.has(type(config)):
            config = attrs.evolve(config, size=7)
        job = Job(af.JobContext(), config, nodes)
        job.taken = sub_graph.config.properties.pop("taken", "gone")
        return job

    def generate_job_resource(self, job):
        self.prepared = job

    def submit_job(self, job):
        assert self.prepared is job
        config = af.Jsonable.to_json(job.job_config)
        shown = {name: str(value) for name, value in config.items()}
        kinds = {name: type(value).__name__ for name, value in config.items()}
        context = job.job_context.to_json()
        print(af.dumps({"config": shown, "kinds": kinds, "nodes": job.nodes, "context": context, "taken": job.taken}))

    def stop_job(self, job):
        pass

    def cleanup_job(self, job):
        pass

    def job_type(self):
        return Job

    def job_config_type(self):
        return self.config_type

    def platform(self):
        return Shapes

    def engine(self):
        return self.engine_type


class FromClass(Base):
    config_type, engine_type = PlainConfig, engine_called("klass")


class FromInstance(Base):
    config_type, engine_type = AttrsConfig, engine_called("instance")


class FromFactory(Base):
    """Offers something of the optional hooks without being durable."""

    config_type = ClashingConfig

    def __init__(self, engine):
        self.engine_type = engine

    @af.hookimpl
    def check_platform(self, jobs):
        return [os.environ["SHAPES_DOWN"]] if "SHAPES_DOWN" in os.environ else []

    @af.hookimpl
    def render(self, job):
        return af.Request("shape", {"limit": job.job_config.limit})

    @af.hookimpl
    def cleanup_run(self, run_id, jobs):
        print(f"run {run_id} is over", file=sys.stderr)


class Positional(Base):
    config_type, engine_type = PositionalConfig, engine_called("sql")


instance = FromInstance()


def factory():
    return FromFactory(engine_called("factory"))
