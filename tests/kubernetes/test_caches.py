"""A fake API server that keeps what it is sent, for a client whose caches are dropped between every two hooks: whatever
the platform remembers must change nothing but how often a server is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from interrupted import ENDS, run_interrupted

from aiflow_ext.model.errors import UnreachableError
from aiflow_ext.model.job import BaseJob, JobContext
from aiflow_ext.model.states import JobState
from aiflow_ext.run import prepare_resume, prepare_run
from aiflow_ext.testing.caches import drop_caches, forgetting
from aiflow_ext_kubernetes import watch
from aiflow_ext_kubernetes.config import KubernetesJobConfig
from aiflow_ext_kubernetes.handler import KubernetesHandler
from aiflow_ext_kubernetes.jobs import KubernetesJobPlugin
from aiflow_ext_kubernetes.shell import tag_of
from aiflow_ext_kubernetes.template import CONTAINER

STARTED, ENDED = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"
COMPLETED = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": STARTED, "finishedAt": ENDED}}


class Cluster:
    """Jobs, pods and Secrets by their paths. A Job that is resumed gets a pod, which ends at once unless it sleeps."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.objects: dict[str, Any] = {}
        self.created: list[str] = []  # the paths of what was made, in turn
        self.events: list[tuple[str, str, Any]] = []  # what, path, object: the index is the resourceVersion
        self.closed = False

    def put(self, path: str, thing: Any) -> None:
        if path not in self.objects:
            self.created.append(path)
        self._tell("MODIFIED" if path in self.objects else "ADDED", path, thing)
        self.objects[path] = thing

    def remove(self, path: str) -> Any:
        thing = self.objects.pop(path)
        self._tell("DELETED", path, thing)
        if "/jobs/" in path:
            for owned in [key for key, each in self.objects.items() if _owner(each) == thing["metadata"]["name"]]:
                self.remove(owned)
        return thing

    def _tell(self, what: str, path: str, thing: Any) -> None:
        with self.changed:
            thing["metadata"]["resourceVersion"] = str(len(self.events) + 1)
            self.events.append((what, path, json.loads(json.dumps(thing))))
            self.changed.notify_all()

    def resume(self, path: str, patch: dict[str, Any]) -> Any:
        job = json.loads(json.dumps(self.objects[path]))
        job["metadata"]["annotations"].update(patch["metadata"]["annotations"])
        job["spec"].update(patch.get("spec", {}))
        self.put(path, job)
        name = f"{job['metadata']['name']}-pod"
        home = path.partition("/namespaces/")[2].partition("/")[0]
        pod_path = f"/api/v1/namespaces/{home}/pods/{name}"
        if not job["spec"]["suspend"] and pod_path not in self.objects:
            template = job["spec"]["template"]
            sleeps = "sleep" in json.dumps(template["spec"]["containers"][0]["command"][-1])
            labels = {**template["metadata"]["labels"], "batch.kubernetes.io/job-name": job["metadata"]["name"]}
            state = {"running": {"startedAt": STARTED}} if sleeps else COMPLETED
            self.put(pod_path, {"metadata": {"name": name, "labels": labels, "creationTimestamp": STARTED},
                                "spec": {"nodeName": "node"},
                                "status": {"phase": "Running" if sleeps else "Succeeded",
                                           "containerStatuses": [{"name": CONTAINER, "state": state}]}})  # fmt: skip
        return job


def _owner(thing: Any) -> str | None:
    owners = thing["metadata"].get("ownerReferences") or [{}]
    return (thing["metadata"].get("labels") or {}).get("batch.kubernetes.io/job-name") or owners[0].get("name")


