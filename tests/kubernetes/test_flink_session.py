"""Flink jobs of Kubernetes in a session cluster: what is sent, offline, and what the pod's script makes of it. The
script is the real one; the session cluster is a fake, for what no real one does on demand, and so is Flink's client."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fake_cluster import COMPLETED, STARTED
from hostile_server import Answer
from patience import PATIENCE

from aiflow_ext.model.errors import AiflowError, PlatformError
from aiflow_ext.model.states import JobState
from aiflow_ext.run import prepare_run, render_project
from aiflow_ext.run.operations.render import permissions
from aiflow_ext_flink.rest import Refused
from aiflow_ext_kubernetes import flink_session_shell, flink_shell, manifest, status
from aiflow_ext_kubernetes.flink_handler import KubernetesSessionHandler
from aiflow_ext_kubernetes.flink_rest import ProxiedRest

SQL = "af.flink(sql='SELECT {n}', n=7)"
JAR = "af.flink(jar='job.jar', entry_class='com.acme.Main', args=['-p', 'x y'])"
PYTHON = "af.flink(python='job.py', args=['-s', 'x'], py_files=['more.py'])"
ADDRESS = "flink:8081"
ID = "0123456789abcdef0123456789abcdef"
CAUSE = 'a.JobException: failed\n\tat a.B(B.java:1)\nCaused by: java.lang.IllegalStateException: no "such" table\n'


def written(project: Any, program: str = SQL, **keys: Any) -> Any:
    config = {"platform": "kubernetes", "engine": "flink", "image": "flink:2.3.0", "jobmanager": ADDRESS, **keys}
    project.jobs(f"with af.job('a'): {program}", json.dumps({"a": config}))
    (project.root / "job.py").write_text("print(1)\n")
    (project.root / "more.py").write_text("")
    with zipfile.ZipFile(project.root / "job.jar", "w") as jar:
        jar.writestr("com/acme/Main.class", bytes(range(256)))
    return project


def rendered(project: Any, program: str = SQL, **keys: Any) -> dict[str, Any]:
    found: dict[str, Any] = render_project(written(project, program, **keys).root)[0]["content"]
    return found


def words(content: dict[str, Any]) -> list[str]:
    """What the script is given: host, port, id, kind, former ids, patterns, what is restored, options, arguments."""
    command: list[str] = content["job"]["spec"]["template"]["spec"]["containers"][0]["command"]
    return command[command.index("aiflow-ext-flink") + 1 :]


# -- what is sent ---------------------------------------------------------------------------------------------------


def test_a_job_in_a_session_cluster_is_one_pod_with_a_client_and_no_service(project: Any) -> None:
    content = rendered(project, flink={"pipeline.object-reuse": True})
    spec = content["job"]["spec"]
    assert (spec["completions"], spec["parallelism"], spec["backoffLimit"]) == (1, 1, 0)
    assert spec["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] == "1Gi"
    assert "service" not in content
    found = words(content)
    config = json.loads(content["config_map"]["data"]["config.yaml"])
    assert (config["rest.address"], config["rest.port"], config["execution.target"]) == ("flink", "8081", "remote")
    assert found[:2] == ["flink", "8081"]
    assert config["$internal.pipeline.job-id"] == found[2]
    assert config["pipeline.object-reuse"] == "true"
    assert "parallelism.default" not in config
    assert content["config_map"]["data"]["job.sql"] == "SELECT 7"


@pytest.mark.parametrize(
    ("program", "keys", "said"),
    [
        (SQL, {}, ["", "--scriptUri", "file:///aiflow/flink/job.sql"]),
        (JAR, {"parallelism": 3, "allow_non_restored_state": True},
         ["-p 3 -n", "-c", "com.acme.Main", "/aiflow/flink/job.jar", "-p", "x y"]),
        (JAR, {"exec_mode": "STREAM"}, ["-d", "-c", "com.acme.Main", "/aiflow/flink/job.jar", "-p", "x y"]),
        ("af.flink(jar='local:///opt/job.jar')", {}, ["", "/opt/job.jar"]),
        (PYTHON, {"python": "python3.11"},
         ["", "-pyclientexec", "python3.11", "-pyexec", "python3.11", "-pyfs", "/aiflow/flink/more.py", "-py",
          "/aiflow/flink/job.py", "--", "-s", "x"]),
    ],
)  # fmt: skip
def test_flinks_client_is_given_the_program_with_its_arguments(
    project: Any, program: str, keys: dict[str, Any], said: list[str]
) -> None:
    assert words(rendered(project, program, **keys))[7:] == said


def test_state_folders_of_the_config_are_the_jobs_and_else_the_session_clusters(project: Any) -> None:
    config = json.loads(rendered(project, exec_mode="STREAM")["config_map"]["data"]["config.yaml"])
    assert "execution.checkpointing.dir" not in config
    keys = {"exec_mode": "STREAM", "checkpoints": "/v/c", "savepoints": "/v/s", "restore_from": "latest"}
    content = rendered(project, **keys)
    assert "file:///v/c" in content["config_map"]["data"]["config.yaml"]
    assert words(content)[5] == "/v/c/*/chk-*/_metadata\n/v/s/savepoint-*-*/_metadata"


@pytest.mark.parametrize(
    ("program", "keys", "said"),
    [
        (SQL, {"jobmanager": "localhost:8081"}, "would be the job's own pod"),
        (SQL, {"jobmanager": "https://flink:8081"}, "session clusters without TLS alone"),
        (SQL, {"jars": ["job.jar"]}, "takes one jar"),
        (SQL, {"exec_mode": "STREAM", "restore_from": "latest"}, "looks into folders that the job's pod sees"),
        (SQL, {"taskmanagers": {"count": 2}}, "a session cluster has its own ones"),
        ("af.flink(jar='s3://b/job.jar')", {}, "takes no jar at a URL"),
    ],
)
def test_what_a_session_cluster_cannot_be_given_is_named_before_anything_is_sent(
    project: Any, program: str, keys: dict[str, Any], said: str
) -> None:
    with pytest.raises(AiflowError) as caught:
        rendered(project, program, **keys)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("address", "proxied"),
    [("flink:8081", True), ("flink.other.svc:8081", False), ("flink.example.com:80", False), ("10.0.0.1:8081", False)],
)
def test_only_for_a_service_of_the_namespace_the_role_has_the_proxy(project: Any, address: str, proxied: bool) -> None:
    found = permissions(written(project, jobmanager=address).root)["kubernetes"]
    assert ('resources: ["services/proxy"], verbs: [get, create, patch]' in found) == proxied
    assert 'resources: ["configmaps"], verbs: [create, get]' in found
    assert 'resources: ["services"]' not in found


def test_a_session_cluster_that_is_none_is_named_before_the_run(project: Any, cluster: Any, cli: Any) -> None:
    written(project, jobmanager="flink.other.svc:8081")
    done = cli("run", project.root)
    assert done.returncode == 6
    assert "the session cluster flink.other.svc:8081 cannot be used" in done.stderr


@pytest.mark.parametrize("is_service", [False, True])
def test_a_stream_whose_stop_would_have_no_folder_for_its_savepoint_is_named_before_the_run(
    project: Any, cluster: Any, cli: Any, flink: Flink, is_service: bool
) -> None:
    configured = [{"key": "rest.port", "value": "8081"}]
    flink.answers = {"/jobmanager/config": configured, **flink.answers}
    cluster.behind = {"/config": {"flink-version": "2.3.0"}, "/jobmanager/config": configured}.get
    address = ADDRESS if is_service else flink.beside()
    written(project, jobmanager=address, exec_mode="STREAM")
    done = cli("run", project.root)
    assert done.returncode == 6
    assert f"neither the job nor the session cluster {address} has a folder for savepoints" in done.stderr
    assert "workflow.py:" in done.stderr


# -- how it ends ----------------------------------------------------------------------------------------------------


class Flink:
    """A session cluster with one job, and a client that submits it.

    Attributes:
        states: what the job's state is, one after the other; the last one stays. None: it does not know the job.
        vertices: of the job.
        answers: what it says of other paths, by their end.
        asked: the requests that change something.
        ended: the ids of other jobs, which cannot be cancelled.
        cancels: called while a request to cancel the job is answered.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.states, self.vertices = folder, list[str | None](), list[Any]()
        self.answers: dict[str, Any] = {"/config": {"flink-version": "2.3.0"}}
        self.asked: list[str] = []
        self.ended = set[str]()
        self.running = threading.Event()
        self.cancels: Callable[[], Any] = lambda: None
        (folder / "home" / "bin").mkdir(parents=True)
        (folder / "work").mkdir()
        self.client("printf '%s\\n' \"$@\"")
        flink = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if re.fullmatch("/jobs/[0-9a-f]{32}", path):
                    state = flink.states[0] if len(flink.states) == 1 else flink.states.pop(0)
                    if state == "RUNNING":
                        flink.running.set()
                    found = {"jid": ID, "name": 'it\'s "state":"FAILED"', "vertices": flink.vertices}
                    self.say({**found, "state": state} if state else {"errors": ["not found"]}, 200 if state else 404)
                else:
                    self.say(next((each for end, each in flink.answers.items() if path.endswith(end)), {}), 200)

            def do_POST(self) -> None:
                flink.asked.append(self.path)
                self.rfile.read(int(self.headers["Content-Length"]))
                self.say({"request-id": "r"}, 202)

            def do_PATCH(self) -> None:
                flink.asked.append(self.path)
                flink.cancels()
                if f"/jobs/{ID}" in self.path:
                    flink.states = ["CANCELED"]
                self.say({}, 409 if any(each in self.path for each in flink.ended) else 202)

            def say(self, content: Any, status: int) -> None:
                data = json.dumps(content, separators=(",", ":")).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def beside(self) -> str:
        """Its address, as no loopback: that would be a pod's own."""
        return f"0.0.0.0:{self.server.server_port}"

    def client(self, body: str) -> None:
        """What Flink's command does, in a shell."""
        script = self.folder / "home" / "bin" / "flink"
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)

    def start(self, **more: Any) -> subprocess.Popen[str]:
        env = {"PATH": os.environ["PATH"], "FLINK_HOME": str(self.folder / "home"),
               "AIFLOW_REASON_FILE": str(self.folder / "reason")}  # fmt: skip
        given: dict[str, Any] = {"kind": "jar", "options": ["-d"], "arguments": ["-c", "a.B", "job.jar", "x y"], **more}
        argv = flink_session_shell.command("127.0.0.1", self.server.server_port, ID, **given)
        return subprocess.Popen(argv, env=env, cwd=self.folder / "work", text=True, start_new_session=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip

    def run(self, **more: Any) -> tuple[int, str, str]:
        """The script's exit code, the reason that it gives, and its stdout."""
        started = self.start(**more)
        out, _ = started.communicate(timeout=PATIENCE)
        reason = self.folder / "reason"
        return started.returncode, reason.read_text() if reason.exists() else "", out


class Pods:
    """Runs the container of each Job that is resumed, as a process of this machine, with a folder in place of
    ``/aiflow``, and with Flink's client."""

    def __init__(self, cluster: Any, folder: Path, flink: Flink) -> None:
        self.cluster, self.folder, self.flink, self.resume = cluster, folder, flink, cluster.resume
        cluster.resume = self._resumed

    def _resumed(self, path: str, patch: dict[str, Any]) -> Any:
        (container,) = self.cluster.objects[path]["spec"]["template"]["spec"]["containers"]
        root = self.folder / path.rpartition("/")[2]
        for each in ("in", "bundle", "work"):
            (root / each).mkdir(parents=True)
        for thing in self.cluster.objects.values():
            for name, text in thing.get("stringData", {}).items():
                (root / "in" / name).write_text(text.replace("/aiflow/", f"{root}/"))
            for name, data in thing.get("data", {}).items() if thing["kind"] == "Secret" else ():
                (root / "in" / name).write_bytes(base64.b64decode(data))
        given = {each["name"]: each["value"].replace("/aiflow/", f"{root}/") for each in container["env"]}
        env = {"PATH": os.environ["PATH"], **given, "FLINK_HOME": str(self.flink.folder / "home"),
               "AIFLOW_REASON_FILE": str(root / "reason")}  # fmt: skip
        command = [word.replace("$$", "$").replace("/aiflow/", f"{root}/") for word in container["command"]]
        done = subprocess.run(command, cwd=root / "work", env=env, capture_output=True, timeout=PATIENCE)
        message = (root / "reason").read_text() if (root / "reason").exists() else ""
        ended = {**COMPLETED["terminated"], "exitCode": done.returncode, "message": message}
        phase = "Failed" if done.returncode else "Succeeded"
        self.cluster.pod_status = {
            "phase": phase, "containerStatuses": [{"name": "job", "state": {"terminated": ended}}],
        }  # fmt: skip
        return self.resume(path, patch)


@pytest.fixture
def flink(tmp_path: Path) -> Iterator[Flink]:
    made = Flink(tmp_path / "flink")
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_job_is_followed_to_its_end_after_its_client_has_ended(flink: Flink) -> None:
    flink.states = ["CREATED", "RUNNING", "FINISHED"]
    assert flink.run() == (0, "", "run\n-d\n-c\na.B\njob.jar\nx y\n")
    assert flink.states == ["FINISHED"]


def test_a_job_that_failed_has_its_root_cause_as_the_reason(flink: Flink) -> None:
    flink.states = ["RUNNING", "FAILED"]
    flink.answers["/exceptions"] = {"exceptionHistory": {"entries": [
        {"exceptionName": "a.JobException", "stacktrace": CAUSE, "timestamp": 1}], "truncated": False}}  # fmt: skip
    assert flink.run()[:2] == (1, 'IllegalStateException: no "such" table')


def test_a_job_that_was_cancelled_through_flink_is_no_success(flink: Flink) -> None:
    flink.states = ["RUNNING", "CANCELED"]
    assert flink.run()[:2] == (flink_shell.CANCELED, "it was cancelled at Flink, and not by aiflow-ext")


def test_a_job_that_was_stopped_with_a_savepoint_says_where_it_is(flink: Flink) -> None:
    flink.states = ["FINISHED"]
    saved = {"id": 3, "checkpoint_type": "SYNC_SAVEPOINT", "tasks": {}, "external_path": "s3://b/savepoint-1"}
    flink.answers["/checkpoints"] = {"history": [saved, {"id": 2, "external_path": "s3://b/chk-2"}]}
    assert flink.run()[:2] == (0, f"{status.SAVED}s3://b/savepoint-1")


def test_a_program_that_submits_nothing_has_failed(flink: Flink) -> None:
    flink.states = [None]
    assert flink.run()[:2] == (1, "the program has submitted no Flink job")


def test_a_session_cluster_that_forgets_the_job_is_no_success(flink: Flink) -> None:
    flink.states = ["RUNNING", None]
    code, reason, _ = flink.run()
    assert code == 1
    assert "does not know the job any more" in reason


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("echo 'Traceback (most recent call last):\n  File x\nValueError: wrong'", "ValueError: wrong"),
        ("echo 'a.B: x\nCaused by: java.lang.ArithmeticException: / by zero\n\tat a.B' >&2",
         "ArithmeticException: / by zero"),
        ("echo 'Caused by: a.DuplicateJobSubmissionException: Job has already been submitted.' >&2",
         "the program submits a second Flink job"),
        ("echo 'Could not get job jar and dependencies from JAR file: JAR file does not exist: /x.jar\n\nUse -h'",
         "JAR file does not exist: /x.jar"),
        (":", "the program has failed; its log says why"),
    ],
)  # fmt: skip
def test_a_program_that_fails_tells_why_and_what_it_has_submitted_is_cancelled(
    flink: Flink, printed: str, said: str
) -> None:
    flink.client(f"{printed}\nexit 1")
    flink.states = ["RUNNING"]
    code, reason, _ = flink.run()
    assert (code, reason[: len(said)]) == (1, said)
    assert flink.asked == [f"/jobs/{ID}?mode=cancel"]


