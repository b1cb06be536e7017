"""Flink jobs on Kubernetes: what is sent for them, offline, and what their containers' script makes of how they end."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_cluster import COMPLETED, STARTED, Cluster
from patience import PATIENCE

from aiflow_ext.model.errors import AiflowError
from aiflow_ext.run import prepare_run, render_project
from aiflow_ext.run.operations.render import permissions
from aiflow_ext_flink import restarts
from aiflow_ext_kubernetes import flink_shell, status
from aiflow_ext_kubernetes.objects import INDEX

SQL = "with af.job('a'):\n    af.flink(sql='SELECT {n}', n=7)"
JAR = "with af.job('a'):\n    af.flink(jar='job.jar', entry_class='com.acme.Main', args=['--to', '{properties.to}'])"
PYTHON = "with af.job('a'):\n    af.flink(python='job.py', args=['x'], py_files=['more.py'])"
ROOT_CAUSE = (
    "org.apache.flink.runtime.JobExecutionException: Job execution failed.\n\tat a.B(B.java:1)\n"
    "Caused by: org.apache.flink.runtime.JobException: Recovery is suppressed\n\tat a.B(B.java:2)\n"
    'Caused by: java.lang.IllegalStateException: no "such" table\n\tat a.B(B.java:3)\n'
)


def written(project: Any, body: str = SQL, **keys: Any) -> Any:
    config = {"a": {"platform": "kubernetes", "engine": "flink", "image": "flink:2.3.0", **keys}}
    project.jobs(body, json.dumps(config))
    (project.root / "job.py").write_text("print(1)\n")
    (project.root / "more.py").write_text("")
    with zipfile.ZipFile(project.root / "job.jar", "w") as jar:
        jar.writestr("com/acme/Main.class", bytes(range(256)))
    return project


def rendered(project: Any, body: str = SQL, **keys: Any) -> dict[str, Any]:
    found: dict[str, Any] = render_project(written(project, body, **keys).root)[0]["content"]
    return found


def refused(project: Any, body: str = SQL, **keys: Any) -> str:
    with pytest.raises(AiflowError) as caught:
        rendered(project, body, **keys)
    return str(caught.value)


def arguments(content: dict[str, Any]) -> list[str]:
    """What Flink's standalone-job.sh is started with."""
    command: list[str] = content["job"]["spec"]["template"]["spec"]["containers"][0]["command"]
    return command[command.index("aiflow-ext-flink") + 6 :]


def restored(content: dict[str, Any]) -> list[str]:
    """The patterns of what may be restored, and what is restored else."""
    command: list[str] = content["job"]["spec"]["template"]["spec"]["containers"][0]["command"]
    at = command.index("aiflow-ext-flink") + 2
    return command[at : at + 2]