class Handler(BaseHTTPRequestHandler):
    """The API of a cluster, as far as it is used."""

    protocol_version = "HTTP/1.1"
    cluster: Cluster
    lock = threading.Lock()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if url.path == "/version":
            self._answer(200, {"major": "1", "minor": "34", "gitVersion": "v1.34.0"})
        elif url.path.endswith("/log"):
            self._log(url.path.removesuffix("/log"))
        elif "watch" in query:
            self._watch(url.path, query)
        elif url.path in self.cluster.objects:
            self._answer(200, self.cluster.objects[url.path])
        elif url.path.rsplit("/", 1)[1] in ("jobs", "pods", "events", "resourcequotas"):
            with self.lock:
                found = [each for path, each in self.cluster.objects.items() if _is_in(path, url.path, each, query)]
                version = str(len(self.cluster.events))
            self._answer(200, {"metadata": {"resourceVersion": version}, "items": found})
        else:
            self._answer(404, {"reason": "NotFound", "message": "not found"})

    def do_POST(self) -> None:
        url, thing = urlsplit(self.path), self._body()
        if url.path.endswith("selfsubjectaccessreviews"):
            self._answer(201, {"status": {"allowed": True}})
            return
        path = f"{url.path}/{thing['metadata']['name']}"
        with self.lock:
            is_there = path in self.cluster.objects
            thing["metadata"]["uid"] = path
            if not is_there and "dryRun" not in url.query:
                self.cluster.put(path, thing)
        self._answer(*((409, {"reason": "AlreadyExists", "message": "it exists"}) if is_there else (201, thing)))

    def do_PATCH(self) -> None:
        body = self._body()
        with self.lock:
            self._answer(200, self.cluster.resume(self.path, body))

    def do_DELETE(self) -> None:
        self._body()
        path = urlsplit(self.path).path
        with self.lock:
            found = self.cluster.remove(path) if path in self.cluster.objects else None
        self._answer(*((404, {"reason": "NotFound", "message": "not found"}) if found is None else (200, found)))

    def _body(self) -> Any:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return json.loads(data) if data else None

    def _answer(self, status: int, content: Any) -> None:
        self._raw(status, json.dumps(content).encode())

    def _raw(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _log(self, path: str) -> None:
        pod = self.cluster.objects.get(path)
        if pod is None:
            self._answer(404, {"reason": "NotFound", "message": "not found"})
            return
        tag = tag_of(pod["metadata"]["labels"]["batch.kubernetes.io/job-name"])
        lines = (f"{tag}+", "said", f"{tag}.", f"{tag}:complained", f"{tag};")
        self._raw(200, "".join(f"2026-01-01T00:00:00.{number:09}Z {line}\n"
                               for number, line in enumerate(lines)).encode())  # fmt: skip

    def _watch(self, path: str, query: dict[str, str]) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        told, events, changed = int(query["resourceVersion"]), self.cluster.events, self.cluster.changed
        while True:
            with changed:
                changed.wait_for(lambda seen=told: len(events) > seen or self.cluster.closed)
                fresh = events[told:]
                told = len(events)
            for what, where, thing in fresh:
                if _is_in(where, path, thing, query):
                    line = json.dumps({"type": what, "object": thing}).encode() + b"\n"
                    try:
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                    except OSError:  # nobody watches any more
                        return
            if self.cluster.closed:
                return

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _is_in(path: str, folder: str, thing: Any, query: dict[str, str]) -> bool:
    labels = thing["metadata"].get("labels") or {}
    wanted = [each.split("=") for each in query.get("labelSelector", "").split(",") if each]
    return path.rpartition("/")[0] == folder and all(labels.get(key) == value for key, value in wanted)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    made = Handler.cluster = Cluster()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    content = {
        "clusters": [{"name": "fake", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "me"}}],
        "current-context": "fake",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(content))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield made
    with made.changed:
        made.closed = True
        made.changed.notify_all()
    server.shutdown()
    server.server_close()


@pytest.fixture
def forgetful() -> Iterator[list[str]]:
    """The job plugins forget everything before and after each hook; the hooks that were called."""
    with forgetting(KubernetesJobPlugin, "aiflow_ext_kubernetes") as called:
        yield called


@pytest.mark.slow
def test_a_run_whose_platform_forgets_everything_between_hooks_ends_alike_and_leaves_nothing(
    project: Any, cluster: Cluster, forgetful: list[str]
) -> None:
    config = {
        "*": {"platform": "kubernetes", "image": "x"},
        "a": {"engine": "python", "namespace": "one"},
        "b": {"engine": "python", "namespace": "two"},
        "c": {"engine": "cmd_line", "namespace": "two"},
    }
    body = "with af.job('a'):\n    af.python(one)\nwith af.job('b'):\n    af.python(one)\n"
    project.jobs(body + "with af.job('c'):\n    af.cmd('true')", json.dumps(config), "def one():\n    pass\n")
    record = prepare_run(project.root).driver.run()
    assert {name: job.state for name, job in record.jobs.items()} == dict.fromkeys("abc", JobState.FINISHED)
    for name in "abc":
        assert (project.log(name), project.log(name, stream="stderr")) == (b"said\n", b"complained\n")
    sent = [path for path in cluster.created if path.endswith("-project")]
    assert sorted(path.split("/")[4] for path in sent) == ["one", "two"]
    assert cluster.objects == {}
    assert {"check_platform", "watch", "cleanup_job", "cleanup_run"} <= set(forgetful)


