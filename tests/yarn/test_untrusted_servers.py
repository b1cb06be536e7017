"""Servers that answer without end, too slowly, or lead elsewhere: told in a sentence, and nothing is given away."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec.config
import pytest
import requests
from hostile_server import NO_HTTP, Answer, Asked, HostileServer

from aiflow_ext.engines.artifacts import ArtifactError, load, save
from aiflow_ext.engines.bundle import build_bundle
from aiflow_ext.model.errors import PlatformError, UnreachableError
from aiflow_ext.model.graph import AINode, AISubGraph
from aiflow_ext.model.job import JobContext
from aiflow_ext.model.project import ProjectDesc
from aiflow_ext_yarn import gateway, http
from aiflow_ext_yarn import kerberos as kerberos_tokens
from aiflow_ext_yarn.cluster import Cluster, cluster_of
from aiflow_ext_yarn.config import YarnJobConfig
from aiflow_ext_yarn.http_failures import Busy, Refused
from aiflow_ext_yarn.job import YarnJob
from aiflow_ext_yarn.logs import Container, Logs
from aiflow_ext_yarn.master import staging
from aiflow_ext_yarn.master.staging import Staging, StagingError
from aiflow_ext_yarn.resourcemanager import ResourceManager
from aiflow_ext_yarn.watch import watch
from aiflow_ext_yarn.webhdfs import WebHdfs

INFO = b'{"clusterInfo": {"id": 1, "startedOn": 1, "haState": "ACTIVE"}}'
NEW = b'{"application-id": "application_1_0001", "maximum-resource-capability": {"memory": 1024, "vCores": 1}}'
Serve = Callable[..., HostileServer]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificate")
    made = folder / "both.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,IP:127.0.0.2", "-days", "30",
                    "-keyout", str(folder / "key.pem"), "-out", str(folder / "ca.pem")],
                   check=True, capture_output=True)  # fmt: skip
    made.write_text((folder / "key.pem").read_text() + (folder / "ca.pem").read_text())
    return made


@pytest.fixture
def serve() -> Iterator[Serve]:
    started: list[HostileServer] = []

    def start(answer: Answer | Callable[[Asked], Answer], certificate: Path | None = None, host: str = "127.0.0.1"):
        server = HostileServer(answer if callable(answer) else lambda _: answer, certificate, host)
        started.append(server.__enter__())
        return server

    yield start
    for server in started:
        server.__exit__()


def cluster(*resource_managers: str, namenode: str = "http://127.0.0.1:1", **more) -> Cluster:
    given = {"kerberos": False, "ca": None, "verify": True, **more}
    return Cluster(resource_managers or ["http://127.0.0.1:1"], ["rm:8030"], [f"{namenode}/webhdfs/v1"], None,
                   "hdfs://nn", "ada", staging="/s", patience=0.0, **given)  # fmt: skip


def leads_to(url: str) -> Callable[[Asked], Answer]:
    return lambda asked: Answer(307, b"", {"Location": f"{url}{asked.path}"})


# -- without end, too slowly ------------------------------------------------------------------------------------------

ENDLESS = """
import sys
from aiflow_ext.plugin import PlatformError
from aiflow_ext_yarn.cluster import Cluster
from aiflow_ext_yarn.resourcemanager import ResourceManager
from aiflow_ext_yarn.webhdfs import WebHdfs
url = sys.argv[1]
cluster = Cluster([url], [], [url + "/webhdfs/v1"], None, "hdfs://nn", "ada", False, None, True, "/s", 0.0)
for ask in (ResourceManager(cluster).active, lambda: WebHdfs(cluster).names("/"), lambda: WebHdfs(cluster).read("/f")):
    try:
        print(len(ask() or ""))
    except PlatformError as error:
        print(error)
