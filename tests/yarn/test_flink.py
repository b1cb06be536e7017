"""Flink's programs as applications: the request, the libraries, sent once, the only start, the end and the stop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_server import Cluster
from interrupted import PATIENCE, driven, until

from aiflow_ext.run import prepare_run
from aiflow_ext_flink import restarts
from aiflow_ext_yarn.flink_application import READING
from aiflow_ext_yarn.flink_libraries import digest, libraries

ADDRESSES = {"resource_manager": "http://rm.invalid:8088", "webhdfs": "http://nn.invalid:9870", "user": "ada"}
TRACE = (
    "org.apache.flink.runtime.client.JobExecutionException: Job execution failed.\n\tat a.b(C.java:1)\n"
    "Caused by: java.lang.IllegalStateException: row seven is bad\n\tat Main.main(Main.java:7)\n"
)


def _jar(path: Path, *classes: str, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as jar:
        for each in classes:
            jar.writestr(zipfile.ZipInfo(f"{each.replace('.', '/')}.class"), text)
    return path


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as started:
        yield started


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder as Flink's own is."""
    for name in ("flink-table-2.3.0", "flink-dist-2.3.0", "log4j-core-2.25.3"):
        _jar(tmp_path / "flink" / "lib" / f"{name}.jar", name)
    _jar(tmp_path / "flink" / "opt" / "flink-python-2.3.0.jar", "python")
    return tmp_path / "flink"


@pytest.fixture
def workflow(project: Any, home: Path) -> Callable[..., Any]:
    """A project with one Flink job of these keys."""

    def make(program: str = "jar='job.jar', entry_class='com.acme.Main'", **config: Any) -> Any:
        _jar(project.root / "job.jar", "com.acme.Main")
        told = {"platform": "yarn", "engine": "flink", "flink_home": str(home), **ADDRESSES, **config}
        return project.jobs(f"with af.job('job'):\n    af.flink({program})", json.dumps({"job": told}))

    return make


@pytest.fixture
def rendered(workflow: Any, cli: Any) -> Callable[..., Any]:
    """The request of that job; what is said where there is none."""

    def call(*program: str, **config: Any) -> Any:
        done = cli("render", workflow(*program, **config).root, "--json")
        return json.loads(done.stdout)[0]["content"] if done.returncode == 0 else done.stderr

    return call


def test_the_request_starts_flinks_own_application_master(rendered: Any) -> None:
    found = rendered(
        "jar='job.jar', entry_class='com.acme.Main', args=['{n}', \"it's $HOME; \\\"x\\\"\"], n=3",
        jobmanager={"memory": "768Mi"}, flink={"table.dml-sync": True}, env={"STAGE": "test"}, queue="batch",
    )  # fmt: skip
    submission = found["submission"]
    assert (submission["queue"], submission["resource"]["memory"]) == ("batch", 768)
    container = submission["am-container-spec"]
    assert container["commands"]["command"] == "exec /bin/bash aiflow-start.sh 1><LOG_DIR>/stdout 2><LOG_DIR>/stderr"
    variables = {each["key"]: each["value"] for each in container["environment"]["entry"]}
    # Flink looks for its configuration in the first folder, and takes the last jar for itself.
    assert variables["_FLINK_CLASSPATH"].split(":") == [
        ".", "lib/flink-table-2.3.0.jar", "lib/log4j-core-2.25.3.jar", "lib/flink-dist-2.3.0.jar", ""]  # fmt: skip
    brought = {each["key"]: each["value"] for each in container["local-resources"]["entry"]}
    assert "ready" not in brought
    assert brought["usrlib/job.jar"]["visibility"] == "PRIVATE"
    for name in ("usrlib/job.jar", "config.yaml", "log4j.properties"):  # task managers get them, too
        assert f"'resourceKey':'{name}'" in variables["_CLIENT_SHIP_FILES"]
        assert f"'size':${{server:size:{name}}}" in variables["_CLIENT_SHIP_FILES"]
    configuration = found["configuration"]
    assert configuration["$internal.application.program-args"] == ["3", 'it\'s $HOME; "x"']
    assert configuration["$internal.application.main"] == "com.acme.Main"
    assert configuration["pipeline.jars"] == ["usrlib/job.jar"]
    assert configuration["table.dml-sync"] is True
    assert configuration["high-availability.cluster-id"] == "${server:application_id}"
    assert configuration["containerized.taskmanager.env.STAGE"] == "test"


