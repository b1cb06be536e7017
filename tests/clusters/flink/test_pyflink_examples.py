"""PyFlink's own examples, unchanged, as jobs of ``local.flink``: those that submit one Flink job and need no server.

They are those of the package ``apache-flink``, which needs all of its dependencies to execute Python functions.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import flink_install
import pytest

from tests.helpers import flink_jvm

pytestmark = pytest.mark.thorough
# With words that each of them prints.
END = {
    "datastream/basic_operations.py": '\'{"name": "Flink", "tel": 124',
    "datastream/event_time_timer.py": "('Alice', 163.2",
    "datastream/process_json_data.py": "{'name': 'hello', 'tel': 136",
    "datastream/state_access.py": "('Bob', 86.3",
    "datastream/windowing/session_with_dynamic_gap_window.py": "(hi,1,30,7)",
    "datastream/windowing/session_with_gap_window.py": "(hi,15,20,1)",
    "datastream/windowing/sliding_time_window.py": "(hi,2,7,4)",
    "datastream/windowing/tumbling_count_window.py": "(hi,4)",
    "datastream/windowing/tumbling_time_window.py": "(hi,0,5,4)",
    "datastream/word_count.py": "(Ophelia!--Nymph,,1)",
    "table/mixing_use_of_datastream_and_table.py": "+I[",
    "table/multi_sink.py": "+I[3, Flink]",
    "table/pandas/conversion_from_dataframe.py": "[1000 rows x 2 columns]",
    "table/pandas/pandas_udaf.py": "+I[Bob, 16.1,",
    "table/process_json_data.py": "+I[4, China]",
    "table/process_json_data_with_udf.py": "+I[",
    "table/windowing/over_window.py": "+I[",
    "table/windowing/session_window.py": "+I[",
    "table/windowing/sliding_window.py": "+I[",
    "table/windowing/tumble_window.py": "+I[",
    "table/word_count.py": "+I[",
}
NO_BATCH = ("table/windowing/session_window.py",)  # Flink has no such windows in a batch
GO_ON = ("datastream/streaming_word_count.py", "table/streaming_word_count.py")
LEFT_OUT = {
    "datastream/asyncio/remote_model_inference.py": "asks a server for a model's answers",
    "datastream/connectors/elasticsearch.py": "writes to an Elasticsearch, with a connector that is not in the package",
    "datastream/connectors/kafka_avro_format.py": "reads from and writes to a Kafka, likewise",
    "datastream/connectors/kafka_bytearray_format.py": "the same",
    "datastream/connectors/kafka_csv_format.py": "the same",
    "datastream/connectors/kafka_json_format.py": "the same",
    "datastream/connectors/kafka_row_field_extractor_example.py": "the same",
    "datastream/connectors/pulsar.py": "reads from and writes to a Pulsar, likewise",
    "table/async/async_scalar_function.py": "submits two Flink jobs",
    "table/basic_operations.py": "submits several Flink jobs",
}


@pytest.fixture(scope="module")
def whole(no_cluster) -> Path:
    if shutil.which("java") is None:
        no_cluster("Flink needs Java: install openjdk-17-jre-headless")
    return flink_install.whole_pyflink()


@pytest.fixture
def jobs(project, whole):
    """Writes a project of a job for each of these examples; returns their names."""

    def write(examples, exec_mode: str) -> list[str]:
        shutil.copytree(whole / "pyflink" / "examples", project.root / "examples")
        names = [each.removesuffix(".py").replace("/", "-") for each in examples]
        lines = [f"with af.job({name!r}): af.flink(python='examples/{each}')"
                 for name, each in zip(names, examples, strict=True)]  # fmt: skip
        env = {"FLINK_HOME": str(whole / "pyflink"), "PYTHONPATH": str(whole), **flink_jvm.ENV}
        shared = {"platform": "local", "engine": "flink", "env": env, "python": flink_install.interpreter(),
                  "exec_mode": exec_mode, "flink": flink_jvm.PATIENT}  # fmt: skip
        project.jobs("\n".join(lines), json.dumps({"*": shared}))
        return names

    return write


def test_each_example_of_the_package_is_on_one_of_the_lists(whole):
    examples = whole / "pyflink" / "examples"
    there = sorted(each.relative_to(examples).as_posix() for each in examples.rglob("*.py"))
    assert there == sorted([*END, *GO_ON, *LEFT_OUT])


@pytest.mark.parametrize("example", END)
def test_one_that_ends_is_finished_and_has_printed_its_result(jobs, project, run_json, example):
    jobs([example], "STREAM" if example in NO_BATCH else "BATCH")
    (found,) = run_json(project)["jobs"].values()
    assert (found["state"], found["reason"]) == ("FINISHED", None)
    folder = Path(found["attempts"][0]["folder"])
    assert END[example] in (folder / "stdout").read_text() + (folder / "stderr").read_text()


def test_those_that_go_on_run_until_they_are_stopped(jobs, project, begin, until, cli):
    for name in jobs(GO_ON, "STREAM"):
        run = begin(project, "--only", name)
        until(run, name, lambda job: job["state"] == "RUNNING")
        assert cli("stop", run, name, "--project", project.root).returncode == 0
        assert until(run, name, lambda job: job["state"] == "STOPPED")["reason"].startswith(
            "stopped with the savepoint"
        )