# Not ru_maxrss, which a process inherits from the one that has started it.
lines = open("/proc/self/status").read().splitlines()
print(next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM:")), "MiB", file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "repeated", "told"),
    [
        (b'{"clusterInfo": {"id": "', b"x" * 65536, "answers with more than 32 MiB"),
        (b'{"clusterInfo": [', b"[],[],[],[],[],[],[]," * 3000, "answers with more than 32 MiB"),
        (b"[" * 1_000_000 + b"]" * 1_000_000, b"", "answers with JSON that cannot be read"),
        (b"[" + b"[]," * 8_000_000 + b"0]", b"", "answers with JSON that cannot be read: it is too large"),
        ('["\N{SNAKE}'.encode() + b"x" * 25_000_000 + b'"]', b"", "answers with JSON that cannot be read: it is too"),
    ],
)
def test_an_answer_without_end_or_of_endless_values_is_reported_within_200_mib(
    serve: Serve, body: bytes, repeated: bytes, told: str
) -> None:
    server = serve(Answer(200, body, {"Content-Type": "application/json"}, repeated))
    done = subprocess.run([sys.executable, "-c", ENDLESS, server.url], capture_output=True, text=True, check=True)
    assert done.stdout.count(told) >= 2, done.stdout
    assert int(done.stderr.split()[0]) < 200


def test_a_log_without_end_is_read_no_further_than_it_says_it_is_long(serve: Serve, tmp_path: Path) -> None:
    said = b"LogLength:5\nLogContents:\nhello"
    server = serve(lambda asked: Answer(200, said if "stdout" in asked.path else b"", {}, b"more" * 16384))
    logs, container = Logs(cluster(server.url)), Container("container_1", server.url)
    assert logs.download(container, "stdout", tmp_path / "stdout")
    assert (tmp_path / "stdout").read_bytes() == b"hello"
    assert logs.read(container, "stdout", 0, ended=False) == b"hello"
    assert not logs.download(container, "stderr", tmp_path / "stderr")
    assert logs.read(container, "stderr", 0, ended=False) is None


def test_a_log_of_endless_length_fills_no_disk(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIFLOW_LOG_LIMIT", "1")
    said = b"LogLength:999999999999999999\nLogContents:\n"
    server = serve(
        lambda asked: Answer(200, said + (b"end" if "size=" in asked.path else b"begin"), {}, b"more" * 16384)
    )
    assert Logs(cluster(server.url)).download(Container("container_1", server.url), "stdout", tmp_path / "stdout")
    data = (tmp_path / "stdout").read_bytes()
    left_out = 999999999999999999 - (2 << 20)
    words = f"{left_out} bytes are left out here; AIFLOW_LOG_LIMIT says how many MiB of a log are kept"
    begun, found, ended = data.partition(f"\n[aiflow-ext: {words}]\n".encode())
    assert (len(begun), len(ended), bool(found)) == (1 << 20, 1 << 20, True)
    assert begun.startswith(b"beginmore")
    assert ended.startswith(b"endmore")


@pytest.mark.parametrize("head", [{}, {f"X-{index}": "x" * 20 for index in range(20)}])
def test_an_answer_a_byte_at_a_time_has_a_deadline_as_a_whole(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, head: dict[str, str]
) -> None:
    server = serve(Answer(200, INFO, head, slow=True))
    monkeypatch.setattr(http, "READ", 0.3)
    with pytest.raises(UnreachableError, match="does not answer in time: it takes longer than the"):
        ResourceManager(cluster(server.url)).active()


@pytest.mark.parametrize(("answer", "told"), NO_HTTP)
def test_an_answer_that_breaks_http_without_end_is_reported_in_a_sentence(
    serve: Serve, tmp_path: Path, answer: Answer, told: str
) -> None:
    there = cluster(serve(answer).url)
    for call in (
        ResourceManager(there).active,
        lambda: http.Http(there).request("PUT", f"{there.resource_managers[0]}/"),
    ):
        with pytest.raises(UnreachableError if "HTTP" not in told else PlatformError, match=told) as caught:
            call()
        assert len(str(caught.value)) < 1000
    container = Container("container_1", there.resource_managers[0])
    if "HTTP" not in told:
        assert not Logs(there).download(container, "stdout", tmp_path / "stdout")


def test_an_interim_answer_is_not_taken_for_the_answer(serve: Serve) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
    server = serve(Answer(body=interim + b"HTTP/1.0 200 OK\r\n\r\n" + INFO, raw=True))
    assert ResourceManager(cluster(server.url)).active()[0] == server.url


@pytest.mark.parametrize(("answer", "told"), [each for each in NO_HTTP if "chunk" in each[1] or "HTTP" in each[1]])
def test_an_application_master_gives_up_an_answer_that_breaks_http(serve: Serve, answer: Answer, told: str) -> None:
    with pytest.raises(StagingError, match=told) as caught:
        Staging([f"{serve(answer).url}/webhdfs/v1/s"], user="ada").claim()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "answer", [Answer(200, INFO, slow=True), *(each for each, told in NO_HTTP if "lines" in told)]
)  # fmt: skip
def test_an_application_master_has_a_deadline_for_an_answer_as_a_whole(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    monkeypatch.setattr(staging, "TIMEOUT", 0.3)
    with pytest.raises(StagingError):
        Staging([f"{serve(answer).url}/webhdfs/v1/s"], user="ada").claim()


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"FileStatus": {"modificationTime": 1e300}}',
                                  b'{"FileStatus": {"modificationTime": NaN}}',
                                  b'{"FileStatus": {"modificationTime": ' + b"9" * 400 + b"}}"])  # fmt: skip
