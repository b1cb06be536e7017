"""Answers of a ResourceManager, of NodeManagers and WebHDFS: whatever they are, calls return or say what is wrong."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fuzz import JSON, examples, spoilt
from hostile_server import Answer, Asked, HostileServer
from hypothesis import example, given
from hypothesis import strategies as st

from aiflow_ext.engines.bundle import build_bundle
from aiflow_ext.model.errors import PlatformError
from aiflow_ext.model.graph import AINode, AISubGraph
from aiflow_ext.model.job import JobContext
from aiflow_ext.model.project import ProjectDesc
from aiflow_ext.model.states import JobState
from aiflow_ext_yarn import tokens
from aiflow_ext_yarn.application import Application
from aiflow_ext_yarn.capacity import too_large
from aiflow_ext_yarn.cluster import Cluster, cluster_of
from aiflow_ext_yarn.config import YarnJobConfig
from aiflow_ext_yarn.handler import YarnHandler
from aiflow_ext_yarn.job import YarnJob
from aiflow_ext_yarn.logs import Container, Logs
from aiflow_ext_yarn.master import outcome
from aiflow_ext_yarn.queues import Queues
from aiflow_ext_yarn.resourcemanager import ResourceManager
from aiflow_ext_yarn.watch import Polls
from aiflow_ext_yarn.webhdfs import WebHdfs

ID = "application_1_0001"
OUTCOME = {"kind": "exit", "exit_code": 1, "signal": None, "stopped": False, "reason": "x", "left": []}
APP = {
    "id": ID, "state": "FAILED", "finalStatus": "FAILED", "startedTime": 1, "launchTime": 2, "finishedTime": 3,
    "amContainerLogs": "http://127.0.0.1:1/node/containerlogs/container_1_0001_01_000001/ada",
    "diagnostics": "Application application_1_0001 failed 1 times due to AM Container exited with exitCode: 137\n",
    "timeouts": {"timeout": [{"type": "LIFETIME", "expiryTime": "UNLIMITED"}]},
}  # fmt: skip
QUEUE = {"queueName": "default", "state": "RUNNING", "queues": {"queue": [{"queueName": "a", "queues": None}]}}
# What is asked for, by the end of its path or its operation: an answer as a real service gives it.
GOOD: dict[str, Any] = {
    "info": {"clusterInfo": {"id": 1, "startedOn": 1, "haState": "ACTIVE", "resourceManagerVersion": "3.4.3"}},
    "new-application": {
        "application-id": ID,
        "maximum-resource-capability": {
            "memory": 1024, "vCores": 4, "resourceInformations": {"resourceInformation": [{"name": "gpu", "value": 1}]},
        },
    },
    ID: {"app": APP},
    "apps": {"apps": {"app": [APP, APP | {"state": "RUNNING"}]}},
    "state": {"state": "KILLED"},
    "timeout": {"timeout": {}},
    "scheduler": {"scheduler": {"schedulerInfo": {"type": "capacityScheduler", "queueName": "root",
                                                  "queues": {"queue": [QUEUE]}}}},
    "access": {"allowed": "false", "diagnostics": "no"},
    "get-node-labels": {"nodeLabelInfo": [{"name": "gpu"}]},
    "conf": {"property": {"key": "k", "value": "v"}},
    "containers": {"container": {"state": "DONE"}},
    "GETFILESTATUS": {"FileStatus": {"length": 1, "modificationTime": 2, "type": "FILE"}},
    "LISTSTATUS": {"FileStatuses": {"FileStatus": [{"pathSuffix": "a"}]}},
    "MKDIRS": {"boolean": True}, "RENAME": {"boolean": True}, "DELETE": {"boolean": True},
    "GETDELEGATIONTOKEN": {"Token": {"urlString": "BAAAAA"}},
    "CREATE": {"Location": "http://127.0.0.1:1/x"}, "OPEN": {},
}  # fmt: skip
ERROR = {"RemoteException": {"exception": "SafeModeException", "message": "Name node is in safe mode"}}
WORDS = st.sampled_from([
    APP["diagnostics"], "killed by user bob at 10.0.0.1", "Caused by: ", "exitCode: 9" + "9" * 5000, "a." * 3000,
    outcome.LABEL, "[" * 5000, json.dumps(OUTCOME), "Current usage: " * 500,
])  # fmt: skip
DIAGNOSTICS = st.lists(WORDS, max_size=4).map("\n".join)
STATUS = st.sampled_from([200, 200, 200, 200, 201, 202, 302, 400, 403, 404, 500, 503])
HEADERS = st.dictionaries(
    st.sampled_from(["Date", "Location", "Refresh", "Content-Type", "WWW-Authenticate", "Set-Cookie"]),
    st.sampled_from(["", "x", "Mon, 99 Foo 2026 99:99:99 GMT", "Thu, 01 Jan 9999 00:00:00 +9999", "http://[::1/x", "//",
                     "http://127.0.0.1:1/x", "text/html", "Negotiate", "hadoop.auth=x"]),
    max_size=2,
)  # fmt: skip


def answers(key: str) -> st.SearchStrategy[tuple[str, int, dict[str, str], bytes]]:
    """What a service may answer to a kind of request."""
    bodies: list[st.SearchStrategy[Any]] = [spoilt(GOOD[key]), spoilt(GOOD[key]), spoilt(ERROR), JSON]
    if key in (ID, "apps"):
        bodies.append(DIAGNOSTICS.map(lambda words: {"app": APP | {"diagnostics": words}}))
        bodies.append(DIAGNOSTICS.map(lambda words: {"apps": {"app": [APP | {"diagnostics": words}]}}))
    data = st.one_of(
        st.one_of(bodies).map(lambda body: json.dumps(body).encode()),
        st.sampled_from(
            [b"", b"<html>", b"\xff", b"[" * 9000, b"This is standby RM", b"LogLength: 5\nLogContents:\nab"]
        ),
        st.binary(max_size=20),
    )
    return st.tuples(st.just(key), STATUS, HEADERS, data)


class Service:
    """A fake: answers as a service does, but to one kind of request.

    Attributes:
        other: that kind, and the answer to it.
    """

    def __init__(self) -> None:
        self.other: tuple[str, int, dict[str, str], bytes] = ("", 200, {}, b"")
        self.good = dict(GOOD)
        self.server = HostileServer(self._answer)

    def _answer(self, asked: Asked) -> Answer:
        path, _, query = asked.path.partition("?")
        operation = next((each[3:] for each in query.split("&") if each.startswith("op=")), "")
        parts = path.rstrip("/").split("/")
        key = operation or next((each for each in reversed(parts) if each in GOOD), "")
        if key == self.other[0]:
            _, status, headers, body = self.other
            return Answer(status, self._here(body), headers)
        return Answer(200, self._here(json.dumps(self.good.get(key, {})).encode()))

    def _here(self, body: bytes) -> bytes:
        return body.replace(b"http://127.0.0.1:1/", f"{self.server.url}/".encode())


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    made = Service()
    with pytest.MonkeyPatch.context() as patch, made.server:
        for name in ("AGGREGATION_TIMEOUT", "NO_LOGS_TIMEOUT"):  # logs that are not there yet never come
            patch.setattr(f"aiflow_ext_yarn.application.{name}", 0.0)
        logging.getLogger("urllib3").setLevel(logging.CRITICAL)  # thousands of warnings would be kept
        yield made


@examples(80)
@given(answer=st.sampled_from(sorted(GOOD)).flatmap(answers))
def test_a_call_returns_or_raises_an_error_in_words(
    service: Service, tmp_path_factory: pytest.TempPathFactory, answer: tuple[str, int, dict[str, str], bytes]
) -> None:
    service.other = answer
    service.server.asked.clear()
    url = service.server.url
    cluster = Cluster([url], [], [f"{url}/webhdfs/v1"], None, "hdfs://nn", "ada", False, None, True, "/s", 0.0)
    rm, files, logs = ResourceManager(cluster), WebHdfs(cluster), Logs(cluster)
    application = Application(cluster, ID, "run", str(tmp_path_factory.getbasetemp() / "no-such-folder"))
    container = Container("container_1", url)
    key = answer[0]
    calls: dict[str, list[Callable[[], Any]]] = {
        "info": [rm.active, rm.clock_skew],
        "new-application": [lambda: too_large(YarnJobConfig(resources={"gpu": 1}), rm.new_application()[1], "a job")],
        ID: [YarnHandler(application).state, lambda: rm.limit(ID, 10.0), lambda: application.logs("stdout", 0),
             application.lookup],
        "apps": [lambda: [application.event(each) for each in rm.live("t").reports]],
        "state": [lambda: rm.kill(ID)],
        "timeout": [lambda: rm.limit(ID, 10.0)],
        "scheduler": [lambda: Queues(rm).named("a"), lambda: Queues(rm).may_be_made("root.b")],
        "access": [lambda: Queues(rm).may_submit("a")],
        "get-node-labels": [rm.labels],
        "conf": [lambda: rm.setting("k")],
        "containers": [lambda: logs.gone(container), lambda: logs.read(container, "stdout", 0, ended=True)],
        "GETFILESTATUS": [lambda: files.status("/f")],
        "LISTSTATUS": [lambda: files.names("/f")],
        "MKDIRS": [lambda: files.mkdirs("/f")],
        "RENAME": [lambda: files.rename("/f", "/g")],
        "DELETE": [lambda: files.delete("/f")],
        "GETDELEGATIONTOKEN": [lambda: tokens.for_hdfs(files.delegation_token("yarn"), "nn:1")],
        "CREATE": [lambda: files.put("/f", b"x", 1)],
        "OPEN": [lambda: files.read("/f")],
    }  # fmt: skip
    for call in calls[key]:
        with contextlib.suppress(PlatformError):
            call()


GOING = APP | {"state": "RUNNING", "finalStatus": "UNDEFINED", "diagnostics": "", "finishedTime": 0}
LABELLED = APP | {"diagnostics": f"{outcome.LABEL} {json.dumps(OUTCOME | {'exit_code': 7})}"}
FOLDER = {"FileStatuses": {"FileStatus": [{"pathSuffix": "started"}]}}
ODD = {"apps": {"apps": {"app": [GOING]}}, ID: {"app": GOING}, "info": GOOD["info"], "LISTSTATUS": FOLDER}

MOMENTS = itertools.count(0.0, 1000.0)  # goes on from example to example, as the pace of a run's polls is kept


def odd_answers(key: str) -> st.SearchStrategy[tuple[str, int, dict[str, str], bytes]]:
    """What a service may answer about an application that is running."""
    bodies = st.one_of(spoilt(ODD[key]), spoilt(ODD[key]), spoilt(ERROR), JSON).map(lambda body: json.dumps(body))
    raw = st.sampled_from([b"", b"<html>", b"\xff", b"[" * 9000, b"This is standby RM"])
    return st.tuples(st.just(key), STATUS, HEADERS, st.one_of(bodies.map(str.encode), raw, st.binary(max_size=20)))


@examples(40)
@given(odd=st.sampled_from(sorted(ODD)).flatmap(odd_answers), listed=st.booleans())
@example(odd=(ID, 404, {}, b'{"RemoteException": {"exception": "a"}}'), listed=False)
@example(odd=(ID, 200, {}, json.dumps({"app": APP | {"id": "application_1_0002"}}).encode()), listed=False)
@example(odd=("apps", 200, {}, json.dumps({"apps": {"app": [APP | {"finalStatus": ""}]}}).encode()), listed=True)
def test_polls_report_no_end_but_the_true_one(
    service: Service,
    tmp_path_factory: pytest.TempPathFactory,
    odd: tuple[str, int, dict[str, str], bytes],
    listed: bool,
) -> None:
    url, root = service.server.url, tmp_path_factory.getbasetemp()
    service.server.asked.clear()
    service.other = ("", 200, {}, b"")
    service.good = {
        **GOOD,
        ID: {"app": GOING},
        "apps": {"apps": {"app": [GOING] if listed else []}},
        "LISTSTATUS": FOLDER,
    }
    config = YarnJobConfig(resource_manager=url, webhdfs=url, user="ada")
    graph = AISubGraph(config, "a", [AINode("cmd_line", {"command": "true"}, "a/1")])
    job = YarnJob(config, build_bundle(graph, ProjectDesc("p", str(root)), "cmd_line"), cluster_of(config))
    job.job_context = JobContext(run_id="run", native_id=ID)
    polls = Polls({ID: job}, lambda: next(MOMENTS))

    def poll() -> list[Any]:
        found: list[Any] = []
        with contextlib.suppress(PlatformError):
            found += [event for event, _, _ in polls.poll()]
        return found

    assert [event.state for event in poll()] == [JobState.RUNNING]
    service.other = odd
    assert not [event for _ in range(3) for event in poll() if event.state.ended]
    service.other = ("", 200, {}, b"")
    service.good |= {ID: {"app": LABELLED}, "apps": {"apps": {"app": [LABELLED]}}}
    ends = [event for _ in range(3) for event in poll() if event.state.ended]
    assert [(end.state, end.exit_code, end.reason) for end in ends] == [(JobState.FAILED, 7, "x")]
    service.good = dict(GOOD)