@pytest.mark.parametrize(
    ("options", "ended", "fails"), [(["-d"], False, True), (["-d"], True, True), ([], True, False)]
)
def test_a_second_job_of_the_program_is_cancelled_with_the_first_and_is_the_reason(
    flink: Flink, options: list[str], ended: bool, fails: bool
) -> None:
    """Of a BATCH program one that has ended is none: its client has waited for it."""
    other = "f" * 32
    flink.client(f"for each in {ID} {other}; do echo Job has been submitted with JobID $each; done")
    flink.states = ["RUNNING" if fails else "FINISHED"]
    flink.ended = {other} if ended else set()
    code, reason, _ = flink.run(options=options)
    assert (code, reason[:38]) == ((1, "the program submits a second Flink job") if fails else (0, ""))
    assert flink.asked == [f"/jobs/{each}?mode=cancel" for each in ([other, ID] if fails else [other])]


def test_a_pod_that_is_ended_cancels_its_job(flink: Flink) -> None:
    flink.states = ["RUNNING"]
    started = flink.start()
    assert flink.running.wait(PATIENCE)
    started.send_signal(signal.SIGTERM)
    started.communicate(timeout=PATIENCE)
    assert started.returncode == 143
    assert flink.asked == [f"/jobs/{ID}?mode=cancel"]


