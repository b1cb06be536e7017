"""plugins/opentelemetry, against a real OTLP receiver on loopback: an HTTP server that decodes what it is sent."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from dist_info import install
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from patience import PATIENCE

PLUGIN = Path(__file__).parents[2] / "plugins" / "opentelemetry"
CMD = '"*": {platform: local, engine: cmd_line}\n'


class Receiver(BaseHTTPRequestHandler):
    """As much of OTLP/HTTP as an exporter needs."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        kind = ExportTraceServiceRequest if self.path == "/v1/traces" else ExportMetricsServiceRequest
        self.server.got.append(kind.FromString(body))  # type: ignore[attr-defined]
        self.server.arrived.set()  # type: ignore[attr-defined]
        self.server.answers.wait(PATIENCE)  # type: ignore[attr-defined]
        with contextlib.suppress(ConnectionError):  # the client may have been killed
            self.send_response(200)
            self.end_headers()

    def log_message(self, *_: Any) -> None: ...


class Collector:
    """What a receiver has got."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.arrived, self.answers = server.arrived, server.answers
        self.url = f"http://127.0.0.1:{server.server_address[1]}"

    @property
    def spans(self) -> list[Any]:
        return [span for traces in self._of(ExportTraceServiceRequest) for resource in traces.resource_spans
                for scope in resource.scope_spans for span in scope.spans]  # fmt: skip

    @property
    def services(self) -> set[str]:
        return {attributes(resource.resource)["service.name"] for traces in self._of(ExportTraceServiceRequest)
                for resource in traces.resource_spans}  # fmt: skip

    @property
    def metrics(self) -> dict[str, Any]:
        """By name, as they were received last."""
        return {metric.name: metric for metrics in self._of(ExportMetricsServiceRequest)
                for resource in metrics.resource_metrics for scope in resource.scope_metrics
                for metric in scope.metrics}  # fmt: skip

    def _of(self, kind: type) -> list[Any]:
        return [each for each in self._server.got if isinstance(each, kind)]


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.got = []  # type: ignore[attr-defined]
    server.arrived, server.answers = threading.Event(), threading.Event()  # type: ignore[attr-defined]
    server.answers.set()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield Collector(server)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def observed(tmp_path: Path, cli_env: dict[str, str]) -> dict[str, str]:
    """The environment of a command that has the extension installed, by what its pyproject.toml advertises."""
    text = (PLUGIN / "pyproject.toml").read_text()
    found = re.findall(r"^\[project.entry-points.\"aiflow_ext.(\w+)\"\]\nopentelemetry = \"(.*)\"$", text, re.MULTILINE)
    assert {group for group, _ in found} == {"extensions", "job_environments"}
    site = tmp_path / "site"
    install(site, "aiflow-ext-opentelemetry", {group: {"opentelemetry": entry} for group, entry in found})
    env = {name: value for name, value in cli_env.items() if not name.startswith("OTEL_")}
    return {**env, "PYTHONPATH": f"{site}{os.pathsep}{PLUGIN}"}


def attributes(of: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in of.attributes}


def tree(spans: list[Any]) -> dict[str, str | None]:
    """By name of each span, its parent's."""
    names = {span.span_id: span.name for span in spans}
    assert len(names) == len(spans), "a span was exported twice"
    return {span.name: names.get(span.parent_span_id) for span in spans}


def test_a_run_is_a_trace_of_nested_spans_with_the_times_and_states_on_record(project, run_json, observed, collector):
    project.jobs(
        'with af.job("good"): af.cmd("true")\nwith af.job("bad"): af.cmd("exit 3")\n'
        'with af.job("after"): af.cmd("true")\n'
        'af.run_after("after", "bad")',
        CMD + "bad: {retries: 1, retry_delay: 0s}\n",
    )
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    env = {**observed, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "TRACEPARENT": parent}
    record = run_json(project, env=env)
    assert record["exit"] == 1
    spans = {span.name: span for span in collector.spans}
    assert tree(collector.spans) == {
        "run tested": None, "job good": "run tested", "job bad": "run tested", "job after": "run tested",
        "attempt 1 of good": "job good", "attempt 1 of bad": "job bad", "attempt 2 of bad": "job bad",
    }  # fmt: skip
    assert {span.trace_id.hex() for span in spans.values()} == {parent.split("-")[1]}
    assert spans["run tested"].parent_span_id.hex() == parent.split("-")[2]
    attempt, found = record["jobs"]["bad"]["attempts"][1], spans["attempt 2 of bad"]
    known = attributes(found)
    assert (known["aiflow.native_id"], known["aiflow.exit_code"]) == (attempt["native_id"], 3)
    assert all(known[f"aiflow.{key}"] == attempt[key] for key in ("cpu_seconds", "peak_memory", "usage_source"))
    assert (known["aiflow.platform"], known["aiflow.engine"]) == ("local", "cmd_line")
    assert (found.status.code, found.status.message) == (2, attempt["reason"])
    assert spans["attempt 1 of good"].status.code == 1
    assert attributes(spans["job after"])["aiflow.state"] == "SKIPPED"
    for span in spans.values():
        assert spans["run tested"].start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
    assert collector.services == {"aiflow-ext"}