def test_a_stop_is_told_from_a_loss_though_nothing_is_remembered_of_it(
    project: Any, cluster: Cluster, forgetful: list[str]
) -> None:
    project.jobs("with af.job('a'):\n    af.cmd('sleep 1000')",
                 json.dumps({"a": {"platform": "kubernetes", "engine": "cmd_line", "image": "x"}}))  # fmt: skip
    run = prepare_run(project.root)
    driver = threading.Thread(target=run.driver.run)
    driver.start()
    with cluster.changed:
        assert cluster.changed.wait_for(lambda: any("/pods/" in path for _, path, _ in cluster.events), 30)
    run.driver.stop()
    driver.join(60)
    assert not driver.is_alive()
    assert run.record.jobs["a"].state is JobState.STOPPED
    assert cluster.objects == {}


@pytest.mark.slow
def test_a_run_that_is_left_resumed_and_stopped_needs_nothing_that_is_remembered(
    project: Any, cluster: Cluster, forgetful: list[str]
) -> None:
    assert run_interrupted(project, {"platform": "kubernetes", "image": "x"}) == ENDS
    assert {"attach", "watch", "cleanup_job", "cleanup_run"} <= set(forgetful)
    jobs = [path.rsplit("/", 1)[1] for path in cluster.created if "/jobs/" in path]
    assert len(jobs) == len(set(jobs)) == len(ENDS)
    assert cluster.objects == {}


def test_a_later_process_tells_a_stop_from_a_loss(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MISSING", 0.0)
    for number, is_stopped in enumerate((True, False)):
        folder, native_id = tmp_path / str(number), f"j{number}"
        folder.mkdir()
        path = f"/apis/batch/v1/namespaces/default/jobs/{native_id}"
        cluster.put(path, {"metadata": {"name": native_id, "annotations": {}}, "spec": {"suspend": True}})
        if is_stopped:
            assert KubernetesHandler(native_id, folder=str(folder)).stop(1.0)
        else:
            cluster.remove(path)
        drop_caches("aiflow_ext_kubernetes")
        wanted = JobState.STOPPED if is_stopped else JobState.LOST
        assert KubernetesHandler(native_id, folder=str(folder)).state() is wanted
        job = BaseJob(JobContext("r", "a", 1, native_id, str(folder)), KubernetesJobConfig("x"))
        events = watch.Watcher({native_id: job}).events()
        assert next(event.state for event in events if event is not None) is wanted
        events.close()


def test_an_attempt_for_which_nothing_was_made_is_not_lost_while_it_waits_for_its_turn(
    project: Any, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MISSING", 0.0)
    monkeypatch.setattr(watch, "TICK", 0.02)
    looked = threading.Semaphore(0)
    look, make = watch.Watcher._look, KubernetesJobPlugin.generate_job_resource

    def looking(self: watch.Watcher, now: float) -> Iterator[Any]:
        yield from look(self, now)
        if self._signatures:  # it has told of the one that runs
            looked.release()

    def making(self: KubernetesJobPlugin, job: BaseJob) -> None:
        if job.name == "b":
            first.driver.leave()
            raise UnreachableError("its driver ends before anything is made")
        make(self, job)

    config = {"*": {"platform": "kubernetes", "engine": "cmd_line", "image": "x"}}
    body = "with af.job('a'):\n    af.cmd('sleep 1000')\nwith af.job('b'):\n    af.cmd('true')\n"
    project.jobs(f"{body}af.run_after('b', 'a', when='running')", json.dumps(config))
    with monkeypatch.context() as patch:
        patch.setattr(KubernetesJobPlugin, "generate_job_resource", making)
        first = prepare_run(project.root, jobs=2)
        left = first.driver.run().jobs["b"].last
        first.close()
    assert left is not None
    assert (left.state, left.step) == (JobState.SUBMITTING, None)
    monkeypatch.setattr(watch.Watcher, "_look", looking)
    second = prepare_resume(first.record.run_id, project=str(project.root), jobs=1)
    driver = threading.Thread(target=second.driver.run)
    driver.start()
    for _ in range(3):
        assert looked.acquire(timeout=60)
    ((path, pod),) = [(path, each) for path, each in cluster.objects.items() if "/pods/" in path]
    pod["status"]["containerStatuses"][0]["state"] = COMPLETED
    cluster.put(path, {**pod, "status": {**pod["status"], "phase": "Succeeded"}})
    driver.join(60)
    assert not driver.is_alive()
    second.close()
    assert {name: [each.state for each in job.attempts] for name, job in second.record.jobs.items()} == {
        "a": [JobState.FINISHED], "b": [JobState.FINISHED]
    }  # fmt: skip