@pytest.mark.parametrize(
    ("program", "config", "words"),
    [
        ("sql='SELECT 1'", {}, "needs flink-sql-gateway-2.3.0.jar"),
        ("jar='job.jar', entry_class='com.acme.Main'", {"memory": "1Gi"}, "jobmanager: {memory: 1Gi}"),
        ("jar='job.jar', entry_class='com.acme.Main'", {"env": {"T": {"secret": "env:T"}}}, "has a secret for T"),
        ("jar='job.jar', entry_class='com.acme.Main'", {"env": {"T": "a\"b"}}, "do not keep quotes"),
        ("jar='job.jar', entry_class='com.acme.Main'", {"jobmanager": "flink:8081"}, "names a session cluster"),
        ("jar='job.jar', entry_class='com.acme.Main'", {"exec_mode": "STREAM", "restore_from": "latest"},
         "must be the path or URL"),
        ("jar='job.jar', entry_class='com.acme.Main'", {"jars": ["none.jar"]}, "none.jar is to be sent, and is not"),
        ("jar='job.jar', entry_class='com.acme.Main'", {"jars": ["s3://b/c.jar"]}, "on another file system"),
        ("jar='job.jar', entry_class='com.acme.Main'", {"flink_home": "/nowhere"}, "is not the lib folder of a Flink"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_anything_is_sent(rendered: Any, program: str, config: Any, words: str) -> None:
    assert words in rendered(program, **config)


def test_a_session_cluster_is_refused_where_there_is_no_flink_either(rendered: Any) -> None:
    """Nobody is told to install what is of no use to him; other mistakes are told together with that."""
    jar = "jar='job.jar', entry_class='com.acme.Main'"
    said = rendered(jar, jobmanager="flink:8081", flink_home="/nowhere")
    assert "names a session cluster" in said
    assert "platform: local, or kubernetes" in said
    assert "lib folder" not in said
    said = rendered(jar, memory="1Gi", flink_home="/nowhere")
    assert "memory says nothing" in said
    assert "which flink_home leads to" in said


def test_a_flink_of_another_major_version_is_refused_before_the_run(rendered: Any, tmp_path: Path) -> None:
    _jar(tmp_path / "old" / "lib" / "flink-dist-1.20.1.jar", "x")
    said = rendered(flink_home=str(tmp_path / "old"))
    assert "is Flink 1.20.1, and jobs on YARN run with Flink 2 alone" in said
    assert "apache-flink-libraries==2.3.0" in said


def test_a_script_needs_flinks_python_and_an_interpreter_of_the_nodes(project: Any, rendered: Any) -> None:
    (project.root / "job.py").write_text("")
    (project.root / "more.py").write_text("")
    found = rendered("python='job.py', args=['-x'], py_files=['more.py']", python="/opt/env/bin/python3")
    python = "/opt/env/bin/python3"
    assert found["configuration"]["$internal.application.program-args"] == [
        "-pyclientexec", python, "-pyexec", python, "-pyfs", "more.py", "-py", "job.py", "-x"]  # fmt: skip
    brought = {each["key"] for each in found["submission"]["am-container-spec"]["local-resources"]["entry"]}
    assert {"opt/flink-python-2.3.0.jar", "job.py", "more.py"} <= brought


def test_a_librarys_name_on_the_cluster_is_of_its_content_alone(home: Path, tmp_path: Path) -> None:
    here = libraries(home, "flink_home")
    again = _jar(tmp_path / "other" / "flink-dist-2.3.0.jar", "flink-dist-2.3.0")
    os.utime(again, (1, 1))
    assert digest(again) == digest(home / here.dist)
    changed = _jar(tmp_path / "changed" / "flink-dist-2.3.0.jar", "flink-dist-2.3.0", text="y")
    assert changed.stat().st_size == again.stat().st_size
    assert digest(changed) != digest(again)


@pytest.mark.parametrize(
    ("version", "config", "words"),
    [
        ("2.3.0", {"java_home": "/nowhere"}, "no Java is on this node at JAVA_HOME, /nowhere: give java_home"),
        ("2.3.0", {"python": "/nowhere/python3"}, "no Python is on this node at /nowhere/python3"),
        (None, {}, "has no PyFlink (No module named 'pyflink"),
        ("1.20.1", {}, "has PyFlink 1.20.1, and the job runs with Flink 2.3.0: pip install apache-flink==2.3.0"),
        ("2.2.0", {"hadoop_classpath": "/nowhere/*"}, "Hadoop is not on this node where hadoop_classpath names it"),
    ],
)
def test_what_a_node_lacks_is_told_before_the_job_begins(
    project: Any, rendered: Any, tmp_path: Path, version: str | None, config: dict[str, Any], words: str
) -> None:
    """The script is run with a Java that has no class. Its exit code says that trying again would be of no use."""
    (project.root / "job.py").write_text("")
    java, packages = tmp_path / "java" / "bin" / "java", tmp_path / "packages"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\nexit 1\n")
    java.chmod(0o755)
    (packages / "pyflink").mkdir(parents=True)
    if version is not None:
        (packages / "pyflink" / "version.py").write_text(f"__version__ = {version!r}\n")
    found = rendered("python='job.py'", **{
        "java_home": str(java.parents[1]), "python": sys.executable, "env": {"PYTHONPATH": str(packages)}, **config,
    })  # fmt: skip
    done = subprocess.run(["/bin/bash", "-c", "\n".join(found["script"])], cwd=tmp_path, capture_output=True, text=True)
    assert words in done.stderr.splitlines()[-1]
    assert done.returncode == 127


def test_a_second_start_of_an_application_ends_before_flink_begins(rendered: Any, tmp_path: Path) -> None:
    """The script is run with a Java that records what it is called for, and moves a file as HDFS would."""
    found = rendered(java_home=str(tmp_path / "java"))
    folder, java = tmp_path / "node", tmp_path / "java" / "bin" / "java"
    (folder / "attempt").mkdir(parents=True)
    (folder / "attempt" / "ready").touch()
    java.parent.mkdir(parents=True)
    java.write_text(
        '#!/bin/bash\ncase "$*" in *-help) ;; *FsShell*) mv "${@: -2:1}" "${@: -1}";; *) echo "$*" >> flink;; esac\n'
    )
    java.chmod(0o755)
    script = "\n".join(found["script"]) + "\n"
    staging = script.partition("-mv '")[2].partition("/ready'")[0]
    script = script.replace(staging, str(folder / "attempt"))
    first, second = (subprocess.run(["/bin/bash", "-c", script], cwd=folder, capture_output=True) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 1), second.stderr
    (begun,) = (folder / "flink").read_text().splitlines()
    assert begun.endswith("org.apache.flink.yarn.entrypoint.YarnApplicationClusterEntryPoint")


def test_task_managers_for_which_no_container_is_large_enough_are_told_before_the_run(
    workflow: Any, cluster: Cluster, cli: Any
) -> None:
    done = cli("run", workflow(
        resource_manager=cluster.url, webhdfs=cluster.url, jobmanager={"memory": "9Gi"},
        taskmanagers={"memory": "10Gi", "slots": 9},
    ).root)  # fmt: skip
    assert done.returncode == 6
    for cure in ("jobmanager: {memory: 8192Mi}", "taskmanagers: {memory: 8192Mi}", "taskmanagers: {slots: 8}"):
        assert f"give {cure} or less" in done.stderr
    assert cluster.submitted == []


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ({}, "is not there"),
        ({"savepoints/one/part": b""}, "is no complete savepoint or checkpoint: it has no _metadata"),
        ({"savepoints": b""}, "may not see"),
    ],
)
def test_a_savepoint_that_cannot_be_read_is_told_before_the_run(
    workflow: Any, cluster: Cluster, cli: Any, there: dict[str, bytes], words: str
) -> None:
    for path, content in there.items():
        cluster.add(f"/{path}", content)
    keys = {"exec_mode": "STREAM", "restore_from": "hdfs:///savepoints/one"}
    cluster.private = "/savepoints/" if words == "may not see" else "/private/"
    done = cli("run", workflow(resource_manager=cluster.url, webhdfs=cluster.url, **keys).root)
    assert done.returncode == 6, done.stderr
    assert words in done.stderr
    assert "correct restore_from" in done.stderr
    assert cluster.submitted == []


def test_flinks_libraries_are_sent_once_for_all_runs(workflow: Any, cluster: Cluster, run_json: Any) -> None:
    made = workflow(resource_manager=cluster.url, webhdfs=cluster.url)
    for _ in range(2):
        assert run_json(made)["state"] == "FINISHED"
    sent = [path for path in cluster.created if "/.aiflow/flink/2.3.0/" in path]
    assert sorted(path.rpartition("/")[2] for path in sent) == [
        "flink-dist-2.3.0.jar", "flink-table-2.3.0.jar", "log4j-core-2.25.3.jar"]  # fmt: skip
    assert set(cluster.files) == set(sent)  # and nothing else is left
    assert len(cluster.submitted) == 2


def test_the_reason_of_a_failure_is_flinks_root_cause(workflow: Any, cluster: Cluster, run_json: Any) -> None:
    cluster.flink = TRACE
    record = run_json(workflow(resource_manager=cluster.url, webhdfs=cluster.url))
    (attempt,) = record["jobs"]["job"]["attempts"]
    assert record["exit"] == 1
    assert (attempt["state"], attempt["reason"]) == ("FAILED", "IllegalStateException: row seven is bad")
    assert attempt["disruption"] is False
    assert cluster.logs_asked == 2  # for stdout and stderr: of what it ran with Flink writes nothing


def test_an_archive_that_flink_could_not_write_is_as_none(workflow: Any, cluster: Cluster, run_json: Any) -> None:
    """HDFS says of a path below a file that this user may not read it. The attempt has ended all the same, by what YARN
    says of it."""
    cluster.flink = TRACE
    made = workflow(resource_manager=cluster.url, webhdfs=cluster.url)

    def spoil(path: str) -> None:
        if path.endswith("/apps") or path.startswith("/ws/v1/cluster/apps?"):
            for folder in [each for each in cluster.files if each.endswith("/application-summary")]:
                cluster.files[folder.rpartition("/")[0]] = cluster.files.pop(folder)

    cluster.before = spoil
    record = run_json(made, "--set", "job.retries=0")
    (attempt,) = record["jobs"]["job"]["attempts"]
    assert (record["exit"], attempt["state"]) == (1, "FAILED")
    assert "row seven is bad" not in str(attempt["reason"])  # that is in the archive alone


def test_a_script_whose_output_takes_long_to_come_holds_up_no_other_job(
    project: Any, home: Path, cluster: Cluster
) -> None:
    """Its reason is in what it has printed; the jobs beside it go on while that is downloaded."""
    _jar(project.root / "job.jar", "com.acme.Main")
    (project.root / "job.py").write_text("")
    told = {"platform": "yarn", "engine": "flink", "flink_home": str(home), "user": "ada",
            "resource_manager": cluster.url, "webhdfs": cluster.url}  # fmt: skip
    project.jobs(
        "with af.job('script'): af.flink(python='job.py')\n"
        "with af.job('other'): af.flink(jar='job.jar', entry_class='com.acme.Main')",
        json.dumps({"*": told}),
    )
    cluster.flink, cluster.stdout = None, b"Traceback (most recent call last):\nValueError: no such table: sales\n"
    run = prepare_run(project.root)
    script, other, driver = run.record.jobs["script"], run.record.jobs["other"], driven(run.driver.run)
    until(lambda: script.state.value == other.state.value == "RUNNING")
    slow, there = str(script.attempts[0].native_id), threading.Event()
    cluster.before = lambda path: (
        None if slow[12:] not in path or "/logs/" not in path else there.wait(PATIENCE) and None
    )
    cluster.end_flink(slow, "RuntimeException: Python process exits with code: 1")
    until(lambda: script.attempts[0].reason == READING)
    cluster.end_flink(str(other.attempts[0].native_id), "FINISHED")
    until(lambda: other.state.value == "FINISHED")
    assert script.state.value == "RUNNING"
    there.set()
    driver.join(PATIENCE)
    run.close()
    assert (script.state.value, script.attempts[0].reason) == ("FAILED", "ValueError: no such table: sales")


def test_a_job_runs_once_flinks_does_and_is_stopped_with_a_savepoint(
    workflow: Any, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarts, "EVERY", 0.05)
    cluster.flink, cluster.flink_jobs = None, []
    run = prepare_run(workflow(resource_manager=cluster.url, webhdfs=cluster.url, exec_mode="STREAM").root)
    job, driver = run.record.jobs["job"], driven(run.driver.run)
    until(lambda: bool(job.attempts) and "no job runs yet" in str(job.attempts[0].reason))
    assert job.state.value == "QUEUED"
    # Flink gives up to wait for slots, and begins again: none of its tasks has run.
    cluster.flink_jobs, cluster.flink_tasks = ["RESTARTING"], {"failed": 1, "canceled": 3, "running": 0}
    until(lambda: "it has 2 of them, with 4 slots" in str(job.attempts[0].reason))
    asked = len(cluster.asked)
    until(lambda: len(cluster.asked) > asked + 1)
    assert job.state.value == "QUEUED"
    cluster.flink_failure = "a.NoResourceAvailableException: Could not acquire the minimum required resources."
    asked = len(cluster.asked)
    until(lambda: len(cluster.asked) > asked + 1)
    assert job.state.value == "QUEUED"
    cluster.flink_failure = None
    cluster.flink_jobs, cluster.flink_tasks = ["RUNNING"], {"scheduled": 3, "running": 1}
    until(lambda: job.state.value == "RUNNING")
    cluster.flink_jobs, cluster.flink_failure = ["RESTARTING"], TRACE
    words = "restarted 3 times; the last time because of IllegalStateException: row seven is bad"
    until(lambda: job.attempts[0].reason == words)
    assert (job.state.value, job.attempts[0].restarts) == ("RUNNING", 3)
    cluster.flink_jobs = ["RUNNING"]
    until(lambda: job.attempts[0].reason is None)
    assert job.attempts[0].restarts == 3
    cluster.savepoint = "java.io.IOException: no room"
    run.driver.stop()
    until(lambda: "no room" in str(job.attempts[0].reason))
    assert job.state.value == "RUNNING"  # a savepoint that failed is no cancel
    cluster.savepoint = "hdfs://nn/savepoints/savepoint-1"
    run.driver.stop()
    driver.join(PATIENCE)
    run.close()
    assert job.state.value == "STOPPED"
    assert not any(path.endswith("/state") for path in cluster.asked)  # YARN was not asked to kill it
    assert f"stopped with the savepoint {cluster.savepoint}" in str(job.attempts[0].reason)


def test_a_job_whose_tasks_fail_at_once_runs_and_says_why_it_is_restarted(
    workflow: Any, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarts, "EVERY", 0.05)
    cluster.flink, cluster.flink_jobs, cluster.flink_failure = None, ["RESTARTING"], TRACE
    cluster.flink_tasks = {"failed": 1, "canceled": 3, "running": 0}
    run = prepare_run(
        workflow(resource_manager=cluster.url, webhdfs=cluster.url, exec_mode="STREAM", on_stop="cancel").root
    )
    job, driver = run.record.jobs["job"], driven(run.driver.run)
    until(lambda: bool(job.attempts) and "row seven is bad" in str(job.attempts[0].reason))
    assert (job.state.value, job.attempts[0].restarts) == ("RUNNING", 3)
    run.driver.stop()
    driver.join(PATIENCE)
    run.close()


def test_a_retry_of_a_stream_goes_on_from_its_latest_checkpoint(workflow: Any, cluster: Cluster, run_json: Any) -> None:
    cluster.flink = TRACE
    addresses = {"resource_manager": cluster.url, "webhdfs": cluster.url}
    savepoint = "hdfs://nn/savepoints/savepoint-1"
    run_json(workflow(**addresses, exec_mode="STREAM", retries=1, retry_delay="1ms", restore_from=savepoint))
    first, second = cluster.flink_configurations
    assert first["execution.state-recovery.path"] == savepoint
    kept = f"{first['execution.checkpointing.dir']}/{first['$internal.pipeline.job-id']}"
    assert second["execution.state-recovery.path"] == f"{kept}/chk-10"
    assert second["$internal.pipeline.job-id"] != first["$internal.pipeline.job-id"]