# A span by the SDK that the job has configured itself, below the one that TRACEPARENT names.
MAKES_A_SPAN = """
def inside():
    import os
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
    above = TraceContextTextMapPropagator().extract({"traceparent": os.environ["TRACEPARENT"]})
    provider.get_tracer("team").start_span("inside", above).end()
"""


@pytest.mark.parametrize("parent", [None, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"])
def test_a_span_that_a_job_makes_is_a_child_of_its_attempts(project, run_json, observed, collector, parent):
    project.jobs("with af.job('a'): af.python(inside)", '"*": {platform: local, engine: python}\n', MAKES_A_SPAN)
    env = {**observed, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_METRICS_EXPORTER": "none"}
    record = run_json(project, env={**env, "TRACEPARENT": parent} if parent else env)
    assert record["exit"] == 0
    expected = {"run tested": None, "job a": "run tested", "attempt 1 of a": "job a", "inside": "attempt 1 of a"}
    assert tree(collector.spans) == expected
    assert len({span.trace_id for span in collector.spans}) == 1


def test_render_shows_that_jobs_get_a_span_and_nothing_where_no_trace_is_exported(project, cli, observed):
    project.jobs('with af.job("a"): af.cmd("true")', CMD)
    shown = []
    for env in (observed, {**observed, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1"},
                {**observed, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://localhost:1"}):  # fmt: skip
        (job,) = json.loads(cli("render", project.root, "--json", env=env).stdout)
        shown.append(job["content"]["env"].get("TRACEPARENT"))
    assert shown == [None, "00-${trace}-${attempt}-01", None]


@pytest.mark.parametrize(
    ("sampler", "flags"),
    [
        ({"OTEL_TRACES_SAMPLER": "always_off"}, "00"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}, "00"),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1"}, "01"),
    ],
)
def test_a_job_is_told_whether_its_trace_is_sampled(project, run_json, observed, collector, sampler, flags):
    project.jobs('with af.job("a"): af.cmd("echo $TRACEPARENT")', CMD)
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_METRICS_EXPORTER": "none"}
    assert run_json(project, env={**observed, **endpoint, **sampler})["exit"] == 0
    told = project.log("a").decode().strip()
    assert told.endswith(f"-{flags}")
    spans = [span for span in collector.spans if span.name == "attempt 1 of a"]
    assert [f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01" for span in spans] == ([told] if flags == "01" else [])


def test_metrics_count_attempts_retries_and_durations(project, run_json, observed, collector):
    project.jobs('with af.job("a"): af.cmd("true")\nwith af.job("b"): af.cmd("exit 1")',
                 CMD + "b: {retries: 2, retry_delay: 0s}\n")  # fmt: skip
    run_json(project, env={**observed, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    found = collector.metrics
    counts = {attributes(point)["aiflow.state"]: point.as_int for point in found["aiflow.attempts"].sum.data_points}
    assert counts == {"FINISHED": 1, "FAILED": 3}
    assert [point.as_int for point in found["aiflow.retries"].sum.data_points] == [2]
    assert sum(point.count for point in found["aiflow.attempt.duration"].histogram.data_points) == 4


def test_a_driver_that_is_killed_and_resumed_exports_every_span_once(project, cli, observed, collector, tmp_path):
    go = tmp_path / "go"
    os.mkfifo(go)
    tells = "echo $TRACEPARENT"
    project.jobs(f'with af.job("a"): af.cmd("{tells}")\nwith af.job("b"): af.cmd("{tells}; cat {go}")', CMD)
    env = {**observed, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_SERVICE_NAME": "team"}
    command = [sys.executable, "-m", "aiflow_ext", "run", str(project.root)]
    driver = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    with go.open("w"):  # opened once the job reads it
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    assert collector.spans == []
    assert cli("resume", "latest", "--project", project.root, env=env).returncode == 0
    assert cli("resume", "latest", "--project", project.root, env=env).returncode == 0  # it has nothing to do
    assert tree(collector.spans) == {
        "run tested": None, "job a": "run tested", "attempt 1 of a": "job a", "job b": "run tested",
        "attempt 1 of b": "job b",
    }  # fmt: skip
    assert collector.services == {"team"}
    spans = {span.name: f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01\n" for span in collector.spans}
    assert [project.log(job).decode() for job in "ab"] == [spans["attempt 1 of a"], spans["attempt 1 of b"]]


def test_a_driver_that_is_killed_while_it_exports_makes_no_other_spans_when_it_exports_again(
    project, cli, observed, collector
):
    project.jobs('with af.job("a"): af.cmd("true")', CMD)
    env = {**observed, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_METRICS_EXPORTER": "none"}
    collector.answers.clear()
    command = [sys.executable, "-m", "aiflow_ext", "run", str(project.root)]
    driver = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    assert collector.arrived.wait(PATIENCE)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    collector.answers.set()
    first = collector.spans
    assert cli("resume", "latest", "--project", project.root, env=env).returncode == 0
    assert tree(first) == {"run tested": None, "job a": "run tested", "attempt 1 of a": "job a"}
    assert collector.spans == first * 2  # ids and times too: to a collector these are the same spans


def test_a_run_that_ended_again_exports_only_what_is_new_in_the_same_trace(project, cli, observed, collector, tmp_path):
    there = tmp_path / "there"
    project.jobs(f'with af.job("a"): af.cmd("true")\nwith af.job("b"): af.cmd("test -e {there}")', CMD)
    env = {**observed, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    assert cli("run", project.root, env=env).returncode == 1
    before = len(collector.spans)
    there.touch()
    assert cli("resume", "latest", "--failed", "--project", project.root, env=env).returncode == 0
    assert [span.name for span in collector.spans[before:]] == ["attempt 2 of b", "job b", "run tested"]
    assert len({span.trace_id for span in collector.spans}) == 1
    assert len({span.span_id for span in collector.spans}) == len(collector.spans)


def test_a_collector_that_refuses_fails_no_run_and_gets_the_trace_by_resume(project, cli, observed, collector):
    project.jobs('with af.job("a"): af.cmd("true")', CMD)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    env = {**observed, "OTEL_EXPORTER_OTLP_TIMEOUT": "1", "OTEL_METRICS_EXPORTER": "none"}
    away = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
    done = cli("run", project.root, "--json", env={**env, **away})
    assert done.returncode == 0
    assert "not everything could be exported" in json.loads(done.stdout)["extensions"][0]["problem"]
    again = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    assert cli("resume", "latest", "--project", project.root, env={**env, **again}).returncode == 0
    assert len(tree(collector.spans)) == 3


def test_a_collector_that_hangs_holds_up_no_run(project, run_json, observed):
    project.jobs('with af.job("a"): af.cmd("true")', CMD).write(project_yaml="extensions: {timeout: 0.3}\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts, and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        record = run_json(project, env={**observed, "OTEL_EXPORTER_OTLP_ENDPOINT": url})
    assert (record["exit"], record["state"]) == (0, "FINISHED")
    assert "on_run_end has not returned" in record["extensions"][0]["problem"]


def test_without_an_exporter_nothing_of_opentelemetry_is_imported_and_that_is_said_once(project, cli, observed):
    project.jobs('with af.job("a"): af.cmd("true")\nwith af.job("b"): af.cmd("true")', CMD)
    done = cli("run", project.root, env=observed)
    assert done.returncode == 0
    assert done.stderr.count("exports nothing: no exporter is configured; set OTEL_EXPORTER_OTLP_ENDPOINT") == 1
    code = "import sys, aiflow_ext_opentelemetry as it; it.extension(); print('opentelemetry' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], env=observed, capture_output=True, text=True)
    assert shown.stdout == "False\n"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"OTEL_TRACES_EXPORTER": "console"}, "OTEL_TRACES_EXPORTER is console; only otlp and none can be"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL is grpc; only http/protobuf can be"),
        ({"OTEL_SDK_DISABLED": "true"}, "OTEL_SDK_DISABLED is true"),
    ],
)
def test_a_setting_that_cannot_be_followed_is_named_and_nothing_is_exported(
    project, cli, observed, collector, variables, words
):
    project.jobs('with af.job("a"): af.cmd("true")', CMD)
    env = {**observed, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **variables}
    done = cli("run", project.root, env=env)
    assert (done.returncode, collector.spans, collector.metrics) == (0, [], {})
    assert f"exports nothing: {words}" in done.stderr


def test_a_program_that_has_configured_the_sdk_gets_the_spans_in_its_own_exporter(project, observed):
    project.jobs('with af.job("a"): af.cmd("true")', CMD)
    program = f"""
import aiflow_ext as af
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

kept, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
af.run_project({str(project.root)!r})
print(*(span.name for span in kept.get_finished_spans()), sep=",")
"""
    done = subprocess.run([sys.executable, "-c", program], env=observed, capture_output=True, text=True)
    assert done.stdout == "attempt 1 of a,job a,run tested\n", done.stderr
