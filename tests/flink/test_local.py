"""``local.flink`` without Flink: what is missing on this machine, and what a run would be sent."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import pytest

SQL = 'with af.job("count"): af.flink(sql="SELECT 1")'
ENV = "{{FLINK_HOME: {}, JAVA_HOME: {}, PATH: /nowhere, PYTHONPATH: ''}}"
CONFIG = f"count: {{{{platform: local, engine: flink, env: {ENV}{{}}}}}}\n"


@pytest.fixture
def flink_home(tmp_path) -> Path:
    """A folder that looks like Flink's."""
    for name in ("lib/flink-dist-2.3.0.jar", "opt/flink-python-2.3.0.jar"):
        path = tmp_path / "flink" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "flink"


def test_without_flink_and_java_the_run_does_not_begin_and_the_places_are_named(project, cli, tmp_path):
    project.jobs(SQL, CONFIG.format(tmp_path / "none", tmp_path / "jdk", ""))
    done = cli("run", project.root)
    assert done.returncode == 6
    assert f"Flink is not on this machine: looked at FLINK_HOME ({tmp_path}/none)" in done.stderr
    assert "pip install apache-flink-libraries==2.3.0" in done.stderr
    assert not (project.root / ".aiflow" / "runs").exists() or not any((project.root / ".aiflow" / "runs").iterdir())


def test_without_java_or_a_jar_of_flink_s_own_it_says_which(project, cli, tmp_path, flink_home):
    project.jobs(SQL, CONFIG.format(flink_home, tmp_path / "jdk", ""))
    done = cli("run", project.root)
    assert done.returncode == 6
    assert f"Java is not on this machine: looked at JAVA_HOME ({tmp_path}/jdk)" in done.stderr
    assert "openjdk-17-jre-headless" in done.stderr
    assert f"{flink_home}/opt has no flink-sql-gateway-2.3.0.jar" in done.stderr


def test_another_flink_is_named_before_the_run(project, cli, tmp_path, flink_home):
    (flink_home / "lib" / "flink-dist-2.3.0.jar").rename(flink_home / "lib" / "flink-dist-1.20.1.jar")
    project.jobs(SQL, CONFIG.format(flink_home, tmp_path / "jdk", ""))
    done = cli("run", project.root)
    assert done.returncode == 6
    assert f"{flink_home} has Flink 1.20.1, and local.flink starts clusters of Flink 2 alone" in done.stderr


def test_a_script_needs_an_interpreter_with_pyflink(project, cli, tmp_path, flink_home):
    (project.root / "job.py").write_text("")
    said = tmp_path / "python3"
    said.write_text("#!/bin/sh\necho 3 13 2.3.0\n")
    said.chmod(0o755)
    project.jobs('with af.job("count"): af.flink(python="job.py")',
                 CONFIG.format(flink_home, tmp_path / "jdk", f", python: {said}"))  # fmt: skip
    done = cli("run", project.root)
    assert f"the python {said} is 3.13, which PyFlink does not support" in done.stderr
    said.write_text("#!/bin/sh\necho 3 12 2.2.1\n")
    done = cli("run", project.root)
    assert f"the python {said} has PyFlink 2.2.1, and {flink_home} is Flink 2.3.0" in done.stderr
    assert "pip install apache-flink==2.3.0" in done.stderr
    said.write_text("#!/bin/sh\necho 3 12 -\n")
    assert f"the python {said} has no PyFlink" in cli("run", project.root).stderr
    said.write_text("#!/bin/sh\nexec /bin/cat /dev/zero\n")
    done = cli("run", project.root, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)))
    assert f"the python {said} has no PyFlink" in done.stderr, "and what it prints is not kept"


def test_what_is_rendered_has_the_program_and_the_cluster_s_configuration(project, cli, flink_home, tmp_path):
    more = ", exec_mode: STREAM, parallelism: 2, taskmanagers: {count: 2}, flink: {state.backend.type: rocksdb}"
    project.jobs(SQL, CONFIG.format(flink_home, tmp_path / "jdk", more))
    done = cli("render", project.root, "--json")
    assert done.returncode == 0, done.stderr
    (job,) = json.loads(done.stdout)
    content = job["content"]
    assert os.path.basename(content["argv"][2]) == "flink_run.py"
    spec = json.loads(content["payload"])
    assert (spec["kind"], spec["sql"], spec["on_stop"], spec["stream"]) == ("sql", "SELECT 1", "savepoint", True)
    assert spec["configuration"]["state.backend.type"] == "rocksdb"
    assert spec["configuration"]["parallelism.default"] == 2


