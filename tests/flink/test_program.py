"""``af.flink`` and what is checked of a program before a run: files, classes, keywords, properties."""

from __future__ import annotations

import os
import tracemalloc
import zipfile
from pathlib import Path

import pytest

import aiflow_ext as af
import aiflow_ext_flink.authoring
from aiflow_ext.model.errors import AiflowError, CodeError, GraphError
from aiflow_ext.model.graph import AIGraph, AISubGraph, OutputFile
from aiflow_ext.translate.check import check_graph
from aiflow_ext.translate.split import split
from aiflow_ext_flink.config import FlinkKeys, JobManager, TaskManagers
from aiflow_ext_flink.configuration import configuration, stop_mode, taskmanager_sizes
from aiflow_ext_flink.ids import flink_id
from aiflow_ext_flink.program import Program, program_of


class Config(FlinkKeys, af.BaseJobConfig):
    """The config of a platform."""


def graph_of(build) -> AIGraph:
    return af.workflow(build).build()


def sub_graph_of(**flink) -> AISubGraph:
    def build():
        with af.job("count"):
            af.flink(**flink)

    made = split(graph_of(build)).sub_graphs["count"]
    made.config = Config(properties={"alpha": 3, "deep": {"on": True}})
    return made


def program(root: Path, **flink) -> Program:
    return program_of(sub_graph_of(**flink), af.ProjectDesc(root=str(root)))


def problems(root: Path, **flink) -> str:
    with pytest.raises(CodeError) as caught:
        program(root, **flink)
    assert all(each.where and each.where.startswith(f"{__file__}:") for each in caught.value.problems)
    return str(caught.value)