def test_an_application_master_is_told_of_what_is_no_file(serve: Serve, body: bytes) -> None:
    def answer(asked: Asked) -> Answer:
        if "op=RENAME" in asked.path:
            return Answer(200, b'{"boolean": false}')
        return Answer(200, body) if "op=GETFILESTATUS" in asked.path else Answer(201)

    for each in (answer, Answer(200, body)):
        with pytest.raises(StagingError, match="HTTP status 200"):
            Staging([f"{serve(each).url}/webhdfs/v1/s"], user="ada").claim()


def test_a_connection_is_used_again_with_a_deadline_of_its_own(serve: Serve) -> None:
    server = serve(Answer(200, INFO, {"Connection": "keep-alive", "Content-Length": str(len(INFO))}))
    for _ in range(3):
        assert ResourceManager(cluster(server.url)).active()[0] == server.url


def test_an_encoding_that_was_not_asked_for_is_not_unpacked(serve: Serve) -> None:
    server = serve(Answer(200, b"", {"Content-Encoding": "gzip"}))
    with pytest.raises(PlatformError, match="in an encoding that was not asked for"):
        ResourceManager(cluster(server.url)).active()


# -- leading elsewhere ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secure", [True, False])
def test_a_resource_manager_that_leads_to_another_host_is_not_followed(
    serve: Serve, certificate: Path, secure: bool
) -> None:
    elsewhere = serve(Answer(200, NEW))
    standby = serve(leads_to(elsewhere.url), certificate if secure else None)
    rm = ResourceManager(cluster(standby.url, ca=str(certificate)))
    for call in (rm.new_application, rm.active, lambda: rm.kill("application_1_0001"), lambda: rm.live("t"),
                 lambda: rm.submit({"application-id": "application_1_0001", "resource": {}})):  # fmt: skip
        with pytest.raises(UnreachableError, match=f"leads to '{elsewhere.url}/.*neither config nor HADOOP_CONF_DIR"):
            call()
    assert elsewhere.asked == []


def test_what_a_resource_manager_leads_to_is_believed_where_config_names_it(serve: Serve) -> None:
    active = serve(Answer(200, NEW))
    standby = serve(leads_to(active.url))
    assert ResourceManager(cluster(standby.url, active.url)).new_application()[0] == "application_1_0001"
    assert len(active.asked) == len(standby.asked) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_of_what_no_node_does_is_no_success(serve: Serve, status: int) -> None:
    elsewhere = serve(Answer())
    namenode = serve(lambda asked: Answer(status, b"", {"Location": f"{elsewhere.url}{asked.path}"}))
    files = WebHdfs(cluster(namenode=namenode.url))
    for call in (lambda: files.delete("/f"), lambda: files.mkdirs("/f"), lambda: files.status("/f"),
                 lambda: files.rename("/f", "/g"), lambda: files.names("/")):  # fmt: skip
        with pytest.raises(PlatformError, match=f"leads to '{elsewhere.url}/.* instead of an answer: nothing is sent"):
            call()
    assert elsewhere.asked == []


def test_no_file_goes_from_a_namenode_with_tls_to_a_node_without(serve: Serve, certificate: Path) -> None:
    node = serve(Answer(201))
    namenode = serve(leads_to(node.url), certificate)
    files = WebHdfs(cluster(namenode=namenode.url, ca=str(certificate)))
    for call in (lambda: files.put("/f", b"secret", 6), lambda: files.read("/f")):
        with pytest.raises(PlatformError, match=r"leads to 127\.0\.0\.1 without TLS: nothing is sent there") as caught:
            call()
        assert "insecure_nodes: [127.0.0.1]" in str(caught.value)
    assert node.asked == []
    allowed = WebHdfs(cluster(namenode=namenode.url, ca=str(certificate), insecure_nodes=["127.0.0.*"]))
    allowed.put("/f", b"secret", 6)
    assert [asked.body for asked in node.asked] == [b"secret"]