@pytest.mark.parametrize(
    ("history", "folder", "begins"),
    [
        ([{"id": 9, "external_path": "s3://b/chk-9"}, {"id": 8, "external_path": "s3://b/chk-8"}], "chk-1",
         "s3://b/chk-9"),
        ([{"id": 9, "external_path": "<checkpoint-not-externally-addressable>"}], "chk-1", "FOLDER/chk-1"),
        ([], "", "s3://given"),
    ],
)  # fmt: skip
def test_a_retry_goes_on_from_the_newest_state_that_the_cluster_or_a_folder_knows(
    flink: Flink, tmp_path: Path, history: list[Any], folder: str, begins: str
) -> None:
    flink.states = ["FINISHED"]
    flink.answers["former/checkpoints"] = {"counts": {}, "latest": {}, "history": history}
    if folder:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "_metadata").touch()
    code, _, out = flink.run(former=["former"], earlier=[f"{tmp_path}/chk-*/_metadata"], restored="s3://given")
    assert code == 0
    assert out.splitlines()[:4] == ["run", "-d", "-s", begins.replace("FOLDER", str(tmp_path))]


@pytest.mark.parametrize(
    ("client", "states", "ends"),
    [
        ('mkdir "$out" && cat "$words"/* | sort >"$out/part"', ["RUNNING", "FINISHED"], ("FINISHED", "None")),
        ('mkdir "$out"', ["CANCELED"], ("FAILED", "it was cancelled at Flink, and not by aiflow-ext")),
        (":", ["FINISHED"], ("FAILED", "was to write its output")),
        ("exit 1", [None], ("FAILED", "the program has failed; its log says why")),
    ],
)
@pytest.mark.parametrize("program", ["sql", "jar"])
def test_artifacts_go_in_and_come_out_only_of_a_job_that_finishes(
    project: Any, cluster: Any, flink: Flink, tmp_path: Path, program: str, client: str, states: Any, ends: Any
) -> None:
    """The runner and both scripts are the real ones. Flink's client does what the session cluster would."""
    # Of SQL the last argument is the script's URL, and of a jar the last two are the paths.
    paths = """\
for each; do words=$out out=$each; done
case $out in file://*) words=$(cut -d"'" -f2 "${out#file://}") out=$(cut -d"'" -f4 "${out#file://}") ;; esac"""
    flink.client(f"{paths}\n{client}")
    (flink.folder / "home" / "opt").mkdir()
    (flink.folder / "home" / "opt" / "flink-sql-gateway-2.3.0.jar").touch()
    given = {"sql": "sql=\"FROM '{words}' TO '{out}'\"",
             "jar": 'jar="job.jar", entry_class="com.acme.Main", args=["{words}", "{out}"]'}[program]  # fmt: skip
    shared = str(project.root / ".aiflow" / "artifacts")
    written(project, jobmanager=flink.beside(), python="python3",
            volumes=[{"mount": shared, "host_path": shared}])  # fmt: skip
    config = json.loads((project.root / "workflow.yaml").read_text())
    project.jobs(
        'with af.job("words"): words = af.cmd("mkdir {w} && echo b > {w}/1 && echo a > {w}/2", w=af.output("w"))\n'
        f'with af.job("a"): found = af.flink({given}, words=words, out=af.output("o"))\n'
        'with af.job("read"): af.cmd("cat {found}/* > {all}", found=found, all=af.output("all"))',
        json.dumps({"*": {"platform": "local"}, **config}),
    )
    Pods(cluster, tmp_path / "pods", flink)
    flink.states = states
    attempt = prepare_run(project.root).driver.run().jobs["a"].last
    assert attempt is not None
    assert (str(attempt.state), ends[1] in str(attempt.reason)) == (ends[0], True), attempt.reason
    kept = [each.read_text() for each in Path(shared).glob("*/read/1/*/all")]
    assert kept == (["a\nb\n"] if ends[0] == "FINISHED" else [])
    assert not [*Path(shared).glob("*/.flink")]