def make_jar(path: Path, *classes: str, main: str | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as jar:
        manifest = f"Manifest-Version: 1.0\r\n{f'Main-Class: {main}' if main else ''}\r\n\r\n"
        jar.writestr("META-INF/MANIFEST.MF", manifest)
        for each in classes:
            jar.writestr(f"{each.replace('.', '/')}.class", b"")
    return path


def test_the_distribution_of_an_engine_adds_its_authoring_function():
    assert af.flink is aiflow_ext_flink.authoring.flink
    with pytest.raises(AttributeError, match="no attribute 'flnk': did you mean 'flink'"):
        _ = af.flnk


def test_a_flink_node_reads_and_writes_by_keyword(tmp_path):
    def build():
        with af.job("make"):
            data = af.cmd("echo > {out}", out=af.output("data.csv"))
        with af.job("count"):
            counts = af.flink(sql="INSERT INTO '{out}' SELECT '{data}', {n}", data=data, n=3, out=af.output("counts"))
        with af.job("show"):
            af.cmd("cat {counts}", counts=counts)

    graph = graph_of(build)
    assert check_graph(graph) == []
    parts = split(graph).sub_graphs
    assert [(edge.source, edge.output) for edge in parts["show"].inputs] == [("count/flink", "out")]
    made = program_of(parts["count"], af.ProjectDesc(root=str(tmp_path)))
    context = af.JobContext("r", "count", 1, artifacts_url="/a/r", inputs={"make/cmd/out": "/a/r/make/1/cmd.out"})
    assert made.inputs(parts["count"], context) == {"data": "/a/r/make/1/cmd.out"}
    assert made.output_urls(context) == {"out": "/a/r/count/1/flink.out"}
    assert made.where == f"{__file__}:{build.__code__.co_firstlineno + 4}"
    filled = made.filled({"data": "/it's", "out": "/o"}, {})
    assert filled.sql == "INSERT INTO '/o' SELECT '/it''s', 3", "a quote in a value is doubled in SQL"


def test_an_output_that_is_not_there_and_one_that_is_there_twice_are_named():
    def build():
        with af.job("count"):
            counts = af.flink(sql="SELECT 1")
            both = af.flink(sql="{a}{b}", a=af.output("x"), b=af.output("x"))
        with af.job("show"):
            af.cmd("cat {x} {y}", x=counts, y=both["c"])

    said = "\n".join(map(str, check_graph(graph_of(build))))
    assert "reads node 'flink' (flink), which writes no file" in said
    assert "af.flink(..., out=af.output(" in said
    assert "both called 'x'" in said
    assert "has no output 'c'" in said


def test_arguments_are_words_with_names_and_properties_put_in(tmp_path):
    make_jar(tmp_path / "job.jar", "com.acme.Main", main="com.acme.Main")
    made = program(
        tmp_path,
        jar="job.jar",
        args=["--in={data}", "{properties.alpha}{properties.deep.on}", "{other}", 7, True, Path("/p q")],
        data=["a b", 1],
    )
    assert made.filled({}, {"alpha": 3, "deep": {"on": True}}).args == [
        '--in=["a b", 1]', "3true", "{other}", "7", "true", "/p q",
    ]  # fmt: skip
    assert (made.file, made.relative) == (str(tmp_path / "job.jar"), "job.jar")


def test_mistakes_in_a_program_are_named_together_with_their_place(tmp_path):
    make_jar(tmp_path / "job.jar", "com.acme.Main", "com.acme.Main$Inner")
    said = problems(tmp_path, jar="job.jar", entry_class="com.acme.Mian", args=["{properties.beta}"], unused=1)
    assert "has no class 'com.acme.Mian'" in said
    assert "did you mean 'com.acme.Main'?" in said
    assert "does not use its keyword 'unused'" in said
    assert "uses {properties.beta}, which job 'count' lacks" in said
    assert "the job's properties are 'alpha', 'deep'" in said


def test_a_jar_names_its_class_or_the_author_does(tmp_path):
    make_jar(tmp_path / "bare.jar", "com.acme.Main")
    make_jar(tmp_path / "wrong.jar", "com.acme.Main", main="org.other.Main")
    (tmp_path / "text.jar").write_text("no zip")
    assert "names no Main-Class in its manifest" in problems(tmp_path, jar="bare.jar")
    assert "'org.other.Main', which its manifest names" in problems(tmp_path, jar="wrong.jar")
    assert "text.jar of node 'flink' in job 'count' cannot be read" in problems(tmp_path, jar="text.jar")
    assert program(tmp_path, jar="bare.jar", entry_class="com.acme.Main").entry_class == "com.acme.Main"


@pytest.mark.parametrize("kind", ["fifo", "endless", "folder", "damaged", "large manifest"])
def test_a_file_that_is_none_is_named_and_not_waited_for(tmp_path, kind):
    path = tmp_path / "job.jar"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "damaged":
        made = make_jar(path, "com.acme.Main").read_bytes()
        path.write_bytes(made.replace(b"PK\x03\x04", b"PK\x03\x05"))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as jar:
            jar.writestr("META-INF/MANIFEST.MF", b"Main-Class: " + b"a" * (64 << 20))
    words = "has no class" if kind == "large manifest" else "cannot be read"
    tracemalloc.start()
    try:
        assert words in problems(tmp_path, jar="job.jar")
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
    if kind in ("fifo", "endless", "folder"):
        path.rename(tmp_path / "job.sql")
        assert "job.sql of node 'flink' cannot be read" in problems(tmp_path, sql="job.sql")


def test_files_that_are_not_there_are_named_and_urls_are_the_cluster_s(tmp_path):
    assert f"is not there: jobs/job.py\n    it is looked for in {tmp_path}" in problems(tmp_path, python="jobs/job.py")
    (tmp_path / "job.py").write_text("")
    assert "a file of py_files" in problems(tmp_path, python="job.py", py_files=["lib"])
    assert "the sql file" in problems(tmp_path, sql="job.sql")
    assert program(tmp_path, jar="hdfs://n/job.jar").file == "hdfs://n/job.jar"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "none of them is given"),
        ({"jar": "a.jar", "sql": "SELECT 1"}, "jar and sql are given"),
        ({"python": "a.py", "entry_class": "A"}, "entry_class of af.flink is for jar= alone"),
        ({"jar": "a.jar", "py_files": ["b"]}, "py_files of af.flink is for python= alone"),
        ({"jar": "a.jar", "args": "--x"}, "args of af.flink is a list"),
        ({"sql": "SELECT 1", "args": ["x"]}, "SQL has no arguments"),
        ({"jar": 3}, "jar= of af.flink is a path"),
        ({"jar": "a.jar", "args": [OutputFile("x")]}, "is a text or a number"),
    ],
)
def test_a_call_that_cannot_be_meant_so_is_refused_where_it_is(given, words):
    def build():
        with af.job("count"):
            af.flink(**given)

    with pytest.raises(GraphError, match=words) as caught:
        graph_of(build)
    assert caught.value.problems[0].where == f"{__file__}:{build.__code__.co_firstlineno + 2}"


