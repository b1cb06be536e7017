"""``local.flink`` and session clusters that are not as they must be: a fake, for what no real one does."""

from __future__ import annotations

import json
import socket
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

JAR = 'af.flink(jar="job.jar", entry_class="Job"{})'


@pytest.fixture
def jar(project):
    with zipfile.ZipFile(project.root / "job.jar", "w") as made:
        made.writestr("Job.class", b"")


@pytest.fixture
def server() -> Iterator:
    """Answers each GET with what its ``content`` is, or its ``configuration``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            configured = self.path == "/jobmanager/config"
            data = self.server.configuration if configured else self.server.content  # type: ignore[attr-defined]
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.content, made.configuration = b'{"flink-version": "2.3.0"}', b"[]"  # type: ignore[attr-defined]
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def written(project, address: str, program: str = JAR.format(""), more: str = "") -> None:
    project.jobs(
        f'with af.job("count"): {program}',
        f"count: {{platform: local, engine: flink, jobmanager: '{address}'{more}}}\n",
    )


def test_an_address_at_which_nothing_answers_is_named_before_the_run(project, jar, cli):
    with socket.socket() as held:  # bound, and nothing listens
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
        written(project, address)
        done = cli("run", project.root)
    assert done.returncode == 6
    assert f"the session cluster {address} cannot be used" in done.stderr
    assert "does not answer" in done.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>", "with what is no JSON"),
        (b"{}", "is no Flink"),
        (b'{"flink-version": "1.20.1"}', "runs Flink 1.20.1, and jobs are submitted to Flink 2 alone"),
    ],
)
def test_what_is_no_flink_or_another_one_is_named_before_the_run(project, jar, cli, server, content, words):
    server.content = content
    written(project, f"127.0.0.1:{server.server_port}")
    done = cli("run", project.root)
    assert done.returncode == 6
    assert words in done.stderr


@pytest.mark.parametrize(
    ("program", "more", "words"),
    [
        ('af.flink(python="job.py")', "", "its REST API takes no script"),
        (JAR.format(', args=["{out}"], out=af.output("o")'), "", "does not see"),
        (JAR.format(""), ", jars: [job.jar]", "takes one jar"),
        (JAR.format(""), ", restore_from: latest, exec_mode: STREAM", "name the savepoint itself"),
        (JAR.format(""), ", taskmanagers: {count: 2}", "a session cluster has its own ones"),
    ],
)
def test_what_a_session_cluster_cannot_be_given_is_named_with_its_place(project, jar, cli, program, more, words):
    (project.root / "job.py").write_text("")
    written(project, "flink.example:8081", program, more)
    done = cli("render", project.root)
    assert done.returncode == 3
    assert words in done.stderr
    assert "workflow." in done.stderr


@pytest.mark.parametrize(
    ("configuration", "more", "refused"),
    [
        ('[{"key": "rest.port", "value": "8081"}]', "", True),
        ('[{"key": "rest.port", "value": "8081"}]', ", on_stop: cancel", False),
        ('[{"key": "rest.port", "value": "8081"}]', ", savepoints: 's3://b/s'", False),
        ('[{"key": "state.savepoints.dir", "value": "s3://b/s"}]', "", False),
        ('{"errors": ["not found"]}', "", False),
    ],
)
def test_a_stream_whose_stop_would_have_no_folder_for_its_savepoint_is_named_before_the_run(
    project, jar, cli, server, configuration, more, refused
):
    server.configuration = configuration.encode()
    written(project, f"0.0.0.0:{server.server_port}", more=f", exec_mode: STREAM{more}")  # no address of this machine
    done = cli("doctor", project.root)
    assert (done.returncode == 6) == refused, done.stderr
    words = "job 'count': stopping it takes a savepoint, and neither the job nor the session cluster 0.0.0.0:"
    assert (f"{words}{server.server_port} has a folder" in done.stdout + done.stderr) == refused
    assert ("workflow.py:" in done.stdout + done.stderr) == refused


def test_what_is_rendered_has_the_job_s_own_configuration_and_needs_no_flink_here(project, jar, cli):
    more = ", exec_mode: STREAM, savepoints: 'hdfs:///sp', flink: {pipeline.object-reuse: true}, env: {PATH: /nowhere}"
    written(project, "flink.example:8081", more=more)
    done = cli("render", project.root, "--json")
    assert done.returncode == 0, done.stderr
    (job,) = json.loads(done.stdout)
    spec = json.loads(job["content"]["payload"])
    assert (spec["session"], spec["savepoint_url"], len(spec["id"])) == ("flink.example:8081", "hdfs:///sp", 32)
    assert spec["configuration"]["pipeline.object-reuse"] == "true"
    assert spec["configuration"]["execution.runtime-mode"] == "STREAMING"
    assert not any(key.startswith(("taskmanager.", "jobmanager.", "$internal")) for key in spec["configuration"])