def test_a_pod_with_artifacts_that_is_ended_cancels_its_job_though_its_runner_ends_at_once(
    flink: Flink, tmp_path: Path
) -> None:
    root, flink.states = tmp_path / "aiflow", ["RUNNING"]
    for each in ("in", "work"):
        (root / each).mkdir(parents=True)
    made = flink_session_shell.command("127.0.0.1", flink.server.server_port, ID, "jar", ["-d"], ["job.jar"])
    inner, outer = (
        [word.replace("/aiflow/", f"{root}/") for word in words]
        for words in (
            flink_session_shell.runners_command(made),
            flink_session_shell.around(str(tmp_path / "volume" / "a" / "1"), sys.executable),
        )
    )
    (root / "in" / "start.py").write_text(f"import subprocess\nsubprocess.run({inner!r})\n")
    env = {"PATH": os.environ["PATH"], "FLINK_HOME": str(flink.folder / "home"),
           "AIFLOW_REASON_FILE": str(root / "reason")}  # fmt: skip
    started = subprocess.Popen(outer, env=env, cwd=root / "work", start_new_session=True)
    early: list[bool] = []

    def cancels() -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.wait(1)
        early.append(started.poll() is not None)  # and with it the container, and the script

    flink.cancels = cancels
    assert flink.running.wait(PATIENCE)
    os.killpg(started.pid, signal.SIGTERM)  # as the container's first process does
    assert started.wait(PATIENCE) != 0
    assert early == [False]
    assert flink.asked == [f"/jobs/{ID}?mode=cancel"]
    assert not (tmp_path / "volume" / "a").exists()