def test_an_application_master_follows_no_step_from_tls_to_none(serve: Serve, certificate: Path) -> None:
    node = serve(Answer(201))
    namenode = serve(leads_to(node.url), certificate)
    urls, ca = [f"{namenode.url}/webhdfs/v1/s"], str(certificate)
    with pytest.raises(StagingError, match=r"leads to 127\.0\.0\.1 without TLS: nothing is sent there") as caught:
        Staging(urls, delegation="SECRET", ca=ca).end("{}")
    assert caught.value.permanent
    assert "SECRET" not in str(caught.value)
    assert node.asked == []
    Staging(urls, delegation="SECRET", ca=ca, insecure_nodes=["127.0.0.*"]).end("{}")
    assert [asked.body for asked in node.asked] == [b"{}"]


@pytest.mark.parametrize(
    "location", ["", "/f", "//127.0.0.1:{port}/f", "ftp://127.0.0.1:{port}/f", "file:///f", "http://u:p@127.0.0.1:{port}/f",
                 "http://[::1/f", "http:///f"],
)  # fmt: skip
def test_an_application_master_is_led_to_web_services_alone(serve: Serve, location: str) -> None:
    node = serve(Answer(201))
    to = location.replace("{port}", node.url.rpartition(":")[2])
    namenode = serve(lambda asked: Answer(307, b"", {"Location": f"{to}?delegation=SECRET"}))
    with pytest.raises(StagingError, match="which is no address of a node") as caught:
        Staging([f"{namenode.url}/webhdfs/v1/s"], delegation="SECRET").end("{}")
    assert "SECRET" not in str(caught.value)
    assert node.asked == []


