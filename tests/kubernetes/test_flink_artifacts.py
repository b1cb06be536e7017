"""Artifacts of a Flink job on Kubernetes. The containers' scripts and aiflow-ext's runner are the real ones; the API
server is a fake, as is Flink: a shell script that reads and writes."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from fake_cluster import COMPLETED, Cluster

from aiflow_ext.model.errors import AiflowError
from aiflow_ext.run import prepare_run, render_project

GRAPH = """\
with af.job("words"): words = af.cmd("mkdir {w} && echo b > {w}/1 && echo a > {w}/2", w=af.output("w"))
with af.job("a"): found = af.flink(PROGRAM, words=words, out=af.output("o"))
with af.job('read'): af.cmd("cat {found}/* > {all}", found=found, all=af.output("all"))
"""
JAR = GRAPH.replace("PROGRAM", 'jar="job.jar", entry_class="com.acme.Main", args=["{words}", "{out}"]')
SQL = GRAPH.replace("PROGRAM", "sql=\"FROM '{words}' TO '{out}'\"")
SORTS = 'mkdir "$out" && cat "$words"/* | sort > "$out/part"'


class Pods:
    """Runs the JobManager's container of each Job that is resumed, as a process of this machine.

    Args:
        cluster: where the Jobs are.
        folder: of the test's own, in place of the container's ``/aiflow``, and for a home of Flink.
        program: what Flink does, as shell commands, with the paths ``$words`` and ``$out``.
        ends: the status that Flink archives.
    """

    def __init__(self, cluster: Cluster, folder: Path, program: str, ends: str = "FINISHED") -> None:
        self.cluster, self.folder, self.resume = cluster, folder, cluster.resume
        self.home, self.said = folder / "flink", ""
        (self.home / "bin").mkdir(parents=True)
        script = self.home / "bin" / "standalone-job.sh"
        archived = json.dumps({"json": json.dumps({"status": ends}, separators=(",", ":"))})
        script.write_text(
            '#!/bin/sh\nset -e\nuntil [ "$1" = -- ]; do shift; done\nshift\nwords=$1 out=$2\n'
            'if [ "$1" = --scriptUri ]; then\n'
            '  words=$(cut -d"\'" -f2 "${2#file://}")\n  out=$(cut -d"\'" -f4 "${2#file://}")\nfi\n'
            f"{program}\ncd archive/*/applications && mkdir a && echo '{archived}' > a/application-summary\n"
        )
        script.chmod(0o755)
        cluster.resume = self._resumed  # type: ignore[method-assign]

    def _resumed(self, path: str, patch: dict[str, Any]) -> Any:
        template = self.cluster.objects[path]["spec"]["template"]["spec"]
        (container,) = template["containers"]
        root = self.folder / path.rpartition("/")[2]
        for each in ("in", "bundle", "work", "flink"):
            (root / each).mkdir(parents=True)
        for thing in self.cluster.objects.values():
            for name, text in thing.get("stringData", {}).items():
                (root / "in" / name).write_text(text.replace("/aiflow/", f"{root}/"))
            for name, data in thing.get("data", {}).items():
                if thing["kind"] == "Secret":
                    (root / "in" / name).write_bytes(base64.b64decode(data))
        reason = root / "reason"
        given = {each["name"]: each["value"].replace("/aiflow/", f"{root}/")
                 for each in container["env"] if "value" in each}  # fmt: skip
        env = {"PATH": os.environ["PATH"], **given, "FLINK_HOME": str(self.home), "AIFLOW_REASON_FILE": str(reason),
               "JOB_COMPLETION_INDEX": "0", "POD_IP": "10.0.0.1"}  # fmt: skip
        command = [word.replace("$$", "$").replace("/aiflow/", f"{root}/") for word in container["command"]]
        done = subprocess.run(command, cwd=root / "work", env=env, capture_output=True, text=True, timeout=120)
        self.said += done.stdout + done.stderr
        ended = {**COMPLETED["terminated"], "exitCode": done.returncode,
                 "message": reason.read_text() if reason.exists() else ""}  # fmt: skip
        self.cluster.pod_status = {
            "phase": "Failed" if done.returncode else "Succeeded",
            "containerStatuses": [{"name": "job", "state": {"terminated": ended}}],
        }
        return self.resume(path, patch)


@pytest.fixture
def written(project: Any) -> Any:
    """Writes the project, with the artifacts' folder mounted in the pods."""

    def write(graph: str = JAR, artifacts: str = "", **keys: Any) -> Path:
        root: Path = project.root
        shared = root / ".aiflow" / "artifacts"
        config = {"platform": "kubernetes", "engine": "flink", "image": "flink:2.3.0", "python": "python3",
                  "volumes": [{"mount": str(shared), "host_path": str(shared)}], **keys}  # fmt: skip
        project.jobs(graph, json.dumps({"*": {"platform": "local"}, "a": config}))
        with zipfile.ZipFile(root / "job.jar", "w") as jar:
            jar.writestr("com/acme/Main.class", b"")
        if artifacts:
            (root / "project.yaml").write_text(f"artifacts: {artifacts}\n")
        return root

    return write


