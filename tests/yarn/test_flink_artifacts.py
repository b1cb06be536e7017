"""Artifacts of a Flink job on YARN. The container's script and aiflow-ext's runner are the real ones; ResourceManager,
NameNode and Java are fakes: Hadoop's shell copies below a folder, and Flink is a line of shell."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cluster_server import Cluster
from interrupted import PATIENCE, driven, until

from aiflow_ext.run import prepare_run
from aiflow_ext_yarn.flink_application import KEEPING, NOT_KEPT

GRAPH = """\
with af.job("words"): words = af.cmd("mkdir {w} && echo b > {w}/1 && echo a > {w}/2", w=af.output("w"))
with af.job("a"):
    found = af.flink(jar="job.jar", entry_class="com.acme.Main", args=["{words}", "{out}"], words=words,
                     out=af.output("o"))
with af.job("read"): af.cmd("cat {found}/*", found=found)
"""
SORTS = 'mkdir "$out" && cat "$words"/* | sort > "$out/part"'
JAVA = """\
#!/bin/bash
words={hdfs}/artifact-words out={hdfs}/artifact-out
case "$*" in
*FsShell*)
    while [ "$1" != org.apache.hadoop.fs.FsShell ]; do shift; done
    while [[ $1 != -[mpgt]* ]]; do shift; done
    how=$1
    [ "$how $2" = "-put -f" ] && shift
    from={hdfs}/${{2##*/}} to={hdfs}/${{3##*/}}
    case $how in
    -put) cp -r "$2" "$to" ;;
    -get) cp -r "$from" "$3" ;;
    -test) [ -e "$to" ] ;;
    esac
    ;;
*) {program} ;;
esac
"""


class Node:
    """Runs the containers of Flink's applications, as processes of this machine.

    Args:
        cluster: of which.
        folder: of the test's own.
        program: what Flink does, as shell commands, with the paths ``$words`` and ``$out``.
    """

    def __init__(self, cluster: Cluster, folder: Path, program: str) -> None:
        self.cluster, self.folder, self.program, self.codes = cluster, folder, program, list[int]()
        self.java = folder / "java"
        (self.java / "bin").mkdir(parents=True)
        self.gate = threading.Event()
        self.gate.set()
        cluster.container = self._run

    def _run(self, native_id: str) -> None:
        place, hdfs = self.folder / native_id, self.folder / f"{native_id}-hdfs"
        for each in (place, hdfs):
            each.mkdir()
        (self.java / "bin" / "java").write_text(JAVA.format(hdfs=hdfs, program=self.program))
        (self.java / "bin" / "java").chmod(0o755)
        staging = next(path.rpartition("/")[0] for path in self.cluster.files if path.endswith(f"/{native_id}/started"))
        for path, content in list(self.cluster.files.items()):
            name = path.rpartition("/")[2]
            if path.startswith(f"{staging}/") and "/archive/" not in path:
                (place / name).write_bytes(content)
            elif name.startswith("project-"):
                with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                    archive.extractall(place / "bundle")
        done = subprocess.run(["/bin/bash", "aiflow-start.sh"], cwd=place, capture_output=True, text=True,
                              timeout=PATIENCE, env={"PATH": os.environ["PATH"]})  # fmt: skip
        self.codes.append(done.returncode)
        self.gate.wait(PATIENCE)
        if (hdfs / "ended").exists():
            self.cluster.add(f"{staging}/ended", (hdfs / "ended").read_bytes())


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as started:
        yield started


@pytest.fixture
def written(project: Any, cluster: Cluster, tmp_path: Path) -> Callable[..., tuple[Path, Node]]:
    """Writes the project, and makes a node where Flink does what ``program`` says."""

    def write(program: str, graph: str = GRAPH, **keys: Any) -> tuple[Path, Node]:
        node = Node(cluster, tmp_path / "node", program)
        home = tmp_path / "flink" / "lib"
        home.mkdir(parents=True)
        for path, name in ((home / "flink-dist-2.3.0.jar", "x"), (project.root / "job.jar", "com/acme/Main.class")):
            with zipfile.ZipFile(path, "w") as jar:
                jar.writestr(name, b"")
        kept = f"webhdfs://ada@{urlsplit(cluster.url).netloc}/kept"
        (project.root / "project.yaml").write_text(f"artifacts: {kept}\n")
        config = {"platform": "yarn", "engine": "flink", "flink_home": str(home.parent), "java_home": str(node.java),
                  "python": sys.executable, "hadoop_classpath": "/h/*", "resource_manager": cluster.url,
                  "webhdfs": cluster.url, "user": "ada", **keys}  # fmt: skip
        project.jobs(graph, json.dumps({"*": {"platform": "local"}, "a": config}))
        return project.root, node

    return write


def attempt_of(record: Any) -> Any:
    return record["jobs"]["a"]["attempts"][-1]


def test_folders_go_in_and_come_out_and_only_the_artifacts_are_left(
    written: Any, cluster: Cluster, run_json: Any, project: Any
) -> None:
    _, node = written(SORTS)
    found = run_json(project)
    assert found["exit"] == 0, found
    assert project.log("read").split() == [b"a", b"b"]
    assert node.codes == [0]
    assert not [path for path in cluster.files if not path.startswith("/kept/") and "/flink/2.3.0/" not in path]


def test_a_job_whose_program_has_ended_runs_until_its_artifacts_are_kept(written: Any, cluster: Cluster) -> None:
    """YARN reports the end of Flink's application before the outputs are kept."""
    root, node = written(SORTS)
    node.gate.clear()
    run = prepare_run(root)
    job, driver = run.record.jobs["a"], driven(run.driver.run)
    until(lambda: bool(job.attempts) and job.attempts[0].reason == KEEPING)
    assert job.state.value == "RUNNING"
    node.gate.set()
    driver.join(PATIENCE)
    run.close()
    assert (job.state.value, job.attempts[0].exit_code, job.attempts[0].reason) == ("FINISHED", 0, None)


