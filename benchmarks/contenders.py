"""aiflow-ext as a contender: name this file in BENCH_EXTRA (see ../shared/bench/README.md); it adds to those tables."""

# ruff: noqa: F821
import os
import pathlib

# The checkout that is measured; its plugins environment gets it installed, not linked.
REPOSITORY = os.environ.get("AIFLOW_EXT_REPOSITORY") or str(pathlib.Path(_extra).resolve().parents[1])

ENVS["plugins"].append(REPOSITORY)

JOB_PLUGINS = "found = len([record for record in af.plugins({}) if record.kind == 'job_plugin'])"
DISCOVERY["list"]["aiflow-ext warm"] = "import aiflow_ext as af\n" + JOB_PLUGINS.format("")
DISCOVERY["list"]["aiflow-ext, no index"] = "import aiflow_ext as af\n" + JOB_PLUGINS.format("refresh=True")
DISCOVERY["one"]["aiflow-ext warm"] = (
    "import aiflow_ext as af\nfound = len([af.PluginHost().resolve('p' + NAME, 'bench')])"
)

IMPORTS += [("plugins", "aiflow_ext"), ("plugins", "aiflow_ext.host.host")]


def resolved_plugin(others=0, extension=False):
    """A job plugin as a driver holds it, with so many other ones registered beside it."""
    import aiflow_ext as af

    def classes(name):
        class Platform(af.AbstractPlatform):
            @staticmethod
            def platform():
                return name

        class Engine(af.AbstractEngine):
            @staticmethod
            def engine():
                return "bench"

        @af.register_job_plugin
        class Plugin(af.AbstractJobPlugin):
            def generate(self, sub_graph, project_desc):
                return af.AbstractJob()

            def generate_job_resource(self, job):
                pass

            def submit_job(self, job):
                return job

            def stop_job(self, job):
                pass

            def cleanup_job(self, job):
                pass

            def job_type(self):
                return af.AbstractJob

            def job_config_type(self):
                return af.AbstractJobConfig

            def platform(self):
                return Platform

            def engine(self):
                return Engine

    for number in range(others + 1):
        classes(f"bench{number}")
    host = af.PluginHost()
    for number in range(others + 1):
        resolved = host.resolve(f"bench{number}", "bench")
    if extension:

        class Wrapper:
            @af.hookimpl(wrapper=True)
            def submit_job(self, job):
                return (yield)

        resolved.wrap([("bench", {"submit_job": (Wrapper().submit_job, Wrapper.submit_job.aiflow_ext_impl)})])
    return (lambda: resolved.hook.submit_job(job=1)), 1


HOOKS["aiflow-ext resolved plugin"] = resolved_plugin
HOOKS["aiflow-ext resolved plugin, 300 others"] = lambda: resolved_plugin(300)
HOOKS["aiflow-ext resolved plugin, 1 extension wrapping"] = lambda: resolved_plugin(extension=True)


@split("aiflow-ext", "plugins")
def aiflow_ext_split(graph):
    """The graph as authoring leaves it, split into subgraphs and the edges between jobs."""
    import time

    from aiflow_ext.model.graph import AIGraph, AINode, ControlEdge, DataEdge
    from aiflow_ext.translate.split import split

    start = time.perf_counter()
    built = AIGraph("bench")
    names = [f"j{graph.job_of(number)}/n{number}" for number in range(graph.nodes)]
    for number, name in enumerate(names):
        built.add_node(AINode("python", {}, f"n{number}", name, f"j{graph.job_of(number)}"))
    for reader, source in graph.data_edges:
        built.add_edge(DataEdge(names[source], names[reader]))
    for waits, source in graph.control_edges:
        built.add_edge(ControlEdge(f"j{graph.job_of(source)}", f"j{graph.job_of(waits)}"))
    split_start = time.perf_counter()
    parts = split(built)
    done = time.perf_counter()
    return split_start - start, {"split": done - split_start}, len(parts.sub_graphs), len(parts.edges)


ENVS["local"] = [REPOSITORY, str(pathlib.Path(REPOSITORY, "plugins", "local"))]


@job("aiflow-ext", env="local", note="run_project, one workflow of that many jobs")
def aiflow_ext_jobs(concurrency, work, count):
    import aiflow_ext as af

    def project(name, count):
        folder = work / name
        folder.mkdir()
        lines = "".join(f"    with af.job('j{number}'): af.cmd({TRUE!r})\n" for number in range(count))
        (folder / "workflow.py").write_text(f"import aiflow_ext as af\n@af.workflow\ndef bench():\n{lines}")
        config = "".join(f"j{number}: {{}}\n" for number in range(count))
        (folder / "workflow.yaml").write_text(f'"*": {{platform: local, engine: cmd_line}}\n{config}')
        return folder

    def run(folder):
        record = af.run_project(folder, jobs=concurrency)
        assert record.state == "FINISHED", record.state

    run(project("first", 1))  # as the others run some jobs before the clock starts
    whole = project("project", count)
    yield Batch(lambda: run(whole))