def test_outside_of_a_workflow_it_says_so():
    with pytest.raises(AiflowError, match=r"af\.flink was called outside a workflow"):
        af.flink(sql="SELECT 1")


def test_a_job_runs_one_program(tmp_path):
    def build():
        with af.job("count"):
            af.flink(sql="SELECT 1")
            af.flink(sql="SELECT 2")

    part = split(graph_of(build)).sub_graphs["count"]
    with pytest.raises(CodeError, match="job 'count' has 2 programs; a flink job runs one"):
        program_of(part, af.ProjectDesc(root=str(tmp_path)))


def test_keys_are_checked():
    config = Config(jobmanager=JobManager("1Gi"), taskmanagers=TaskManagers(2, 3), flink={"a.b": 1})
    assert (config.jobmanager.memory, config.taskmanagers.count) == (1 << 30, 2)
    for words, keys in (
        ("'rest.port' is the platform's to give", {"flink": {"rest.port": 1}}),
        ("given by the key savepoints", {"flink": {"execution.checkpointing.savepoint-dir": "/x"}}),
        ("an internal key", {"flink": {"$internal.application.id": "x"}}),
        ("parallelism must be at least 1", {"parallelism": 0}),
        ("parallelism must be at most 32768", {"parallelism": 10**400}),
        ("jobmanager must be host:port", {"jobmanager": "http://flink"}),
        ("session cluster has its own ones", {"jobmanager": "flink:8081", "taskmanagers": TaskManagers()}),
    ):
        with pytest.raises(ValueError, match=words):
            Config(**keys)
    with pytest.raises(ValueError, match="at least 640Mi"):
        JobManager("100Mi")


def test_the_id_is_the_attempt_s_own_and_the_same_every_time():
    first = flink_id(af.JobContext("run", "job", 1))
    assert len(first) == 32
    assert int(first, 16)
    assert first == flink_id(af.JobContext("run", "job", 1))
    assert len({first, flink_id(af.JobContext("run", "job", 2)), flink_id(af.JobContext("run", "jo", 1))}) == 3


def test_the_cluster_s_configuration_has_the_job_s_keys():
    folders = {"archive": "/archive", "savepoints": "/sp", "checkpoints": "/cp"}
    config = Config(exec_mode=af.ExecutionMode.STREAM, flink={"state.backend.type": "rocksdb"}, checkpoints="/mine")
    found = configuration(config, "a" * 32, **folders, restore_from="/sp/1")
    assert found["state.backend.type"] == "rocksdb"
    assert found["execution.checkpointing.dir"] == "/mine"
    assert found["$internal.pipeline.job-id"] == "a" * 32
    assert found["execution.state-recovery.path"] == "/sp/1"
    batch = configuration(Config(taskmanagers=TaskManagers(2, 2)), "a" * 32, **folders, restore_from=None)
    assert found["execution.submit-failed-job-on-application-error"] is True, "else Flink takes a second job"
    assert "$internal.pipeline.job-id" not in batch, "a batch program may submit several jobs"
    assert "execution.submit-failed-job-on-application-error" not in batch
    assert batch["parallelism.default"] == 4
    drains = Config(exec_mode=af.ExecutionMode.STREAM, on_stop="drain")
    assert (stop_mode(config), stop_mode(Config()), stop_mode(drains)) == ("savepoint", "cancel", "drain")


@pytest.mark.parametrize("mib", [896, 1024, 1728, 4096])
def test_the_parts_of_a_taskmanager_s_memory_add_up(mib):
    keys, (heap, direct, metaspace) = taskmanager_sizes(mib << 20)
    sizes = {key: int(value.split()[0]) for key, value in keys.items()}
    assert min(heap, direct, metaspace, *(size for key, size in sizes.items() if "off-heap" not in key)) > 0
    assert sum(size for key, size in sizes.items() if not key.endswith("min")) == mib << 20
