"""Answers of an API server: whatever they are, calls return or say what is wrong."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fuzz import JSON, examples, spoilt
from hostile_server import Answer, Asked, HostileServer
from hypothesis import example, given
from hypothesis import strategies as st

from aiflow_ext.model.errors import PlatformError
from aiflow_ext.model.job import BaseJob, JobContext
from aiflow_ext.model.states import JobState
from aiflow_ext_kubernetes import checks, objects, reflector, watch
from aiflow_ext_kubernetes.config import KubernetesJobConfig
from aiflow_ext_kubernetes.handler import KubernetesHandler
from aiflow_ext_kubernetes.logs.reader import Reader
from aiflow_ext_kubernetes.target import Target

AT = "2026-01-01T00:00:00Z"
JOB = {
    "metadata": {"name": "j", "uid": "u", "creationTimestamp": AT, "annotations": {"a": "b"}, "labels": {"l": "m"}},
    "spec": {"suspend": False},
    "status": {"startTime": AT, "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
                                                "message": "m", "lastTransitionTime": AT}]},
}  # fmt: skip
POD = {
    "metadata": {"name": "j-x", "creationTimestamp": AT, "deletionTimestamp": AT, "labels": {"l": "m"}},
    "spec": {"nodeName": "n"},
    "status": {
        "phase": "Failed", "reason": "Evicted", "message": "m",
        "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "r", "message": "m"}],
        "containerStatuses": [{
            "name": "job", "resources": {"limits": {"memory": "1Gi"}},
            "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "m", "startedAt": AT,
                                     "finishedAt": AT}},
        }],
        "initContainerStatuses": [{"name": "fetch", "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}],
    },
}  # fmt: skip
GOOD: dict[str, Any] = {
    "job": JOB,
    "pods": {"metadata": {"resourceVersion": "7"}, "items": [POD, POD | {"status": {"phase": "Pending"}}]},
    "version": {"major": "1", "minor": "34+", "gitVersion": "v1.34.0"},
    "selfsubjectaccessreviews": {"status": {"allowed": True}},
    "resourcequotas": {"items": [{"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1", "requests.cpu": "5m"}}}]},
    "secrets": {"metadata": {"name": "s"}},
    "log": "",
}  # fmt: skip
LOG = b"2026-01-01T00:00:00.000000000Z o hello\n2026-01-01T00:00:01.000000000+00:00 e world\n"
ERROR = {"kind": "Status", "code": 410, "reason": "Expired", "message": "m", "details": {"retryAfterSeconds": 1}}
SAMPLE = {"metadata": {"name": "j"}, "spec": {"template": {"spec": {"containers": [
    {"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}]}}}}  # fmt: skip
STATUS = st.sampled_from([200, 200, 200, 200, 200, 201, 302, 400, 403, 404, 409, 410, 422, 500])
LOGS = st.one_of(
    st.tuples(st.sampled_from(["2026-13-41", "2026-01-01", "9999-12-31", "0000-00-00"]),
              st.sampled_from(["25:61:61", "00:00:00", "23:59:59"]), st.sampled_from(["Z", "+99:99", "-23:59"]),
              st.binary(max_size=20)).map(lambda each: f"{each[0]}T{each[1]}.000000000{each[2]} ".encode() + each[3]),
    st.binary(max_size=40),
)  # fmt: skip


def answers(key: str) -> st.SearchStrategy[tuple[str, int, bytes]]:
    """What a server may answer to a kind of request."""
    if key == "log":
        return st.tuples(st.just(key), STATUS, st.lists(LOGS, max_size=4).map(lambda lines: LOG + b"\n".join(lines)))
    bodies = st.one_of(spoilt(GOOD[key]), spoilt(GOOD[key]), spoilt(ERROR), JSON).map(lambda body: json.dumps(body))
    return st.tuples(
        st.just(key),
        STATUS,
        st.one_of(
            bodies.map(str.encode), st.sampled_from([b"", b"<html>", b"\xff", b"[" * 9000]), st.binary(max_size=20)
        ),
    )


class Cluster:
    """A fake: answers as an API server does, but to one kind of request.

    Attributes:
        other: that kind, and the answer to it.
    """

    def __init__(self) -> None:
        self.other: tuple[str, int, bytes] = ("", 200, b"")
        self.server = HostileServer(self._answer)

    def _answer(self, asked: Asked) -> Answer:
        last = asked.path.partition("?")[0].rpartition("/")[2]
        key = last if last in GOOD else "job"
        if key == self.other[0]:
            return Answer(self.other[1], self.other[2])
        return Answer(200, LOG if key == "log" else json.dumps(GOOD[key]).encode())


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)  # thousands of warnings would be kept
    with made.server:
        yield made


@pytest.fixture(scope="module")
def target(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Target:
    content = {
        "clusters": [{"name": "c", "cluster": {"server": cluster.server.url}}],
        "users": [{"name": "u", "user": {"token": "TOKEN"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
        "current-context": "x",
    }
    path = tmp_path_factory.mktemp("kubeconfig") / "config"
    path.write_text(json.dumps(content))
    return Target(str(path))


@examples(40)
@given(answer=st.sampled_from(sorted(GOOD)).flatmap(answers))
@example(answer=("log", 200, b"2026-13-41T25:61:61.000000000Z o no such date\n"))
@example(answer=("log", 200, b"2026-01-01T00:00:00.000000000+99:99 o no such zone\n"))
def test_a_call_returns_or_raises_an_error_in_words(
    cluster: Cluster, target: Target, answer: tuple[str, int, bytes]
) -> None:
    cluster.other = answer
    cluster.server.asked.clear()
    handler = KubernetesHandler("j", target.kubeconfig)

    def check() -> Any:
        return checks.problems_of(target, [SAMPLE], {"s": "pull_secret:"})

    calls: dict[str, list[Callable[[], Any]]] = {
        "job": [handler.state, lambda: objects.job_at(target, "j"), lambda: objects.delete_job(target, "j")],
        "pods": [handler.state, lambda: objects.pods_of(target, "j")],
        "log": [lambda: Reader(target, "j", "j-x").read("stdout", 0)],
    }
    for call in calls.get(answer[0], [check]):
        with contextlib.suppress(PlatformError):
            call()


# -- a watch ----------------------------------------------------------------------------------------------------------

LABELS = {"batch.kubernetes.io/job-name": "j"}
GOING: dict[str, Any] = {
    "jobs": {"metadata": {"name": "j", "uid": "u", "resourceVersion": "5", "creationTimestamp": AT},
             "spec": {"suspend": False}, "status": {"startTime": AT, "conditions": []}},
    "pods": {"metadata": {"name": "j-x", "resourceVersion": "6", "creationTimestamp": AT, "labels": LABELS},
             "spec": {"nodeName": "n"},
             "status": {"phase": "Running", "containerStatuses": [
                 {"name": "job", "state": {"running": {"startedAt": AT}}}]}},
}  # fmt: skip
FAILED = GOING["pods"] | {
    "status": {
        "phase": "Failed",
        "containerStatuses": [
            {
                "name": "job",
                "state": {"terminated": {"exitCode": 7, "reason": "Error", "startedAt": AT, "finishedAt": AT}},
            }
        ],
    }
}
END = {"jobs": b"", "pods": json.dumps({"type": "MODIFIED", "object": FAILED}).encode()}
WATCH_ERROR = {"type": "ERROR", "object": ERROR}
BOOKMARK = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}


def lines(kind: str) -> st.SearchStrategy[tuple[str, list[bytes]]]:
    """What a server may send of the Jobs or pods before their end."""
    events = [{"type": what, "object": GOING[kind]} for what in ("ADDED", "MODIFIED", "DELETED", "GONE")]
    other = {**GOING[kind], "metadata": {"name": "other"}}
    whole = [*events, WATCH_ERROR, BOOKMARK, {"type": "DELETED", "object": other}]
    content = st.one_of(st.sampled_from(whole), st.sampled_from(whole).flatmap(spoilt), JSON)
    raw = st.sampled_from([b"", b"<html>", b"\xff", b"[" * 9000, b"{}", b'{"type": "BOOKMARK"}'])
    line = st.one_of(content.map(lambda each: json.dumps(each).encode()), st.binary(max_size=20), raw)
    return st.tuples(st.just(kind), st.lists(line, min_size=1, max_size=4))


class WatchedCluster:
    """A fake: a Job whose pod runs, until a watch is told that it has failed.

    Attributes:
        odd: the kind of objects whose first watch begins with these lines.
    """

    def __init__(self) -> None:
        self.odd: tuple[str, list[bytes]] = ("", [])
        self.server = HostileServer(self._answer)
        self._lock = threading.Lock()

    def _answer(self, asked: Asked) -> Answer:
        path, _, query = asked.path.partition("?")
        kind = path.rpartition("/")[2]
        if kind not in GOING:
            return Answer(200, json.dumps({"items": []} if kind == "events" else GOING["jobs"]).encode())
        if "watch=" not in query:
            return Answer(200, json.dumps({"metadata": {"resourceVersion": "7"}, "items": [GOING[kind]]}).encode())
        with self._lock:
            odd, self.odd = (self.odd[1], ("", [])) if self.odd[0] == kind else ([], self.odd)
        return Answer(200, b"\n".join([*odd, END[kind]]))


@pytest.fixture(scope="module")
def watched() -> Iterator[WatchedCluster]:
    made = WatchedCluster()
    with pytest.MonkeyPatch.context() as patch, made.server:
        patch.setattr(reflector, "BACK_OFF", (0.01, 0.01))
        patch.setattr(watch, "TICK", 0.02)
        yield made


@examples(40)
@given(odd=st.sampled_from(sorted(GOING)).flatmap(lines))
@example(odd=("pods", [json.dumps({"type": "MODIFIED", "object": FAILED}).replace('"exitCode": 7, ', "").encode()]))
@example(odd=("jobs", [json.dumps({"type": "DELETED", "object": GOING["jobs"]}).encode()] * 3))
@example(odd=("jobs", [json.dumps({"type": "", "object": GOING["jobs"]}).encode(), b"\xff"]))
def test_a_watch_reports_no_end_but_the_true_one(
    watched: WatchedCluster, tmp_path_factory: pytest.TempPathFactory, odd: tuple[str, list[bytes]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "watched-kubeconfig"
    path.write_text(json.dumps({
        "clusters": [{"name": "c", "cluster": {"server": watched.server.url}}],
        "users": [{"name": "u", "user": {"token": "TOKEN"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
        "current-context": "x",
    }))  # fmt: skip
    watched.odd = odd
    watched.server.asked.clear()
    job = BaseJob(JobContext("r", "a", 1, "j"), KubernetesJobConfig("x", kubeconfig=str(path)))
    for _ in range(4):  # as a driver does, to which a watch raises
        events = watch.Watcher({"j": job}).events()
        with contextlib.suppress(PlatformError), contextlib.closing(events):
            end = next(event for event in events if event is not None and event.state.ended)
            assert (end.state, end.exit_code, end.reason) == (JobState.FAILED, 7, "exit code 7")
            return
    raise AssertionError("the watch does not report the end")
