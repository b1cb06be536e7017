"""Answers without end, too slowly, in another type, or lead elsewhere; credentials that are none."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hostile_server import NO_HTTP, Answer, Asked, HostileServer
from patience import PATIENCE

from aiflow_ext.engines.archive import ProjectArchive
from aiflow_ext.model.errors import PlatformError, UnreachableError
from aiflow_ext.model.project import ProjectDesc
from aiflow_ext.plugin.engines import Backoff
from aiflow_ext_kubernetes import answers, archive, informer, objects, paging, reflector, server
from aiflow_ext_kubernetes.handler import KubernetesHandler
from aiflow_ext_kubernetes.reflector import Change, Reflector
from aiflow_ext_kubernetes.refusals import ApiError
from aiflow_ext_kubernetes.server import server_of
from aiflow_ext_kubernetes.target import Target

Serve = Callable[..., HostileServer]


def told_by_reflector(target: Target) -> list[Change]:
    """What a reflector tells until it fails."""
    told: list[Change] = []
    ended = threading.Event()

    def tell(one: Change) -> None:
        told.append(one)
        if one.what == "failed":
            ended.set()

    Reflector(target, "r", "job", tell)
    assert ended.wait(PATIENCE)
    return told


def page(*names: str, **metadata: str) -> bytes:
    items = [{"metadata": {"name": name}} for name in names]
    return json.dumps({"metadata": {"resourceVersion": "7", **metadata}, "items": items}).encode()


# -- without end, too slowly ------------------------------------------------------------------------------------------

ENDLESS = """
import sys, threading
from aiflow_ext.plugin import PlatformError
from aiflow_ext_kubernetes import objects
from aiflow_ext_kubernetes.logs.reader import Reader
from aiflow_ext_kubernetes.reflector import Reflector
from aiflow_ext_kubernetes.target import Target
target = Target(sys.argv[1])
for ask in (lambda: objects.job_at(target, "j"), lambda: objects.pods_of(target, "j")):
    try:
        print(len(ask() or ""))
    except PlatformError as error:
        print(error)
ended = threading.Event()
def tell(change):
    if change.what == "failed":
        print(change.content)
        ended.set()
Reflector(target, "r", "pod", tell)
ended.wait()
# Not ru_maxrss, which a process inherits from the one that has started it.
with open("/proc/self/status") as lines:
    print(next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM:")), "MiB", file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "repeated", "told"),
    [
        (b'{"items": ["', b"x" * 65536, "answers with more than 32 MiB"),
        (b'{"items": [', b"[],[],[],[],[],[],[]," * 3000, "answers with more than 32 MiB"),
        (b'{"items":' + b"[" * 90_000 + b"]" * 90_000 + b"}", b"", "nested too deeply"),
        (b'{"items":[' + b"{}," * 8_000_000 + b"0]}", b"", "or with too many values"),
    ],
)
def test_an_answer_without_end_or_of_endless_values_is_reported_within_200_mib(
    serve: Serve, target_of: Callable[..., Target], body: bytes, repeated: bytes, told: str
) -> None:
    target = target_of(serve(Answer(200, body, {}, repeated)).url)
    done = subprocess.run([sys.executable, "-c", ENDLESS, str(target.kubeconfig)], capture_output=True, text=True,
                          check=True)  # fmt: skip
    assert done.stdout.count(told) == 3, done.stdout
    assert int(done.stderr.split()[0]) < 200