@pytest.mark.parametrize(
    ("said", "url"),
    [("state", "file://{root}/state"), ("/data/x", "file:///data/x"), ("file:///data/x", "file:///data/x"),
     ("file:/data/x", "file:///data/x"), ("s3://b/x", "s3://b/x")],
)  # fmt: skip
def test_folders_for_state_are_paths_or_urls(project, cli, flink_home, tmp_path, said, url):
    keys = f", exec_mode: STREAM, savepoints: '{said}', checkpoints: '{said}'"
    project.jobs(SQL, CONFIG.format(flink_home, tmp_path / "jdk", keys))
    (job,) = json.loads(cli("render", project.root, "--json").stdout)
    found = json.loads(job["content"]["payload"])["configuration"]
    assert found["execution.checkpointing.savepoint-dir"] == url.format(root=project.root)
    assert found["execution.checkpointing.dir"] == url.format(root=project.root)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda folder: folder.rmdir(), "is not there"),
        (lambda folder: None, "has no file _metadata, so it is no savepoint, or none that is complete"),
        (lambda folder: (folder / "_metadata").write_bytes(b"PK"), "is no savepoint of Flink's"),
        (lambda folder: (folder / "_metadata").mkdir(), "cannot be read"),
        (lambda folder: (folder / "_metadata").write_bytes(bytes.fromhex("4960672d00000006")), None),
    ],
)
def test_a_savepoint_that_cannot_be_read_is_named_before_the_run(project, cli, flink_home, tmp_path, made, words):
    (project.root / "sp").mkdir()
    made(project.root / "sp")
    keys = ", exec_mode: STREAM, restore_from: sp"
    project.jobs(SQL, CONFIG.format(flink_home, tmp_path / "jdk", keys))
    done = cli("run", project.root)
    assert done.returncode == 6, "there is no Java"
    said = f"restore_from: {project.root}/sp {words}"
    assert (said in done.stderr) == (words is not None)
    assert ("restore_from" in done.stderr) == (words is not None)


@pytest.mark.parametrize("keys", ["", ", exec_mode: STREAM, flink: {jobmanager.scheduler: adaptive}"])
def test_more_parallelism_than_slots_is_taken_where_flink_makes_do_with_them(project, cli, flink_home, tmp_path, keys):
    project.jobs(SQL, CONFIG.format(flink_home, tmp_path / "jdk", f"{keys}, parallelism: 2"))
    assert cli("render", project.root).returncode == 0


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (", taskmanager: {count: 2}", "taskmanagers"),
        (", taskmanagers: {count: 0}", "count and slots must be at least 1"),
        (", taskmanagers: {memory: 100Mi}", "must be at least 896Mi"),
        (", flink: {rest.port: 1}", "'rest.port' is the platform's to give"),
        (", on_stop: kill", "on_stop"),
        (", on_stop: drain", "has on_stop: drain, and exec_mode BATCH: Flink takes no savepoint"),
        (
            ", exec_mode: STREAM, restore_from: latest, savepoints: 's3://b/x'",
            "latest looks into folders of this machine",
        ),
        (", exec_mode: STREAM, retries: 1, checkpoints: 's3://b/x'", "a retry looks into folders of this machine"),
        (", restore_from: /sp/1", "has restore_from, and exec_mode BATCH"),
        (
            ", exec_mode: STREAM, parallelism: 3, taskmanagers: {slots: 2}",
            "has parallelism: 3, and its TaskManagers have 2 slots",
        ),
        (", jobmanager: 'flink'", "jobmanager must be host:port"),
        (", jobmanager: 'https://flink:8081'", "jobs are submitted to session clusters without TLS alone"),
        (", jars: [none.jar]", "there is no none.jar, which job 'count' names under jars"),
    ],
)
def test_wrong_keys_are_named_with_their_place_before_the_run(project, cli, flink_home, tmp_path, keys, words):
    project.jobs(SQL, CONFIG.format(flink_home, tmp_path / "jdk", keys))
    done = cli("render", project.root)
    assert done.returncode == 3
    assert words in done.stderr
    assert "workflow." in done.stderr