def refused(root: Path) -> str:
    with pytest.raises(AiflowError) as caught:
        render_project(root)
    return str(caught.value)


def records(root: Path, attempt: int = 1) -> list[Path]:
    """The records of artifacts of the flink job: what counts as complete."""
    return list((root / ".aiflow" / "artifacts").glob(f"*/a/{attempt}/*.json"))


def left(root: Path) -> list[Path]:
    """Folders that attempts have worked in."""
    return list((root / ".aiflow" / "artifacts").glob("*/.flink"))


@pytest.mark.parametrize("graph", [JAR, SQL])
def test_the_jobmanagers_pod_brings_the_inputs_and_keeps_the_outputs(
    written: Any, cluster: Cluster, tmp_path: Path, graph: str
) -> None:
    root, pods = written(graph), Pods(cluster, tmp_path / "pods", SORTS)
    record = prepare_run(root).driver.run()
    assert record.state == "FINISHED", pods.said
    (found,) = (root / ".aiflow" / "artifacts").glob("*/read/1/*/all")
    assert found.read_text() == "a\nb\n"
    assert left(root) == []
    assert not [path for path in cluster.objects if "/secrets/" in path]


def test_a_retry_begins_in_an_empty_folder_and_what_failed_is_no_artifact(
    written: Any, cluster: Cluster, tmp_path: Path
) -> None:
    half = f'if [ -e "$FLINK_HOME/again" ]; then\n{SORTS}\nelse touch "$FLINK_HOME/again"; mkdir "$out"; exit 163\nfi'
    root, pods = written(retries=1), Pods(cluster, tmp_path / "pods", half)
    record = prepare_run(root).driver.run()
    assert record.state == "FINISHED", pods.said
    assert (len(records(root, 1)), len(records(root, 2))) == (0, 1)
    assert left(root) == []


@pytest.mark.parametrize(
    ("program", "ends", "reason"),
    [
        (SORTS, "CANCELED", "it was cancelled at Flink, and not by aiflow-ext"),
        ("true", "FINISHED", "was to write its output 'out'"),
        ('mkdir "$out" && ln -s nowhere "$out/broken"', "FINISHED", "cannot be written"),
    ],
)
def test_no_output_is_kept_of_a_job_that_has_not_finished_well(
    written: Any, cluster: Cluster, tmp_path: Path, program: str, ends: str, reason: str
) -> None:
    root = written()
    Pods(cluster, tmp_path / "pods", program, ends)
    attempt = prepare_run(root).driver.run().jobs["a"].last
    assert attempt is not None
    assert str(attempt.state) == "FAILED"
    assert reason in str(attempt.reason)
    assert records(root) == []
    assert left(root) == []


def test_an_image_without_a_python_is_told(written: Any, cluster: Cluster, tmp_path: Path) -> None:
    root = written(python="no-such-python")
    Pods(cluster, tmp_path / "pods", SORTS)
    attempt = prepare_run(root).driver.run().jobs["a"].last
    assert attempt is not None
    assert (attempt.exit_code, str(attempt.reason).partition(",")[0]) == (127, "no-such-python is not in the image")


def test_artifacts_at_a_url_need_a_folder_that_all_pods_share(written: Any) -> None:
    assert "exchange: /mnt/exchange" in refused(written(artifacts="s3://bucket/x"))
    assert "no volume that its pods share" in refused(written(artifacts="s3://bucket/x", exchange="/mnt/x"))
    volumes = [{"mount": "/mnt", "claim": "shared"}]
    root = written(GRAPH.replace("PROGRAM", 'sql="{words} {out}"'), "s3://bucket/x", volumes=volumes,
                   exchange="/mnt/x")  # fmt: skip
    (content,) = (each["content"] for each in render_project(root) if each["job"] == "a")
    command = content["job"]["spec"]["template"]["spec"]["containers"][0]["command"]
    assert [word for word in command if word.startswith("/mnt/x/") and word.endswith("/a/1")]


def test_a_stream_job_passes_on_no_artifact(written: Any) -> None:
    without_reader = JAR[: JAR.index("with af.job('read')")]
    assert "is to be an artifact of a STREAM job" in refused(written(without_reader, exec_mode="STREAM"))