def test_a_page_that_is_too_large_is_asked_for_in_smaller_ones(
    serve: Serve, target_of: Callable[..., Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"job-{index}" for index in range(40)]

    def answer(asked: Asked) -> Answer:
        query = dict(each.split("=") for each in asked.path.partition("?")[2].split("&"))
        if "watch" in query:
            return Answer(500)
        first, limit = int(query.get("continue", 0)), int(query["limit"])
        more = {"continue": str(first + limit)} if first + limit < len(names) else {}
        return Answer(200, page(*names[first : first + limit], **more))

    monkeypatch.setattr(server, "LARGEST_ANSWER", 600)
    told = told_by_reflector(target_of(serve(answer).url))
    assert [each["metadata"]["name"] for each in told[0].content] == names


@pytest.mark.parametrize("head", [{}, {f"X-{index}": "x" * 20 for index in range(20)}])
def test_an_answer_a_byte_at_a_time_has_a_deadline_as_a_whole(
    serve: Serve, target_of: Callable[..., Target], monkeypatch: pytest.MonkeyPatch, head: dict[str, str]
) -> None:
    target = target_of(serve(Answer(200, page("a" * 40), head, slow=True)).url)
    monkeypatch.setattr(server, "READ", 0.3)
    with pytest.raises(UnreachableError, match="does not answer in time: it takes longer than the"):
        objects.pods_of(target, "j")


def test_a_log_that_is_not_followed_has_a_deadline_as_a_whole(
    serve: Serve, target_of: Callable[..., Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = target_of(serve(Answer(200, b"x" * 100, {}, slow=True)).url)
    stream = server_of(target).stream("/log", silence=30.0, lasts=0.3)
    with pytest.raises(UnreachableError, match="broke off: TooSlow"):
        list(stream.lines())


@pytest.mark.parametrize(("answer", "told"), NO_HTTP)
def test_an_answer_that_breaks_http_without_end_is_reported_in_a_sentence(
    serve: Serve, target_of: Callable[..., Target], answer: Answer, told: str
) -> None:
    target = target_of(serve(answer).url)
    for ask in (lambda: objects.job_at(target, "j"), lambda: server_of(target).send("POST", "/x", {}),
                lambda: list(server_of(target).stream("/watch", silence=30.0).lines())):  # fmt: skip
        with pytest.raises(PlatformError, match=told) as caught:
            ask()
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate", "identity, gzip"])
def test_an_encoding_that_was_not_asked_for_is_not_unpacked(
    serve: Serve, target_of: Callable[..., Target], encoding: str
) -> None:
    target = target_of(serve(Answer(200, b"", {"Content-Encoding": encoding})).url)
    for ask in (lambda: objects.job_at(target, "j"), lambda: server_of(target).stream("/log", silence=30.0)):
        with pytest.raises(PlatformError, match="in an encoding that was not asked for"):
            ask()


def test_an_interim_answer_is_not_taken_for_the_answer(serve: Serve, target_of: Callable[..., Target]) -> None:
    refusal = b'HTTP/1.0 422 No\r\n\r\n{"reason": "Invalid", "message": "it is refused"}'
    target = target_of(serve(Answer(body=b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + refusal, raw=True)).url)
    with pytest.raises(ApiError, match="it is refused"):
        server_of(target).send("POST", "/x", {})


def test_a_line_of_a_watch_without_end_is_reported(serve: Serve, target_of: Callable[..., Target]) -> None:
    def answer(asked: Asked) -> Answer:
        return Answer(200, b'{"', {}, b"x" * 65536) if "watch=" in asked.path else Answer(200, page("a"))

    told = told_by_reflector(target_of(serve(answer).url))
    assert [change.what for change in told] == ["listed", "failed"]
    assert "a line of more than 8 MiB" in str(told[1].content)


def test_a_list_without_end_is_reported(
    serve: Serve, target_of: Callable[..., Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "MOST_LISTED", 100_000)
    for names in (["a"] * 250, []):
        told = told_by_reflector(target_of(serve(Answer(200, page(*names, **{"continue": "more"}))).url))
        assert [change.what for change in told] == ["failed"]
        assert "list of jobs has no end" in str(told[0].content)


@pytest.mark.parametrize("line", [b"", b'{"type": "ERROR", "object": {"code": 410}}'])
def test_a_watch_that_ends_at_once_again_and_again_is_asked_for_after_longer_and_longer_pauses(
    serve: Serve, target_of: Callable[..., Target], monkeypatch: pytest.MonkeyPatch, line: bytes
) -> None:
    pauses: list[float] = []

    class Counted(Backoff):
        def next(self) -> float:
            pauses.append(super().next())
            return 0.0

    def answer(asked: Asked) -> Answer:
        if "watch=" in asked.path:
            return Answer(200, line) if len(pauses) < 8 else Answer(500)
        return Answer(200, page("a"))

    monkeypatch.setattr(reflector, "Backoff", Counted)
    monkeypatch.setattr(reflector, "SHORTEST", 1000.0)
    told_by_reflector(target_of(serve(answer).url))
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_of_attempts_that_nobody_asks_for_few_objects_are_kept() -> None:
    told = informer.Informer(Target(), "r")
    for number in range(3000):
        job = {"metadata": {"name": f"j{number}"}, "status": {}}
        pod = {"metadata": {"name": f"p{number}", "labels": {"job-name": f"j{number}"}}, "status": {}}
        for kind, what in (("job", "changed"), ("pod", "changed"), ("job", "deleted")):
            told.take(Change(what, kind, job if kind == "job" else pod))
    told.forget_all_but({"j7"})
    assert len(told.pods) <= 1001
    found = told.status_of("j7")
    assert found is not None
    assert told.last_of("j7") == {"metadata": {"name": "j7"}, "status": {}}
    pods = [{"metadata": {"name": f"p{number}", "labels": {"job-name": "j7"}}} for number in range(3000)]
    with pytest.raises(PlatformError, match="more than 1000 pods of the Job j7"):
        list(map(told.take, (Change("changed", "pod", pod) for pod in pods)))


def test_an_artifacts_url_that_never_answers_is_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    class Stuck(fsspec.AbstractFileSystem):  # type: ignore[misc]
        protocol = "stuck"

        def exists(self, path: str, **_: Any) -> bool:
            gate.wait()
            return True

    fsspec.register_implementation("stuck", Stuck, clobber=True)
    monkeypatch.setattr(archive, "PATIENCE", 0.0)
    packed = ProjectArchive(ProjectDesc("p", str(tmp_path)))
    monkeypatch.setattr(packed, "size", 0)
    try:
        for ask in (lambda: archive.upload(packed, "stuck://host/run/project.tar.gz"),
                    lambda: archive.remove("stuck://host/run/project.tar.gz")):  # fmt: skip
            with pytest.raises(UnreachableError, match="it has not answered for 0 s"):
                ask()
    finally:
        gate.set()


# -- of another type --------------------------------------------------------------------------------------------------

THINGS = [
    [], "text", 7, {}, {"metadata": None}, {"metadata": []}, {"metadata": {"name": 7}},
    {"metadata": {"name": "a", "annotations": ["x"]}}, {"metadata": {"name": "a", "labels": {"x": {}}}},
    {"metadata": {"name": "a"}, "status": {"containerStatuses": {"name": "job"}}},
    {"metadata": {"name": "a"}, "status": {"conditions": [7]}}, {"metadata": {"name": "../secrets/a"}},
    {"metadata": {"name": "a"}, "status": {"containerStatuses": [{"state": {"terminated": {"reason": "Error"}}}]}},
    {"metadata": {"name": "a"}, "status": {"containerStatuses": [{"state": {"terminated": {"exitCode": "0"}}}]}},
]  # fmt: skip


@pytest.mark.parametrize("thing", THINGS)
def test_what_is_no_job_and_no_pod_is_reported(serve: Serve, target_of: Callable[..., Target], thing: Any) -> None:
    def answer(asked: Asked) -> Answer:
        is_list = asked.path.partition("?")[0].endswith(("/jobs", "/pods"))
        if "watch=" in asked.path:
            return Answer(200, json.dumps({"type": "ADDED", "object": thing}).encode() + b"\n")
        if is_list and "managed-by" in asked.path:
            return Answer(200, page("a"))
        return Answer(200, json.dumps({"items": [thing]} if is_list else thing).encode())

    target = target_of(serve(answer).url)
    for ask in (lambda: objects.job_at(target, "j"), lambda: objects.pods_of(target, "j"),
                KubernetesHandler("j", target.kubeconfig).state):  # fmt: skip
        with pytest.raises(PlatformError, match=r"the API server"):
            ask()
    told = told_by_reflector(target)
    assert [change.what for change in told] == ["listed", "failed"]
    assert isinstance(told[1].content, PlatformError)


@pytest.mark.parametrize(
    "body", [b"[]", b"7", b'"items"', b"<html>", b"\xff", b'{"items": 7}', b'{"items": [7]}', b"{}"]
)
def test_what_is_no_list_is_reported(serve: Serve, target_of: Callable[..., Target], body: bytes) -> None:
    with pytest.raises(PlatformError, match=r"answers with|tells of"):
        objects.pods_of(target_of(serve(Answer(200, body)).url), "j")


# -- leading elsewhere; credentials -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(serve: Serve, target_of: Callable[..., Target], status: int) -> None:
    elsewhere = serve(Answer())
    target = target_of(serve(lambda asked: Answer(status, b"", {"Location": f"{elsewhere.url}{asked.path}"})).url)
    for ask in (lambda: objects.job_at(target, "j"), lambda: server_of(target).stream("/log", silence=1.0),
                lambda: server_of(target).send("POST", "/api/v1/namespaces/n/secrets", {"data": "x"})):  # fmt: skip
        with pytest.raises(ApiError, match=f"leads to {elsewhere.url}/.*: nothing is sent there"):
            ask()
    assert elsewhere.asked == []


@pytest.mark.parametrize("token", ["TOKEN\r\nX-Injected: yes", "TOKEN\nX-Injected: yes", "TOKEN\n", "a\x00b", "a\rb"])
@pytest.mark.parametrize("by", ["token", "file", "exec"])
def test_a_token_with_a_line_break_is_not_sent(
    serve: Serve, target_of: Callable[..., Target], tmp_path: Path, token: str, by: str
) -> None:
    user: dict[str, Any] = {"token": token}
    if by == "file":
        (tmp_path / "token").write_bytes(f"{token}x".encode())  # a newline at its end is none of the token
        user = {"tokenFile": str(tmp_path / "token")}
    if by == "exec":
        version = "client.authentication.k8s.io/v1"
        said = {"apiVersion": version, "kind": "ExecCredential", "status": {"token": token}}
        (tmp_path / "said").write_text(json.dumps(said))
        user = {"exec": {"apiVersion": version, "command": "cat", "args": [str(tmp_path / "said")],
                         "interactiveMode": "Never"}}  # fmt: skip
    fake = serve(Answer(200, page()))
    with pytest.raises(PlatformError, match="have a line break or control character in them and are not sent"):
        objects.pods_of(target_of(fake.url, user), "j")
    assert fake.asked == []


@pytest.mark.parametrize(
    ("url", "namespace", "told"),
    [("ftp://127.0.0.1", "n", "is no https:// or http:// address"), ("http://127.0.0.1/\r\nX: y", "n", "is no https://"),
     (7, "n", "kubeconfig cannot be used"), ("http://127.0.0.1", "n/../../x", "is no name of Kubernetes"),
     ("http://127.0.0.1", ["n"], "is no name of Kubernetes")],
)  # fmt: skip
def test_a_kubeconfig_with_an_address_or_namespace_that_is_none_is_reported(
    target_of: Callable[..., Target], url: Any, namespace: Any, told: str
) -> None:
    with pytest.raises(PlatformError, match=told):
        objects.pods_of(target_of(url, namespace=namespace), "j")


def test_an_object_is_cut_down_to_what_is_used() -> None:
    pod = {"metadata": {"name": "p", "managedFields": [{}]}, "spec": {"containers": [{}], "nodeName": "n"}, "extra": 1}
    assert answers.thing(pod) == {"metadata": {"name": "p"}, "spec": {"nodeName": "n"}, "status": {}}
