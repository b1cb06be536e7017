"""The client of Flink's REST API, against a server that answers as Flink does."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from aiflow_ext.model.errors import PlatformError
from aiflow_ext_flink.rest import FlinkRest, Refused, Unreachable

ID = "a" * 32


class Server:
    """Answers by ``METHOD path``, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[tuple[str, Any]] = []
        told = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                told.asked.append((f"{self.command} {self.path}", json.loads(body) if body[:1] == b"{" else body))
                status, content = told.answers.get(f"{self.command} {self.path}", (404, {"errors": ["Not found."]}))
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_DELETE = answer

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, daemon=True)
    thread.start()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def rest(server: Server) -> FlinkRest:
    return FlinkRest(server.address)


def test_jobs_and_their_states_are_read(server, rest):
    server.answers["GET /jobs/overview"] = 200, {"jobs": [{"jid": ID, "state": "RUNNING"}, 3]}
    server.answers[f"GET /jobs/{ID}/status"] = 200, {"status": "FAILING"}
    assert rest.jobs() == [{"jid": ID, "state": "RUNNING"}]
    assert rest.job_status(ID) == "FAILING"


def test_restarts_are_read_from_the_job_s_metrics(server, rest):
    path = f"GET /jobs/{ID}/metrics?get=numRestarts"
    for content, count in (([{"id": "numRestarts", "value": "12"}], 12), ([], 0), ([{"id": "x", "value": "NaN"}], 0)):
        server.answers[path] = 200, content
        assert rest.restarts(ID) == count


def test_a_stop_with_a_savepoint_is_asked_for_and_followed(server, rest):
    server.answers[f"POST /jobs/{ID}/stop"] = 202, {"request-id": "r"}
    assert rest.stop(ID, "/sp", drain=True) == "r"
    assert server.asked[-1] == (f"POST /jobs/{ID}/stop", {"drain": True, "targetDirectory": "/sp"})
    assert rest.stop(ID, None) == "r"
    assert server.asked[-1][1] == {"drain": False}, "without a folder the cluster's own one is taken"
    path = f"GET /jobs/{ID}/savepoints/r"
    server.answers[path] = 200, {"status": {"id": "IN_PROGRESS"}}
    assert rest.savepoint(ID, "r") is None
    server.answers[path] = 200, {"status": {"id": "COMPLETED"}, "operation": {"location": "file:/sp/1"}}
    assert rest.savepoint(ID, "r") == "file:/sp/1"
    trace = "java.util.concurrent.CompletionException: x\nCaused by: java.io.IOException: No space left on device\n"
    failed = {"status": {"id": "COMPLETED"}, "operation": {"failure-cause": {"stack-trace": trace}}}
    server.answers[path] = 200, failed
    with pytest.raises(PlatformError, match="the savepoint failed: IOException: No space left on device"):
        rest.savepoint(ID, "r")


def test_a_job_that_has_ended_or_is_gone_is_cancelled_without_complaint(server, rest):
    for status in (202, 404, 409):
        server.answers[f"PATCH /jobs/{ID}?mode=cancel"] = status, {"errors": ["x"]} if status > 400 else {}
        rest.cancel(ID)
    server.answers[f"PATCH /jobs/{ID}?mode=cancel"] = 400, {"errors": ["malformed"]}
    with pytest.raises(Refused, match=r"status 400\): malformed") as caught:
        rest.cancel(ID)
    assert caught.value.status == 400


def test_a_jar_is_uploaded_and_run(server, rest):
    server.answers["POST /jars/upload"] = 200, {"filename": "/tmp/flink-web/1_job.jar", "status": "success"}
    server.answers["POST /jars/1_job.jar/run"] = 200, {"jobid": ID}
    assert rest.upload("job.jar", b"PK") == "1_job.jar"
    assert b'filename="job.jar"' in server.asked[-1][1]
    assert rest.run("1_job.jar", {"entryClass": "A", "jobId": ID}) == ID


def test_a_cluster_that_is_not_there_or_not_ready_is_unreachable(server, rest):
    words = "Service temporarily unavailable due to an ongoing leader election."
    server.answers["GET /overview"] = 503, {"errors": [words]}
    with pytest.raises(Unreachable, match="is not ready"):
        rest.overview()
    with socket.socket() as held:  # bound, and nothing listens
        held.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="does not answer"):
            FlinkRest(f"127.0.0.1:{held.getsockname()[1]}").overview()


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"{" * 100_000])
def test_an_answer_that_is_no_flink_s_is_named(server, rest, content):
    server.answers["GET /overview"] = 200, content
    with pytest.raises(PlatformError, match=r"answers GET /overview with what is no"):
        rest.overview()


def test_of_an_error_with_a_stack_trace_the_cause_is_told(server, rest):
    trace = "org.apache.flink.runtime.rest.handler.RestHandlerException: x\n\tat y\nCaused by: java.lang.Error: boom\n"
    server.answers["GET /overview"] = 500, {"errors": ["Internal server error.", trace]}
    with pytest.raises(Refused, match=r"Internal server error\. Error: boom"):
        rest.overview()