def test_what_flink_refuses_is_told_in_its_own_words_through_the_api_server_too(serve: Any, target_of: Any) -> None:
    words = "Config key [execution.checkpointing.savepoint-dir] is not set."
    body = json.dumps({"errors": [f"a.b.RestHandlerException: {words}\n\tat a.b.C(D.java:1)"]}).encode()
    rest = ProxiedRest(target_of(serve(Answer(body=body, status=400)).url), "flink", 8081)
    with pytest.raises(Refused, match=re.escape(words)):
        rest.stop(ID, None)


@pytest.mark.parametrize(("ours", "submits"), [("2.3.1", True), ("2.2.0", False)])
def test_an_image_with_another_flink_than_the_clusters_is_named_before_anything_is_submitted(
    flink: Flink, ours: str, submits: bool
) -> None:
    (flink.folder / "home" / "lib").mkdir()
    (flink.folder / "home" / "lib" / f"flink-dist-{ours}.jar").touch()
    flink.states = ["FINISHED"]
    code, reason, out = flink.run()
    assert (code == 0, out != "") == (submits, submits)
    assert ("the image has Flink 2.2.0, and the session cluster 127.0.0.1:" in reason) == (not submits)


def test_an_image_without_flink_or_what_sql_needs_is_named(flink: Flink) -> None:
    assert "flink-sql-gateway-*.jar in the image, which SQL needs" in flink.run(kind="sql")[1]
    (flink.folder / "home" / "bin" / "flink").unlink()
    code, reason, _ = flink.run()
    assert (code, "no Flink in the image" in reason) == (127, True)