def configured(content: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(content["config_map"]["data"]["config.yaml"])
    return found


def test_a_cluster_is_one_job_that_ends_with_its_jobmanager(project: Any) -> None:
    content = rendered(project, taskmanagers={"count": 3, "slots": 2})
    spec = content["job"]["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 4, 4)
    assert spec["successPolicy"] == {"rules": [{"succeededIndexes": "0"}]}
    assert "backoffLimit" not in spec
    assert spec["suspend"] is True
    service = content["service"]["spec"]
    assert service["selector"] == {
        "batch.kubernetes.io/job-name": content["job"]["metadata"]["name"],
        "batch.kubernetes.io/job-completion-index": "0",
    }
    assert service["publishNotReadyAddresses"] is True
    config = configured(content)
    assert (config["parallelism.default"], config["taskmanager.numberOfTaskSlots"]) == (6, 2)
    assert config["jobmanager.rpc.address"] == "${server:the Service's clusterIP}"


def test_pods_meet_the_restricted_standard_and_have_memory_for_the_larger_process(project: Any) -> None:
    content = rendered(project, jobmanager={"memory": "1Gi"}, taskmanagers={"memory": "2Gi"})
    pod = content["job"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["containers"][0]["resources"]["limits"]["memory"] == "2112Mi"


def test_sql_travels_with_its_names_put_in(project: Any) -> None:
    content = rendered(project)
    assert content["config_map"]["data"]["job.sql"] == "SELECT 7"
    assert arguments(content)[-2:] == ["--scriptUri", "file:///aiflow/flink/job.sql"]


def test_a_jar_travels_with_its_class_and_arguments(project: Any) -> None:
    content = rendered(project, JAR, properties={"to": "x y"})
    assert arguments(content) == [
        "--jars", "local:///aiflow/flink/job.jar", "--job-classname", "com.acme.Main", "--", "--to", "x y",
    ]  # fmt: skip
    assert set(content["config_map"]["binaryData"]) == {"job.jar"}


def test_a_jar_of_the_image_stays_there(project: Any) -> None:
    content = rendered(project, "with af.job('a'):\n    af.flink(jar='local:///opt/job.jar', entry_class='a.B')")
    assert arguments(content)[:2] == ["--jars", "local:///opt/job.jar"]
    assert "binaryData" not in content["config_map"]


def test_a_script_travels_with_its_files(project: Any) -> None:
    content = rendered(project, PYTHON, python="python3.11")
    assert arguments(content)[3:] == [
        "-pyclientexec", "python3.11", "-pyexec", "python3.11", "-pyfs", "/aiflow/flink/more.py",
        "-py", "/aiflow/flink/job.py", "x",
    ]  # fmt: skip
    assert {"job.py", "more.py"} < set(content["config_map"]["data"])


@pytest.mark.parametrize("kind", ["fifo", "endless", "large"])
def test_a_file_of_the_program_that_is_none_is_named_and_not_waited_for(project: Any, kind: str) -> None:
    script = written(project, PYTHON).root / "job.py"
    script.unlink()
    if kind == "fifo":
        os.mkfifo(script)
    elif kind == "endless":
        script.symlink_to("/dev/zero")
    else:
        script.touch()
        os.truncate(script, 1 << 40)
    with pytest.raises(AiflowError, match=r"job\.py cannot be read: it is "):
        render_project(project.root)


def test_a_program_too_large_to_travel_is_refused_with_what_to_do(project: Any) -> None:
    written(project, JAR, properties={"to": "x"})
    with zipfile.ZipFile(project.root / "job.jar", "w") as jar:
        jar.writestr("com/acme/Main.class", b"")
        jar.writestr("large", os.urandom(1_000_000))
    with pytest.raises(AiflowError, match=r"(?s)workflow\.py:\d+: .*ConfigMap holds .*local:///opt/flink"):
        render_project(project.root)


def test_a_stream_job_needs_a_folder_for_its_state_that_pods_reach(project: Any) -> None:
    said = refused(project, exec_mode="STREAM")
    assert "no folder for its checkpoints and savepoints" in said
    said = refused(project, exec_mode="STREAM", on_stop="cancel")
    assert "no folder for its checkpoints that" in said
    config = configured(rendered(project, exec_mode="STREAM", savepoints="s3://b/s", checkpoints="s3://b/c"))
    assert config["execution.checkpointing.savepoint-dir"] == "s3://b/s"
    assert config["execution.checkpointing.dir"] == "s3://b/c"


@pytest.mark.parametrize("checkpoints", ["file:///v/c", "file:/v/c"])
def test_a_stream_job_begins_with_the_savepoint_that_is_named_or_the_latest(project: Any, checkpoints: str) -> None:
    keys: dict[str, Any] = {"exec_mode": "STREAM", "savepoints": "/v/s", "checkpoints": checkpoints,
                            "volumes": [{"mount": "/v", "claim": "c"}]}  # fmt: skip
    assert restored(rendered(project, **keys)) == ["", ""]
    assert restored(rendered(project, restore_from="s3://b/s-1", **keys)) == ["", "s3://b/s-1"]
    found = restored(rendered(project, restore_from="latest", **keys))
    assert found == ["/v/c/*/chk-*/_metadata\n/v/s/savepoint-*-*/_metadata", ""]


def test_a_retry_that_could_not_restore_is_refused_before_the_run(project: Any) -> None:
    said = refused(project, exec_mode="STREAM", checkpoints="s3://b/c", savepoints="s3://b/s", retries=1)
    assert "retries of a STREAM job begins with its latest checkpoint" in said


def test_further_jars_travel_and_are_given_to_flink(project: Any) -> None:
    written(project)
    content = rendered(project, jars=["job.jar", "s3://b/other.jar"])
    assert arguments(content)[:4] == ["--jars", "local:///aiflow/flink/job.jar", "s3://b/other.jar", "--job-classname"]
    assert "job.jar" in content["config_map"]["binaryData"]
    assert "is not there" in refused(project, jars=["missing.jar"])


def test_memory_that_flink_does_not_fit_into_is_refused(project: Any) -> None:
    assert "is less than that of Flink's processes" in refused(project, memory="700Mi")


def test_only_flink_jobs_need_rights_for_services_and_configmaps(project: Any) -> None:
    written(project)
    assert 'resources: ["services/proxy"], verbs: [get, create]' in permissions(project.root)["kubernetes"]
    assert 'resources: ["configmaps"], verbs: [create, get]' in permissions(project.root)["kubernetes"]
    project.jobs("with af.job('a'):\n    af.cmd('true')",
                 json.dumps({"a": {"platform": "kubernetes", "engine": "cmd_line", "image": "x"}}))  # fmt: skip
    assert "services" not in permissions(project.root)["kubernetes"]


def test_everything_is_made_before_the_job_starts_and_is_owned_by_it(project: Any, cluster: Cluster) -> None:
    kept: dict[str, Any] = {}
    resume = cluster.resume

    def resumed(path: str, patch: dict[str, Any]) -> Any:
        kept.update(json.loads(json.dumps(cluster.objects)))
        return resume(path, patch)

    cluster.resume = resumed  # type: ignore[method-assign]
    record = prepare_run(written(project).root).driver.run()
    assert str(record.jobs["a"].state) == "FINISHED"
    owned = {path.split("/")[-2]: thing["metadata"]["ownerReferences"] for path, thing in kept.items()
             if "/jobs/" not in path}  # fmt: skip
    (job,) = [thing for path, thing in kept.items() if "/jobs/" in path]
    assert set(owned) == {"services", "configmaps"}
    assert all(each[0]["uid"] == job["metadata"]["uid"] for each in owned.values())
    assert not [path for path in cluster.objects if "/pods/" not in path]


def test_the_log_of_a_taskmanager_that_has_failed_is_kept(project: Any, cluster: Cluster, cli: Any) -> None:
    resume = cluster.resume

    def resumed(path: str, patch: dict[str, Any]) -> Any:
        found = resume(path, patch)
        name = found["metadata"]["name"]
        labels = {**found["metadata"]["labels"], "batch.kubernetes.io/job-name": name, INDEX: "1"}
        owner = [{"kind": "Job", "name": name, "uid": path}]
        pod = {"metadata": {"name": f"{name}-1", "labels": labels, "creationTimestamp": STARTED,
                            "ownerReferences": owner},
               "spec": {}, "status": {"phase": "Failed"}}  # fmt: skip
        cluster.put(f"/api/v1/namespaces/default/pods/{name}-1", pod)
        return found

    cluster.resume = resumed  # type: ignore[method-assign]
    record = prepare_run(written(project).root).driver.run()
    assert str(record.jobs["a"].state) == "FINISHED"
    shown = cli("logs", record.run_id, "a", "--container", "taskmanager-1", "--project", project.root)
    assert "complained" in shown.stdout


def test_a_scripts_log_that_its_node_is_slow_to_give_holds_up_no_other_job(project: Any, cluster: Cluster) -> None:
    written(project, f"{PYTHON}\nwith af.job('b'):\n    af.flink(sql='SELECT 1')")
    config = json.loads((project.root / "workflow.yaml").read_text())
    (project.root / "workflow.yaml").write_text(json.dumps({"*": config["a"]}))
    cluster.said = ["Traceback (most recent call last):", '  File "job.py", line 1, in <module>', "KeyError: 'x'"]
    resume, pods, done = cluster.resume, dict[str, str](), list[bool]()

    def status_with(state: dict[str, Any]) -> dict[str, Any]:
        return {"phase": "Running", "containerStatuses": [{"name": "job", "state": state, "started": True}]}

    def resumed(path: str, patch: dict[str, Any]) -> Any:
        job = cluster.objects[path]["metadata"]
        failed = {**COMPLETED["terminated"], "exitCode": 1, "message": "Python process exits with code: 1"}
        fails = job["labels"]["aiflow-ext/job"] == "a"
        cluster.pod_status = status_with({"terminated": failed} if fails else {"running": {"startedAt": STARTED}})
        pods["a" if fails else "b"] = f"{job['name']}-pod"
        return resume(path, patch)

    def before_log(pod: str) -> None:
        """The other job ends while the node is silent, and its pod is removed once that has been seen."""
        if pod != pods["a"] or done:
            return
        with cluster.changed:
            assert cluster.changed.wait_for(lambda: "b" in pods, PATIENCE)
            path = f"/api/v1/namespaces/default/pods/{pods['b']}"
            assert cluster.changed.wait_for(lambda: path in cluster.objects, PATIENCE)
            cluster.put(path, {**cluster.objects[path], "status": status_with(COMPLETED)})
            done.append(cluster.changed.wait_for(lambda: path not in cluster.objects, PATIENCE))

    cluster.resume, cluster.before_log = resumed, before_log  # type: ignore[method-assign, assignment]
    record = prepare_run(project.root).driver.run()
    assert done == [True]
    found = {name: job.last for name, job in record.jobs.items()}
    assert found["a"] is not None
    assert (str(found["a"].state), found["a"].reason) == ("FAILED", "KeyError: 'x'")


def test_while_flink_restarts_a_job_it_is_running_with_the_count_and_the_cause(
    project: Any, cluster: Cluster, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarts, "EVERY", 0.05)
    written(project)
    running = {"running": {"startedAt": STARTED}}
    cluster.pod_status = {"phase": "Running", "containerStatuses": [{"name": "job", "state": running, "started": True}]}
    shown: list[tuple[str, str, int]] = []

    def behind(path: str) -> Any:
        """It is restarted until status shows that; then it runs until status shows that, and ends."""
        (found,) = json.loads(cli("status", "latest", "--json").stdout)["jobs"]
        (attempt,) = found["attempts"]
        now = (attempt["state"], attempt["reason"] or "", attempt["restarts"])
        if path == "/jobs/overview" and now[2] and now not in shown:
            shown.append(now)
            if len(shown) == 2:
                (pod,) = [each for each in cluster.objects if "/pods/" in each]
                status = {"phase": "Succeeded", "containerStatuses": [{"name": "job", "state": COMPLETED}]}
                cluster.put(pod, {**cluster.objects[pod], "status": status})
        return {
            "/jobs/overview": {"jobs": [{"jid": "1" * 32, "state": "RUNNING" if shown else "RESTARTING"}]},
            f"/jobs/{'1' * 32}/exceptions": {"exceptionHistory": {"entries": [{"stacktrace": ROOT_CAUSE}]}},
            f"/jobs/{'1' * 32}/metrics": [{"id": "numRestarts", "value": "3"}],
        }.get(path)

    cluster.behind = behind  # type: ignore[assignment]
    record = prepare_run(project.root).driver.run()
    words = 'restarted 3 times; the last time because of IllegalStateException: no "such" table'
    assert shown == [("RUNNING", words, 3), ("RUNNING", "", 3)]
    assert str(record.jobs["a"].state) == "FINISHED"


# -- how it ends ----------------------------------------------------------------------------------------------------


class Ran:
    """The script as a container runs it, with a JobManager that archives ``summary`` and ends with ``code``."""

    def __init__(self, folder: Path, code: int, status: str, trace: str = "", saved: str = "", earlier: str = "",
                 given: str = "s3://given", log: str = "", **env: str) -> None:  # fmt: skip
        home, application, archive = folder / "home" / "bin", folder / "told", folder / "archive" / "c"
        for each in (home, application / "jobs", folder / "work", folder / "home" / "lib"):
            each.mkdir(parents=True)
        (folder / "home" / "lib" / "flink-dist-2.3.0.jar").touch()
        archives = f"cp -r '{application}' '{archive}/applications/a'"  # that is there: Flink may fail to make it
        if log:  # it ends before it archives anything
            (folder / "log").write_text(log)
            archives = f"cp '{folder}/log' \"$FLINK_LOG_DIR/flink-standalonejob.log\""
        (home / "standalone-job.sh").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@"\n{archives}\nexit {code}\n')
        (home / "taskmanager.sh").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        for script in home.iterdir():
            script.chmod(0o755)
        told = [{"path": "/applications/overview", "json": json.dumps({"status": status}, separators=(",", ":"))}]
        if trace:
            entries = {"exceptionHistory": {"entries": [{"stacktrace": trace, "timestamp": 1}]}}
            told.append({"path": "/applications/a/exceptions", "json": json.dumps(entries, separators=(",", ":"))})
        (application / "application-summary").write_text(json.dumps({"archive": told}, separators=(",", ":")))
        if saved:
            latest = {"savepoint": {"checkpoint_type": "SYNC_SAVEPOINT", "id": 3, "external_path": saved}}
            content = {"archive": [{"path": "/jobs/j/checkpoints", "json": json.dumps({"latest": latest})}]}
            (application / "jobs" / "j").write_text(json.dumps(content).replace(": ", ":"))
        reason = folder / "reason"
        done = subprocess.run(
            flink_shell.command(str(archive), ["--job-classname", "a.B", "--", "x y"],
                                [earlier] if earlier else [], given),
            cwd=folder / "work", capture_output=True, text=True, timeout=PATIENCE,
            env={"PATH": os.environ["PATH"], "FLINK_HOME": str(folder / "home"), "AIFLOW_REASON_FILE": str(reason),
                 "JOB_COMPLETION_INDEX": "0", "POD_IP": "10.0.0.1", **env},
        )  # fmt: skip
        self.code, self.stdout = done.returncode, done.stdout
        self.reason = reason.read_text() if reason.exists() else ""


def test_a_failure_is_told_by_its_root_cause(tmp_path: Path) -> None:
    ran = Ran(tmp_path, 163, "FAILED", ROOT_CAUSE)
    assert (ran.code, ran.reason) == (163, 'IllegalStateException: no "such" table')
    assert ran.stdout.splitlines()[3:] == ["--job-classname", "a.B", "--", "x y"]


def test_a_failure_without_causes_is_told_by_its_own_line(tmp_path: Path) -> None:
    assert Ran(tmp_path, 163, "FAILED", "a.B: no class\n\tat c.D").reason == "B: no class"


def test_a_jobmanager_that_does_not_get_as_far_as_the_program_tells_why(tmp_path: Path) -> None:
    log = (
        "2026-11-30 17:06:23,875 INFO  org.apache.flink.runtime.entrypoint.ClusterEntrypoint        [] - Install\n"
        "2026-11-30 17:06:24,104 ERROR org.apache.flink.runtime.entrypoint.ClusterEntrypoint        [] - Could not\n"
        "org.apache.flink.util.FlinkException: Could not load the provided entrypoint class.\n\tat a.B(B.java:1)\n"
    )
    ran = Ran(tmp_path / "1", 1, "", log=log)
    assert (ran.code, ran.reason) == (1, "FlinkException: Could not load the provided entrypoint class.")
    ran = Ran(tmp_path / "2", 1, "", log=f"{log}Caused by: java.lang.ClassNotFoundException: com.acme.Nope\n\t... 7\n")
    said = "ClassNotFoundException: com.acme.Nope (the image has Flink 2.3.0: build the jar for that version"
    assert ran.reason.startswith(said)


def test_a_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    words = 'Cannot run program "python3.99": error=2, No such file or directory'
    trace = (
        f"a.B: x\nCaused by: java.io.IOException: {words}\n\tat a.B\nCaused by: java.io.IOException: error=2, No such"
    )
    assert Ran(tmp_path, 163, "FAILED", trace).reason == f"IOException: {words}"


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        ("java.io.EOFException", "EOFException"),
        ("a.IllegalStateException: no operator. If so, you can set the --allowNonRestoredState option on the CLI.",
         "IllegalStateException: no operator. If so, say allow_non_restored_state: true."),
    ],
)  # fmt: skip
def test_state_that_cannot_be_restored_is_named(tmp_path: Path, cause: str, told: str) -> None:
    at = "\tat org.apache.flink.runtime.checkpoint.CheckpointCoordinator.restoreSavepoint(CheckpointCoordinator.java:1)"
    ran = Ran(tmp_path, 163, "FAILED", f"a.B: x\nCaused by: {cause}\n{at}", given="/sp/savepoint-1/_metadata")
    assert ran.reason == f"it cannot begin with /sp/savepoint-1: {told}"


def test_success_says_nothing(tmp_path: Path) -> None:
    ran = Ran(tmp_path, 0, "FINISHED")
    assert (ran.code, ran.reason) == (0, "")


def test_a_job_that_was_cancelled_through_flink_is_no_success(tmp_path: Path) -> None:
    ran = Ran(tmp_path, 0, "CANCELED")
    assert (ran.code, ran.reason) == (flink_shell.CANCELED, "it was cancelled at Flink, and not by aiflow-ext")


def test_the_exit_code_of_the_program_is_kept(tmp_path: Path) -> None:
    assert Ran(tmp_path, 7, "RUNNING").code == 7


def test_a_job_that_was_stopped_with_a_savepoint_says_where_it_is(tmp_path: Path) -> None:
    ran = Ran(tmp_path, 0, "FINISHED", saved="s3://b/savepoint-1")
    assert (ran.code, ran.reason) == (0, f"{status.SAVED}s3://b/savepoint-1")


def test_a_second_job_of_a_stream_program_is_told_with_what_to_do(tmp_path: Path) -> None:
    trace = "a.B: x\nCaused by: org.apache.flink.runtime.client.DuplicateJobSubmissionException: Job 1 was submitted"
    assert "may submit one" in Ran(tmp_path, 163, "FAILED", f"{trace}\n\tat a.B").reason


def test_the_newest_state_of_earlier_attempts_is_restored_or_else_the_one_that_was_named(tmp_path: Path) -> None:
    for number, name in enumerate(("chk-9", "chk-10", "chk-8")):
        (tmp_path / "state" / name).mkdir(parents=True)
        (tmp_path / "state" / name / "_metadata").touch()
        os.utime(tmp_path / "state" / name / "_metadata", (number, number))
    ran = Ran(tmp_path, 0, "FINISHED", earlier=f"{tmp_path}/state/chk-*/_metadata")
    assert ran.stdout.splitlines()[:3] == ["start-foreground", "-s", f"{tmp_path}/state/chk-8"]
    ran = Ran(tmp_path / "none", 0, "FINISHED", earlier=f"{tmp_path}/nowhere/*/_metadata")
    assert ran.stdout.splitlines()[:3] == ["start-foreground", "-s", "s3://given"]


def test_a_jobmanager_is_not_started_a_second_time(tmp_path: Path) -> None:
    ran = Ran(tmp_path, 0, "FINISHED", AIFLOW_FLINK_FAILED="1", AIFLOW_FLINK_DISRUPTED="0")
    assert ran.code == 1
    assert "start-foreground" not in ran.stdout


def test_a_taskmanager_that_ends_does_not_end_the_job(tmp_path: Path) -> None:
    ran = Ran(tmp_path, 0, "FINISHED", JOB_COMPLETION_INDEX="2", AIFLOW_FLINK_FAILED="4")
    assert (ran.code, ran.stdout.split()) == (flink_shell.LEFT, ["start-foreground", "-Dtaskmanager.host=10.0.0.1"])


def ended(code: int, message: str, stopped: bool) -> Any:
    """The event of an attempt whose pod has ended so."""
    annotations = {"aiflow-ext/stopped": "true"} if stopped else {}
    job = {"metadata": {"name": "n", "annotations": annotations}, "spec": {}, "status": {}}
    state = {"terminated": {**COMPLETED["terminated"], "exitCode": code, "message": message}}
    pod = {"metadata": {"name": "n-0", "creationTimestamp": STARTED}, "spec": {},
           "status": {"phase": "Succeeded", "containerStatuses": [{"name": "job", "state": state}]}}  # fmt: skip
    return status.status_of("n", job, [pod]).event


def test_a_savepoint_is_the_end_of_a_stop_and_its_path_the_reason() -> None:
    message = f"{status.SAVED}s3://b/savepoint-1"
    event = ended(0, message, stopped=True)
    assert (str(event.state), event.reason) == ("STOPPED", message)
    event = ended(0, message, stopped=False)
    assert (str(event.state), event.reason) == ("FINISHED", message)
    assert str(ended(0, "", stopped=True).state) == "FINISHED"