@pytest.mark.parametrize(
    ("program", "python", "words"),
    [
        ("true", sys.executable, "was to write its output 'out'"),
        ("exit 7", sys.executable, "exit code 7"),
        (SORTS, "/nowhere/python3", NOT_KEPT),
    ],
)
def test_a_container_that_keeps_nothing_is_a_failure_which_says_why(
    written: Any, run_json: Any, project: Any, program: str, python: str, words: str
) -> None:
    written(program, python=python)
    found = run_json(project)
    assert (attempt_of(found)["state"], found["jobs"]["read"]["state"]) == ("FAILED", "SKIPPED")
    assert words in attempt_of(found)["reason"]


def test_under_kerberos_the_container_reads_the_token_that_keeps_artifacts(written: Any, cli: Any) -> None:
    """Flink itself wants HADOOP_USER_NAME there too, although Hadoop leaves it aside."""
    root, _ = written(SORTS)
    done = cli("render", root, "--set", "a.authentication=kerberos", "--json")
    assert done.returncode == 0, done.stderr
    (found,) = [each["content"] for each in json.loads(done.stdout) if "script" in each["content"]]
    _, _, reads = "\n".join(found["script"]).partition("\nFSSPEC_WEBHDFS_TOKEN=$(")
    assert "aiflow-am.pyz aiflow.delegation) || exit 1\nexport FSSPEC_WEBHDFS_TOKEN\n" in reads
    container = found["submission"]["am-container-spec"]
    assert "aiflow-am.pyz" in {each["key"] for each in container["local-resources"]["entry"]}
    told = {each["key"]: each["value"] for each in container["environment"]["entry"]}
    assert told["HADOOP_USER_NAME"]
    assert "aiflow-am.pyz" not in told["_CLIENT_SHIP_FILES"]


def test_an_artifact_of_a_stream_is_refused_with_what_to_do(written: Any, cli: Any) -> None:
    root, _ = written(SORTS, GRAPH.partition('with af.job("read")')[0], exec_mode="STREAM")
    assert "is to be an artifact of a STREAM job" in cli("render", root).stderr