def test_a_job_that_waits_for_slots_is_queued_and_stopping_it_needs_no_savepoint(cluster: Any, flink: Flink) -> None:
    job = {"name": "j", "annotations": {manifest.PAGE: "http://flink:8081"}}
    cluster.put("/apis/batch/v1/namespaces/default/jobs/j", {"metadata": job, "spec": {"suspend": False}})
    container = {"name": "job", "started": False, "state": {"running": {"startedAt": STARTED}}}
    pod = {"metadata": {"name": "j-pod", "labels": {"batch.kubernetes.io/job-name": "j"}}, "spec": {},
           "status": {"phase": "Running", "containerStatuses": [container]}}  # fmt: skip
    cluster.put("/api/v1/namespaces/default/pods/j-pod", pod)
    flink.states, flink.vertices = ["CREATED"], [{"status": "CREATED"}]
    failed = {"failure-cause": {"stack-trace": "a.CheckpointException: Not all required tasks are currently running."}}
    flink.answers["/savepoints/r"] = {"status": {"id": "COMPLETED"}, "operation": failed}
    handler = KubernetesSessionHandler("j", ID, flink.beside(), saves=True)
    assert handler.state() is JobState.QUEUED
    container["started"] = True
    cluster.put("/api/v1/namespaces/default/pods/j-pod", pod)
    assert handler.state() is JobState.RUNNING
    with pytest.raises(PlatformError, match="Not all required tasks"):
        handler.stop(grace=5)
    assert flink.asked == [f"/jobs/{ID}/stop"], "a job that has begun is not ended without its savepoint"
    container["started"] = False
    cluster.put("/api/v1/namespaces/default/pods/j-pod", pod)
    assert handler.stop(grace=5) is True
    assert flink.asked[1:] == [f"/jobs/{ID}/stop", f"/jobs/{ID}?mode=cancel"]
