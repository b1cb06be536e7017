"""Artifacts on HDFS while a NameNode is on standby, in safe mode or away; a refusal before the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_server import Cluster
from hostile_server import Answer, Asked, HostileServer

from aiflow_ext.engines.artifacts import load, save
from aiflow_ext.engines.remote_service import AwayError
from aiflow_ext.model.artifact_record import ArtifactRecord
from aiflow_ext.model.current import AWAY, AWAY_CODE
from aiflow_ext.model.states import JobState
from aiflow_ext_yarn.master.outcome import EXIT, Outcome
from aiflow_ext_yarn.states import event_of


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Cluster, Cluster]]:
    """Two NameNodes of one file system, as a job is told of them."""
    with Cluster() as first, Cluster() as second:
        second.files = first.files
        hosts = f"{first.url.removeprefix('http://')},{second.url.removeprefix('http://')}"
        monkeypatch.setenv("AIFLOW_ARTIFACT_HOSTS", hosts)
        yield first, second


def url_at(cluster: Cluster) -> str:
    return f"{cluster.url.replace('http://', 'webhdfs://ada@')}/artifacts/x"


def test_artifacts_go_to_the_name_node_that_is_active(pair: tuple[Cluster, Cluster], tmp_path: Path) -> None:
    first, second = pair
    first.standby = True
    save(url_at(first), [1, 2])
    first.standby, second.standby = False, True  # a fail-over
    assert load(url_at(first), tmp_path) == [1, 2]


def test_artifacts_wait_for_the_end_of_safe_mode(pair: tuple[Cluster, Cluster], tmp_path: Path) -> None:
    pair[0].unsafe = pair[1].unsafe = 2
    save(url_at(pair[0]), "text")
    assert load(url_at(pair[0]), tmp_path) == "text"
    assert (pair[0].unsafe, pair[1].unsafe) == (0, 0)


def test_a_file_system_that_stays_away_is_not_the_jobs_failure(
    pair: tuple[Cluster, Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair[0].standby = pair[1].standby = True
    monkeypatch.setenv("AIFLOW_ARTIFACT_PATIENCE", "0")
    with pytest.raises(AwayError, match="state standby") as caught:
        save(url_at(pair[0]), "text")
    ended = Outcome(EXIT, exit_code=AWAY_CODE, reason=f"{AWAY}{caught.value}")
    event = event_of("application_1_0001", {"state": "FINISHED", "diagnostics": ended.diagnostics()})
    assert (event.state, event.disruption) == (JobState.FAILED, True)


@pytest.mark.parametrize("of", ["its record", "its value"])
def test_a_file_system_that_sends_a_byte_a_second_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    monkeypatch.setattr("aiflow_ext.engines.remote_service.LONGEST", 1.0)
    record = ArtifactRecord("path", "value.bin", 8, "0" * 64).to_bytes()

    def answer(asked: Asked) -> Answer:
        is_record = ".json" in asked.path
        if "op=GETFILESTATUS" in asked.path:
            length = len(record) if is_record else 8
            status = {"length": length, "type": "FILE", "pathSuffix": "", "blockSize": 1 << 20}
            return Answer(body=json.dumps({"FileStatus": status}).encode())
        if is_record and of == "its value":
            return Answer(body=record)
        return Answer(body=b" " * 10_000, slow=True)

    with HostileServer(answer) as server:
        url = f"{server.url.replace('http://', 'webhdfs://ada@')}/artifacts/x"
        with pytest.raises(AwayError, match=r"has not answered for 1 s|8 bytes have not been transferred in 1 s"):
            load(url, tmp_path)


@pytest.fixture
def passes_artifacts(project: Any) -> Callable[..., Any]:
    """A project of two jobs on a cluster, the second of which reads an artifact of the first."""

    def write(artifacts: str, **config: Any) -> Any:
        (project.root / "project.yaml").write_text(json.dumps({"artifacts": artifacts}))
        body = "with af.job('a'):\n    made = af.python(make)\nwith af.job('b'):\n    af.python(read, made)"
        shared = {"platform": "yarn", "engine": "python", "user": "ada", **config}
        steps = "def make():\n    return 1\n\ndef read(value):\n    pass\n"
        return project.jobs(body, json.dumps({"*": shared, "a": {}, "b": {}}), steps)

    return write


def test_jobs_are_told_of_every_name_node(passes_artifacts: Any, cli: Any) -> None:
    project = passes_artifacts("hdfs:///kept", resource_manager="http://rm:8088",
                               webhdfs=["http://nn1:9870", "http://nn2:9870"])  # fmt: skip
    rendered = json.loads(cli("render", project.root, "--json").stdout)
    assert rendered[0]["content"]["spec"]["env"]["AIFLOW_ARTIFACT_HOSTS"] == "nn1:9870,nn2:9870"


def test_jobs_are_told_of_nodes_without_tls(passes_artifacts: Any, cli: Any) -> None:
    project = passes_artifacts("hdfs:///kept", resource_manager="http://rm:8088", webhdfs="https://nn1:9871",
                               insecure_nodes=["dn1", "dn2"])  # fmt: skip
    rendered = json.loads(cli("render", project.root, "--json").stdout)
    assert rendered[0]["content"]["spec"]["env"]["AIFLOW_ARTIFACT_INSECURE_NODES"] == "dn1,dn2"


def test_a_folder_of_artifacts_that_cannot_be_written_is_told_before_the_run(passes_artifacts: Any, cli: Any) -> None:
    with Cluster() as cluster:
        project = passes_artifacts("hdfs:///read-only/kept", resource_manager=cluster.url, webhdfs=cluster.url)
        done = cli("run", project.root)
        assert done.returncode == 6
        assert "artifacts cannot be kept: user 'ada' may not write /read-only/kept/.check-" in done.stderr
        assert cluster.submitted == []


def test_artifacts_on_the_clusters_file_system_are_removed_by_its_own_client_where_asked(
    passes_artifacts: Any, cli: Any
) -> None:
    """Without fsspec; the fake's jobs make nothing, so that the test makes what they would have."""
    with Cluster() as cluster:
        project = passes_artifacts("hdfs:///kept", resource_manager=cluster.url, webhdfs=cluster.url)
        assert cli("run", project.root).returncode == 0
        (run,) = json.loads(cli("runs", "--project", project.root, "--json").stdout)
        folder = f"/kept/{run['run']}"
        for name in ("a/1/make.json", "a/1/make/value.pkl", "checkpoints/b/1.pt", "mine.txt"):
            cluster.put(f"{folder}/{name}")
        cluster.put("/kept/another/a/1/make.json")
        cluster.read_only = folder
        done = cli("gc", "--project", project.root, "--keep", "0", "--artifacts")
        assert (done.returncode, done.stdout) == (6, ""), done.stderr
        assert f"run {run['run']} stays: user 'ada' may not" in done.stderr
        cluster.read_only = "/read-only/"
        done = cli("gc", "--project", project.root, "--keep", "0", "--artifacts")
        assert (done.returncode, done.stdout) == (0, f"removed {run['run']}\n"), done.stderr
        assert f"hdfs:///kept/{run['run']} stays: no job of the run has made mine.txt there" in done.stderr
        assert {path for path in cluster.files if path.startswith("/kept/")} == {
            f"{folder}/mine.txt", "/kept/another/a/1/make.json"
        }  # fmt: skip
