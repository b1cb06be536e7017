"""A fake API server that keeps what it is sent; its Jobs get pods that end at once, unless they sleep."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

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
        self.uids: dict[str, str] = {}  # of namespaces that may be read
        self.asked: list[str] = []  # method and path of each request
        self.groups: set[str] = set()  # of the API, besides Kubernetes' own
        self.refuses = False  # the credentials
        self.refused_pods: str | None = None  # why no pod may be created
        self.node_is_gone = False  # pods that are deleted stay, and their Jobs: no node confirms that a pod has ended
        self.before_list: Callable[[str], None] = lambda path: None  # called before a list is answered
        self.before_log: Callable[[str], str | None] = lambda pod: None  # why its node does not give a pod's log
        self.pod_status: dict[str, Any] | None = None  # what a new pod's status is instead
        self.behind: Callable[[str], Any] = lambda path: None  # what a Service answers to a GET; None: it is not there
        self.said = ["said"]  # the lines of stdout of a job
        self.container_logs: dict[str, str] = {}  # of containers that are not called job
        self.unlisted: set[str] = set()  # paths that neither a list nor a watch shows
        self.url = ""

    def put(self, path: str, thing: Any) -> None:
        if path not in self.objects:
            self.created.append(path)
        self._tell("MODIFIED" if path in self.objects else "ADDED", path, thing)
        self.objects[path] = thing

    def remove(self, path: str) -> Any:
        if self.node_is_gone and ("/pods/" in path or "/jobs/" in path):
            leaving = json.loads(json.dumps(self.objects[path]))
            leaving["metadata"]["deletionTimestamp"] = ENDED
            self.put(path, leaving)
            return leaving
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
        for part in ("annotations", "labels"):
            job["metadata"].setdefault(part, {}).update(patch["metadata"].get(part, {}))
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
                                "status": self.pod_status or {
                                    "phase": "Running" if sleeps else "Succeeded",
                                    "containerStatuses": [{"name": CONTAINER, "state": state}]}})  # fmt: skip
        return job


def _owner(thing: Any) -> str | None:
    owners = thing["metadata"].get("ownerReferences") or [{}]
    name = (thing["metadata"].get("labels") or {}).get("batch.kubernetes.io/job-name") or owners[0].get("name")
    return None if name is None else str(name)


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
        elif url.path.removeprefix("/apis/") in self.cluster.groups:
            self._answer(200, {"kind": "APIGroup"})
        elif url.path.endswith("/log"):
            self._log(url.path.removesuffix("/log"), query["container"], "previous" in query)
        elif "watch" in query:
            self._watch(url.path, query)
        elif "/proxy/" in url.path and (answer := self.cluster.behind(url.path.partition("/proxy")[2])) is not None:
            self._answer(200, answer)
        elif url.path in self.cluster.objects:
            self._answer(200, self.cluster.objects[url.path])
        elif url.path.removeprefix("/api/v1/namespaces/") in self.cluster.uids:
            self._answer(200, {"metadata": {"uid": self.cluster.uids[url.path.rpartition("/")[2]]}})
        elif url.path.rsplit("/", 1)[1] in ("jobs", "pods", "events", "resourcequotas"):
            self.cluster.before_list(self.path)
            with self.lock:
                found = [
                    each for path, each in self.cluster.objects.items() if self._shows(path, url.path, each, query)
                ]
                version = str(len(self.cluster.events))
            self._answer(200, {"metadata": {"resourceVersion": version}, "items": found})
        else:
            self._answer(404, {"reason": "NotFound", "message": "not found"})

    def do_POST(self) -> None:
        url, thing = urlsplit(self.path), self._body()
        if url.path.endswith("selfsubjectaccessreviews"):
            self._answer(201, {"status": {"allowed": True}})
            return
        if url.path.endswith("/pods") and self.cluster.refused_pods is not None:
            self._answer(403, {"reason": "Forbidden", "message": self.cluster.refused_pods})
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
            found = self.cluster.resume(self.path, body) if self.path in self.cluster.objects else None
        self._answer(*((404, {"reason": "NotFound", "message": "not found"}) if found is None else (200, found)))

    def do_DELETE(self) -> None:
        self._body()
        path = urlsplit(self.path).path
        with self.lock:
            found = self.cluster.remove(path) if path in self.cluster.objects else None
        self._answer(*((404, {"reason": "NotFound", "message": "not found"}) if found is None else (200, found)))

    def _shows(self, path: str, folder: str, thing: Any, query: dict[str, str]) -> bool:
        return path not in self.cluster.unlisted and _is_in(path, folder, thing, query)

    def _body(self) -> Any:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return json.loads(data) if data else None

    def parse_request(self) -> bool:
        whole = super().parse_request()
        if whole:
            self.cluster.asked.append(f"{self.command} {self.path}")
        if whole and self.cluster.refuses:
            self._body()
            self._answer(401, {"message": "Unauthorized"})
            return False
        return whole

    def _answer(self, status: int, content: Any) -> None:
        self._raw(status, json.dumps(content).encode())

    def _raw(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _log(self, path: str, container: str, previous: bool) -> None:
        pod = self.cluster.objects.get(path)
        if pod is None:
            self._answer(404, {"reason": "NotFound", "message": "not found"})
            return
        if (words := self.cluster.before_log(pod["metadata"]["name"])) is not None:
            self._answer(500, {"reason": "InternalError", "message": words})
            return
        tag = tag_of(pod["metadata"]["labels"]["batch.kubernetes.io/job-name"])
        lines: tuple[str, ...] = (f"{tag}+", *self.cluster.said, f"{tag}.", f"{tag}:complained", f"{tag};")
        if container != CONTAINER:
            lines = (f"{self.cluster.container_logs[container]}{' before' if previous else ''}",)
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
                while len(events) <= told and not self.cluster.closed:
                    changed.wait()
                fresh = events[told:]
                told = len(events)
            for what, where, thing in fresh:
                if self._shows(where, path, thing, query):
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
    key, among, names = query.get("labelSelector", "").partition(" in ")
    if among:
        return path.rpartition("/")[0] == folder and labels.get(key) in names.strip("()").split(",")
    wanted = [each.split("=") for each in query.get("labelSelector", "").split(",") if each]
    return path.rpartition("/")[0] == folder and all(labels.get(key) == value for key, value in wanted)


@contextlib.contextmanager
def serving() -> Iterator[Cluster]:
    """A cluster whose API is served at its ``url``."""
    made = Cluster()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Served", (Handler,), {"cluster": made}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield made
    finally:
        with made.changed:
            made.closed = True
            made.changed.notify_all()
        server.shutdown()
        server.server_close()
