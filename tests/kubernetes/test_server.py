"""A fake API server, for answers that a real one does not give on demand: a conflict of versions, a list whose rest is
too old, a connection that breaks after the request was carried out."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from aiflow_ext.model.errors import UnreachableError
from aiflow_ext_kubernetes import manifest, pending, sending, server
from aiflow_ext_kubernetes.handler import KubernetesHandler
from aiflow_ext_kubernetes.informer import Informer
from aiflow_ext_kubernetes.reflector import Change, Reflector
from aiflow_ext_kubernetes.target import Target

CONFLICT = (409, {"reason": "Conflict", "message": "the object has been modified; please apply your changes"})
EXISTS = (409, {"reason": "AlreadyExists", "message": "it already exists"})
BREAKS = (0, {})  # the connection, once the request has been read
Answer = tuple[int, dict[str, Any]]


class Scripted(BaseHTTPRequestHandler):
    """Gives the answers that it is told to, in turn."""

    protocol_version = "HTTP/1.1"
    answers: list[Answer]
    asked: list[str]

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append(f"{self.command} {self.path}")
        status, content = self.answers.pop(0)
        if not status:
            self.close_connection = True
            return
        data = json.dumps(content, separators=(",", ":")).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    fake = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    threading.Thread(target=fake.serve_forever, daemon=True).start()
    content = {
        "clusters": [{"name": "fake", "cluster": {"server": f"http://127.0.0.1:{fake.server_port}"}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "me", "namespace": "n"}}],
        "current-context": "fake",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(content))
    yield Target(str(path))
    fake.shutdown()
    fake.server_close()


@pytest.fixture
def answers(target: Target) -> Callable[..., Target]:
    def tell(*given: Answer) -> Target:
        Scripted.answers, Scripted.asked = list(given), []
        return target

    return tell


def thing(kind: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/managed-by": manifest.MANAGER}
    return {
        "kind": kind,
        "metadata": {"name": "j", "uid": "u", "labels": labels, "annotations": {manifest.NAME: "r/j/1"}},
    }


def test_what_somebody_else_changed_meanwhile_is_sent_again(answers: Callable[..., Target]) -> None:
    there = answers(CONFLICT, CONFLICT, (200, thing("Job")))
    sending.resume(there, "j")
    assert Scripted.asked == ["PATCH /apis/batch/v1/namespaces/n/jobs/j"] * 3


def test_a_conflict_that_stays_is_asked_again_by_the_driver(answers: Callable[..., Target]) -> None:
    there = answers(*[CONFLICT] * server.TRIES)
    with pytest.raises(UnreachableError, match="the object has been modified"):
        sending.resume(there, "j")


def test_a_list_whose_rest_is_too_old_begins_anew(answers: Callable[..., Target]) -> None:
    def page(name: str, more: str | None) -> Answer:
        return 200, {"metadata": {"resourceVersion": "7", "continue": more}, "items": [{"metadata": {"name": name}}]}

    there = answers(page("a", "x"), (410, {"reason": "Expired", "message": "too old"}), page("a", "y"), page("b", None))
    told: list[Change] = []
    ended = threading.Event()

    def tell(one: Change) -> None:
        told.append(one)
        if one.what == "failed":  # the watch that follows: there are no answers left
            ended.set()

    Reflector(there, "r", "job", tell)
    assert ended.wait(10)
    assert [each["metadata"]["name"] for each in told[0].content] == ["a", "b"]


def test_a_foreign_secret_of_an_attempts_name_is_reported(answers: Callable[..., Target]) -> None:
    there = answers((201, thing("Job")), EXISTS)
    with pytest.raises(sending.TakenError, match="there is a Secret j in namespace n already, and it is not ours"):
        sending.create(there, thing("Job"), thing("Secret"))


@pytest.mark.parametrize(
    "given",
    [
        [EXISTS, (200, thing("Job")), EXISTS],  # a driver that was killed has made both
        [EXISTS, (200, thing("Job")), (201, thing("Secret"))],  # or the first alone
        [(201, thing("Job")), BREAKS, EXISTS],  # the request was carried out, and its answer is lost
        [BREAKS, EXISTS, (200, thing("Job")), (201, thing("Secret"))],
    ],
)
def test_what_we_have_made_ourselves_is_gone_on_with(answers: Callable[..., Target], given: list[Answer]) -> None:
    sending.create(answers(*given), thing("Job"), thing("Secret"))
    assert Scripted.answers == []
    assert Scripted.asked[-1].startswith("POST /api/v1/namespaces/n/secrets")


def test_a_pods_log_is_asked_for_before_it_is_deleted(answers: Callable[..., Target], tmp_path: Path) -> None:
    """Its container may end at once, and then be gone before anybody could ask."""
    there = answers(*[(200, {"items": []})] * 9)
    handler = KubernetesHandler("j", there.kubeconfig, folder=str(tmp_path))
    handler._end_pod({"metadata": {"name": "p"}}, 1.0).join()
    pod = "/api/v1/namespaces/n/pods/p"
    deleted = Scripted.asked.index(f"DELETE {pod}")
    assert next(asked.partition("?")[0] for asked in Scripted.asked[:deleted]) == f"GET {pod}/log"


class Counting:
    """Answers that nothing has happened, and counts how often."""

    asked = 0

    def get(self, path: str, **query: Any) -> Any:
        self.asked += 1
        return {"items": []}


def test_a_busy_cluster_is_asked_why_at_most_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting()
    monkeypatch.setattr(pending, "server_of", lambda target: counting)
    informer = Informer(Target(namespace="n"), "r")
    reasons = pending.PendingReasons(informer)
    job = {"metadata": {"annotations": {manifest.RESUMED: "true"}}, "spec": {}}
    for second in range(601):  # there is always somebody who waits for a pod, and then nobody for a moment
        informer.jobs = {} if second % 10 == 9 else {"a": job}
        reasons.update(["a"], float(second))
    assert 10 <= counting.asked <= 16


def test_events_are_asked_for_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    queries: list[dict[str, Any]] = []

    class Paged:
        def get(self, path: str, **query: Any) -> Any:
            queries.append(query)
            name = {None: "a", "more": "b"}[query.get("continue")]
            event = {"lastTimestamp": "2026-01-01T00:00:00Z", "message": f"no room for {name}",
                     "involvedObject": {"name": name}}  # fmt: skip
            return {"metadata": {"continue": "more"} if name == "a" else {}, "items": [event]}

    monkeypatch.setattr(pending, "server_of", lambda target: Paged())
    informer = Informer(Target(namespace="n"), "r")
    informer.jobs = {name: {"metadata": {"annotations": {manifest.RESUMED: "true"}}, "spec": {}} for name in "ab"}
    reasons = pending.PendingReasons(informer)
    changed = [reasons.update("ab", float(second)) for second in range(10)]
    assert {"a", "b"} in changed
    assert reasons.by_id == {"a": "no room for a", "b": "no room for b"}
    assert all(0 < query["limit"] <= 500 for query in queries)