def test_no_artifact_of_a_job_takes_a_step_from_tls_to_none(
    serve: Serve, certificate: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node = serve(Answer(404))
    namenode = serve(leads_to(node.url), certificate)
    given = {"use_https": True, "session_verify": str(certificate)}  # as a job has it of its environment
    monkeypatch.setitem(fsspec.config.conf, "webhdfs", given)
    monkeypatch.setenv("AIFLOW_ARTIFACT_PATIENCE", "0")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", requests.certs.where())  # which are not the configured ones
    url = f"{namenode.url.replace('https://', 'webhdfs://ada@')}/artifacts/x"
    for call in (lambda: save(url, "text"), lambda: load(url, tmp_path)):
        with pytest.raises(ArtifactError, match=r"leads to 127\.0\.0\.1 without TLS: nothing is sent there"):
            call()
    assert node.asked == []
    monkeypatch.setenv("AIFLOW_ARTIFACT_INSECURE_NODES", "other,127.0.0.*")
    with pytest.raises(ArtifactError, match="404"):
        save(url, "text")
    assert len(node.asked) == 1


def test_a_node_whose_address_the_namenode_gives_with_tls_gets_the_file(serve: Serve, certificate: Path) -> None:
    node = serve(Answer(201), certificate, "127.0.0.2")
    namenode = serve(leads_to(node.url), certificate)
    WebHdfs(cluster(namenode=namenode.url, ca=str(certificate))).put("/f", b"x", 1)
    assert [asked.body for asked in node.asked] == [b"x"]


def test_no_log_is_read_without_tls_where_the_resource_manager_has_it(serve: Serve) -> None:
    node = serve(Answer())
    there, container = cluster("https://127.0.0.1:1"), Container("container_1", node.url)
    for call in (lambda: Logs(there).read(container, "stdout", 0, ended=True), lambda: Logs(there).gone(container)):
        with pytest.raises(PlatformError, match="without TLS"):
            call()
    assert node.asked == []


@pytest.fixture
def kerberos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens without a KDC: whom they go to is what matters here."""
    monkeypatch.setattr(kerberos_tokens, "token", lambda cluster, url: "TOKEN")
    monkeypatch.setattr(http, "_cookies", {})


def asks_for_kerberos(asked: Asked) -> Answer:
    if "authorization" not in asked.headers:
        return Answer(401, b"", {"WWW-Authenticate": "Negotiate", "Set-Cookie": "hadoop.auth=somebody-else; Path=/"})
    return Answer(201, b"{}", {"Set-Cookie": "hadoop.auth=u=ada&t=kerberos; Path=/"})


def test_a_node_gets_no_kerberos_token_unless_config_names_it(serve: Serve, kerberos: None) -> None:
    node = serve(asks_for_kerberos, host="127.0.0.2")
    namenode = serve(leads_to(node.url))
    files = WebHdfs(cluster(namenode=namenode.url, kerberos=True))
    for call in (lambda: files.put("/f", b"x", 1), lambda: files.read("/f"),
                 lambda: Logs(files.cluster).gone(Container("container_1", node.url))):  # fmt: skip
        with pytest.raises(Refused, match="asks for Kerberos, and config names no such host: it gets no token"):
            call()
    assert not any({"authorization", "cookie"} & set(asked.headers) for asked in node.asked)
    WebHdfs(cluster(namenode=namenode.url, kerberos=True, kerberos_hosts=["127.0.0.2"])).put("/f", b"x", 1)
    assert node.asked[-1].headers["authorization"] == "Negotiate TOKEN"


def test_a_service_that_config_has_with_tls_gets_no_token_without(serve: Serve, kerberos: None) -> None:
    node = serve(asks_for_kerberos)
    there = cluster("https://127.0.0.1:1", namenode="https://127.0.0.1:1", kerberos=True)
    with pytest.raises(Refused, match="it gets no token"):
        http.Http(there).request("GET", f"{node.url}/")
    assert not any({"authorization", "cookie"} & set(asked.headers) for asked in node.asked)
    named = cluster("https://127.0.0.1:1", namenode="https://127.0.0.1:1", kerberos=True, kerberos_hosts=["127.0.0.1"])
    http.Http(named).request("GET", f"{node.url}/")
    assert node.asked[-1].headers["authorization"] == "Negotiate TOKEN"


def test_a_configured_service_gets_a_token_and_later_its_cookie(serve: Serve, kerberos: None) -> None:
    server = serve(asks_for_kerberos)
    there = cluster(server.url, kerberos=True)
    for _ in range(2):
        http.Http(there).request("GET", f"{server.url}/")
    assert [asked.headers.get("authorization") for asked in server.asked] == [
        None,
        "Negotiate TOKEN",
        None,
        "Negotiate TOKEN",
    ]
    assert server.asked[2].headers["cookie"] == "hadoop.auth=u=ada&t=kerberos"


@pytest.mark.parametrize(
    "location", ['"http://127.0.0.1:1/\\r\\nX-Injected: yes"', '{"a": 1}', '"ftp://127.0.0.1/f"', '"http://u:p@127.0.0.1/"',
                 '"http://127.0.0.1:99999/"', '"//127.0.0.1:1/f"', '"http://[::1/f"', "7"],
)  # fmt: skip
def test_an_address_that_is_none_is_reported(serve: Serve, location: str) -> None:
    namenode = serve(Answer(200, f'{{"Location": {location}}}'.encode()))
    with pytest.raises(PlatformError, match=r"address that is none|whose 'Location' is"):
        WebHdfs(cluster(namenode=namenode.url)).put("/f", b"x", 1)
    assert len(namenode.asked) == 1


def test_a_value_with_a_line_break_never_becomes_a_header(serve: Serve, kerberos: None) -> None:
    server = serve(Answer(200, INFO, {"Set-Cookie": "hadoop.auth=a\r\n X-Injected: yes"}))  # one folded value
    there = cluster(server.url, kerberos=True)
    there.user = "ada\r\nX-Injected: yes"
    for _ in range(2):
        ResourceManager(there).active()
    there.kerberos = False
    ResourceManager(there).active()
    assert not any("x-injected" in asked.headers for asked in server.asked)
    asked = len(server.asked)
    for given in ({"headers": {"X": "a\r\nX-Injected: yes"}}, {"plain": True, "headers": {"X\n": ""}}):
        with pytest.raises(PlatformError, match="has a control character in its head"):
            http.Http(there).request("GET", server.url, **given)
    assert len(server.asked) == asked


# -- too many requests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "after", "wanted"), [(429, "7", 7.0), (429, "", 0.0), (503, "7", 7.0), (429, "x", 0)]
)
def test_a_resource_manager_that_has_too_many_requests_says_for_how_long(
    serve: Serve, status: int, after: str, wanted: float
) -> None:
    server = serve(Answer(status, b"{}", {"Retry-After": after}))
    with pytest.raises(Busy) as caught:
        ResourceManager(cluster(server.url)).live("aiflow-run")
    assert caught.value.after == wanted


def test_webhdfs_that_asks_for_a_name_although_the_cluster_has_kerberos_is_told_it(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_named", set())
    words = b"Failed to obtain user group information: Security enabled but user not authenticated by filter"
    refusal = Answer(403, b'{"RemoteException": {"exception": "SecurityException", "message": "%s"}}' % words)
    server = serve(lambda asked: Answer(200, b'{"boolean": true}') if "user.name=ada" in asked.path else refusal)
    with pytest.raises(Refused, match="not authenticated"):
        WebHdfs(cluster(namenode=server.url, kerberos=True)).delete("/f")
    files = WebHdfs(cluster(namenode=server.url, kerberos=True, simple_web=True))
    files.delete("/f")
    files.delete("/g")
    assert ["user.name=ada" in each.path for each in server.asked] == [False, False, True, True]


def test_under_kerberos_with_simple_web_pages_all_but_webhdfs_is_told_the_user(serve: Serve) -> None:
    asked: list[str] = []

    def answer(request: Asked) -> Answer:
        asked.append(request.path)
        return Answer(200, INFO if "/info" in request.path else b'{"FileStatuses": {"FileStatus": []}}')

    url = serve(answer).url
    given = cluster(url, namenode=url, kerberos=True, simple_web=True)
    ResourceManager(given).active()
    WebHdfs(given).names("/x")
    assert ["user.name=ada" in path for path in asked] == [True, False]


def test_a_resource_manager_that_has_too_many_requests_is_left_alone(serve: Serve, tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(request: Asked) -> Answer:
        asked.append(request.path)
        return Answer(429, b"{}", {"Retry-After": "3600"})

    config = YarnJobConfig(resource_manager=serve(answer).url, webhdfs="http://127.0.0.1:1", user="ada")
    graph = AISubGraph(config, "a", [AINode("cmd_line", {"command": "true"}, "a/1")])
    job = YarnJob(config, build_bundle(graph, ProjectDesc("p", str(tmp_path)), "cmd_line"), cluster_of(config))
    job.job_context = JobContext(run_id="run", native_id="application_1_0001")
    events = watch({"application_1_0001": job})
    assert [next(events) for _ in range(5)] == [None] * 5
    assert len(asked) == 1


# -- gateways ---------------------------------------------------------------------------------------------------------

BASIC = {"user": "ada", "password": {"secret": "env:GATEWAY"}}


def test_a_gateways_secret_goes_to_the_gateway_alone(
    serve: Serve, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY", "secret words")
    monkeypatch.setattr(gateway, "_headers", {})
    node = serve(Answer(201), certificate, "127.0.0.2")
    server = serve(leads_to(node.url), certificate)
    there = cluster(namenode=f"{server.url}/gateway/x", gateway=BASIC, ca=str(certificate))
    WebHdfs(there).put("/f", b"x", 1)
    assert server.asked[0].path.startswith("/gateway/x/webhdfs/v1/f?op=CREATE")
    assert "user.name" not in server.asked[0].path
    assert server.asked[0].headers["authorization"] == "Basic YWRhOnNlY3JldCB3b3Jkcw=="
    assert "authorization" not in node.asked[0].headers


def test_a_refused_secret_is_read_again(serve: Serve, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "_headers", {})
    info = b'{"clusterInfo": {"haState": "ACTIVE"}}'
    server = serve(
        lambda asked: Answer(200, info) if asked.headers["authorization"] == "Bearer new" else Answer(401, b""),
        certificate,
    )
    base = f"{server.url}/gateway/x/resourcemanager"
    rm = ResourceManager(cluster(base, gateway={"token": {"secret": "env:GATEWAY"}}, ca=str(certificate)))
    monkeypatch.setenv("GATEWAY", "old")
    with pytest.raises(Refused, match="401") as told:
        rm.active()
    assert "gateway:" in str(told.value)
    monkeypatch.setenv("GATEWAY", "new")
    assert rm.active()[0] == base
    assert server.asked[1].path == "/gateway/x/resourcemanager/v1/cluster/info"
