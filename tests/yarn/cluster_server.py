"""A fake: a ResourceManager and a WebHDFS whose applications end as they are submitted, but for those that sleep: they
run until they are killed. It loses applications on demand, which real ones do in a moment that cannot be chosen.

So a whole run takes a second. Real ones are in tests/clusters. What it answers follows Hadoop's *ResourceManager REST
API* and *WebHDFS REST API*.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from aiflow_ext_yarn.master.outcome import EXIT, Outcome

Reply = tuple[int, Any, dict[str, str]]
TOOK = 2000  # ms that an application has run that ends as it is submitted
# A ResourceManager's ids begin with when it was started, in ms. No two of a process share one: it remembers attempts.
_starts = count(1_700_000_000_000)


class Cluster:
    """Serves until ``with`` ends.

    Attributes:
        clock: of both services: seconds since the epoch.
        asked: what the ResourceManager was asked for: method, path and query, in order.
        files_asked: how many requests the file system had.
        files: path -> content, as the file system has them.
        logs: whether the node has the logs of containers; logs_asked: how often it was asked for them; stdout: each
            container's.
        scheduler, settings: the ResourceManager's report of queues, and properties.
        permissions: of each folder, by its path.
        created: the paths of all files that were ever written or renamed to, in order.
        submitted: the ids of the applications that were submitted, in order; twice for one that was submitted twice.
        drops: so many of the next submissions are accepted and then forgotten.
        holds: applications that are submitted from now on stay ACCEPTED, and nothing of them is started.
        waits: application masters that are submitted from now on register, and make no start marker; an hour ago.
        diagnostics: of the applications that are submitted from now on: they end at once, FAILED.
        standby: the NameNode's: it refuses everything.
        unsafe: so many of the next requests for a change of the file system find it in safe mode.
        read_only, private: a folder in which nothing may be written or removed, and one in which nothing may be read.
        flink: how Flink's programs end that are submitted from now on, ``FINISHED`` or an exception of Java; None: they
            run until they are killed, or stopped with a savepoint.
        flink_configurations: of the programs that were submitted, in order.
        flink_jobs: the states of a running program's jobs; flink_tasks: how many tasks each has, by state; None: Flink
            does not say.
        container: called with the id of each application of Flink's, in a thread; its container runs until it returns.
        savepoint: the answer to a stop with one: its path, or an exception of Java.
        before: called with the path of each request before it is answered; may wait.
        url: of both services.
    """

    def __init__(self) -> None:
        self.clock: Callable[[], float] = time.time
        self.before: Callable[[str], None] = lambda path: None
        self.asked: list[str] = []
        self.files_asked = 0
        self.files: dict[str, bytes] = {}
        self.created: list[str] = []
        self.submitted: list[str] = []
        self.logs, self.logs_asked, self.stdout = True, 0, b"hello\n"
        queue = {"queueName": "default", "state": "RUNNING"}
        self.scheduler: dict[str, Any] = {"queueName": "root", "queues": {"queue": [queue]}}
        self.settings = {"yarn.log-aggregation-enable": "true"}
        self.permissions: dict[str, str] = {}
        self.times: dict[str, float] = {}  # of a file's last change, where that matters
        self.waits = False
        self.flink: str | None = "FINISHED"
        self.flink_configurations: list[dict[str, Any]] = []
        self.flink_jobs = ["RUNNING"]
        self.flink_tasks: dict[str, int] | None = None
        self.flink_failure: str | None = None  # the stack trace of the last restart
        self.container: Callable[[str], None] | None = None
        self._containers: set[str] = set()
        self.savepoint = "hdfs://nn/savepoints/savepoint-1"
        self.drops, self.holds, self.diagnostics = 0, False, ""
        self.standby, self.unsafe, self.read_only, self.private = False, 0, "/read-only/", "/private/"
        self._folders, self._incarnation = {"/"}, 1
        self._started, self._numbers = next(_starts), count(1)
        self._apps: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                cluster.before(self.path)
                with cluster._lock:
                    status, content, headers = cluster._answer(self.command, self.path, body)
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_PUT = do_POST = do_DELETE = do_GET

            def date_time_string(self, timestamp: float | None = None) -> str:
                return super().date_time_string(cluster.clock() if timestamp is None else timestamp)

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Cluster:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def start_marker(self, native_id: str) -> None:
        """The application master of this application has made its start marker."""
        with self._lock:
            folder = next(each for each in self._folders if each.endswith(native_id))
            self.files[f"{folder}/started"] = b""
            self.times[f"{folder}/started"] = time.time()
            self._apps[native_id]["progress"] = 50.0

    def new_id(self) -> str:
        """The id of an application that may be submitted."""
        return f"application_{self._started}_{next(self._numbers):04}"

    def start(self, native_id: str, tag: str) -> None:
        """Start an application with this tag, which runs until it is finished."""
        with self._lock:
            live = {"state": "RUNNING", "finalStatus": "UNDEFINED", "diagnostics": "", "finishedTime": 0}
            self._apps[native_id] = {"id": native_id, "applicationTags": tag, **live}

    def put(self, path: str) -> None:
        """Make a file, with its folders."""
        with self._lock:
            self._put(path, b"x")

    def add(self, path: str, content: bytes) -> None:
        """A file of this content, with its folders."""
        with self._lock:
            self._put(path, content)

    def _put(self, path: str, content: bytes) -> None:
        self.files[path] = content
        self._folders |= {path[:end] for end, each in enumerate(path) if each == "/" and end}

    def listing(self, tag: str) -> bytes:
        """The answer with all applications of this tag."""
        return json.dumps(
            {"apps": {"app": [app for app in self._apps.values() if app["applicationTags"] == tag]}}
        ).encode()

    def finish(self, native_id: str) -> None:
        """The job of this application has ended well."""
        with self._lock:
            ended = {"state": "FINISHED", "finalStatus": "SUCCEEDED", "finishedTime": int(self.clock() * 1000)}
            self._apps[native_id] |= {**ended, "diagnostics": Outcome(EXIT, exit_code=0).diagnostics()}

    def end_flink(self, native_id: str, how: str) -> None:
        """The Flink program of this application, which runs, ends so: ``FINISHED`` or an exception of Java."""
        with self._lock:
            (started,) = [each for each in self.files if each.endswith(f"/{native_id}/started")]
            folder = started.rpartition("/")[0]
            name = json.loads(self.files[f"{folder}/config.yaml"])["cluster.id"]
            self._flink_ends(self._apps[native_id], folder, name, how)

    def forget(self) -> None:
        """The ResourceManager is another one now, and its state store is empty."""
        with self._lock:
            self._apps.clear()
            self._incarnation += 1
            self.holds = False

    def _answer(self, method: str, target: str, body: bytes) -> Reply:
        parts = urlsplit(target)
        query, path = dict(parse_qsl(parts.query)), unquote(parts.path)
        if path.startswith("/webhdfs/v1"):
            self.files_asked += 1
            return self._file_system(query["op"], path.removeprefix("/webhdfs/v1") or "/", query, parts.query, body)
        if path == "/conf":
            name = query["name"]
            if name not in self.settings:
                return _missing("NotFoundException")
            return 200, {"property": {"key": name, "value": self.settings[name]}}, {}
        if "/containers/" in path and any(each in path for each in self._containers):
            return 200, {"container": {"state": "RUNNING"}}, {}
        if path.startswith(("/ws/v1/node/", "/ws/v1/history/")):
            self.logs_asked += "/logs/" in path
            if not self.logs:
                return 404, {}, {}
            text = self.stdout if path.endswith("/stdout") else b""
            log = b"LogLength:%d\nLogContents:\n%sEnd of LogType" % (len(text), text)
            return (200, log, {}) if "/logs/" in path else (404, {}, {})
        if path.startswith("/jobs/") or path == "/overview":
            return self._jobmanager(method, path)
        self.asked.append(f"{method} {target.removeprefix('/ws/v1/cluster')}")
        return self._resource_manager(method, path.removeprefix("/ws/v1/cluster"), query, body)

    def _resource_manager(self, method: str, path: str, query: dict[str, str], body: bytes) -> Reply:
        if path == "/info":
            info = {
                "id": self._incarnation,
                "startedOn": self._incarnation,
                "haState": "ACTIVE",
                "resourceManagerVersion": "3.4.3",
            }
            return 200, {"clusterInfo": info}, {}
        if path == "/apps/new-application":
            largest = {"memory": 8192, "vCores": 8}
            return 200, {"application-id": self.new_id(), "maximum-resource-capability": largest}, {}
        if path == "/apps" and method == "POST":
            sent = json.loads(body)
            native_id = sent["application-id"]
            self.submitted.append(native_id)
            if self.drops:
                self.drops -= 1
                return 202, {}, {}
            variables = {each["key"]: each["value"] for each in sent["am-container-spec"]["environment"]["entry"]}
            sleeps = b"sleep" in base64.b64decode(variables.get("AIFLOW_AM_SPEC", ""))
            container = native_id.replace("application", "container")
            self._apps[native_id] = {
                "id": native_id, "state": "FINISHED", "finalStatus": "SUCCEEDED",
                "launchTime": int(self.clock() * 1000) - TOOK, "finishedTime": int(self.clock() * 1000),
                "applicationTags": ",".join(sent["application-tags"]["tag"]),
                "diagnostics": Outcome(EXIT, exit_code=0).diagnostics(),
                "amContainerLogs": f"{self.url}/node/containerlogs/{container}_01_000001/ada",
            }  # fmt: skip
            if "_FLINK_CLASSPATH" in variables:
                self._flink_program(native_id)
                if self.container is not None:
                    self._containers.add(container)
                    threading.Thread(target=self._run_container, args=(native_id, container), daemon=True).start()
            elif self.diagnostics:
                self._apps[native_id] |= {"state": "FAILED", "finalStatus": "FAILED", "diagnostics": self.diagnostics}
            elif sleeps or self.holds or self.waits:
                state = "ACCEPTED" if self.holds else "RUNNING"
                live = {"state": state, "finalStatus": "UNDEFINED", "diagnostics": "", "finishedTime": 0}
                launched = int(time.time() - 3600) * 1000
                self._apps[native_id] |= {**live, "progress": 0.0, "launchTime": launched} if self.waits else live
            return 202, {}, {}
        if path == "/apps":
            found = [app for app in self._apps.values() if app["state"] in query["states"].split(",")
                     and query["applicationTags"] in app["applicationTags"].split(",")
                     and app["finishedTime"] >= int(query.get("finishedTimeBegin", 0))]  # fmt: skip
            return 200, {"apps": {"app": found} if found else None}, {}
        killed = re.fullmatch(r"/apps/(application_\w+)/state", path)
        if killed is not None and killed[1] in self._apps:
            self._apps[killed[1]] |= {
                "state": "KILLED",
                "finalStatus": "KILLED",
                "finishedTime": int(self.clock() * 1000),
            }
            return 202, {"state": "KILLED"}, {}
        app = re.fullmatch(r"/apps/(application_\w+)", path)
        if app is not None:
            found = self._apps.get(app[1])
            return (200, {"app": found}, {}) if found is not None else _missing("NotFoundException")
        if path == "/scheduler":
            return 200, {"scheduler": {"schedulerInfo": self.scheduler}}, {}
        return _missing("NotFoundException")

    def _run_container(self, native_id: str, container: str) -> None:
        assert self.container is not None
        self.container(native_id)
        self._containers.discard(container)

    def _flink_program(self, native_id: str) -> None:
        """What Flink's application master does: claim its start, and end, or run."""
        (ready,) = [each for each in self.files if each.endswith(f"/{native_id}/ready")]
        folder = ready.rpartition("/")[0]
        self.files[f"{folder}/started"] = self.files.pop(ready)
        app, config = self._apps[native_id], json.loads(self.files[f"{folder}/config.yaml"])
        self.flink_configurations.append(config)
        app |= {"diagnostics": "", "amRPCAddress": urlsplit(self.url).netloc}
        if self.flink is None:
            app |= {"state": "RUNNING", "finalStatus": "UNDEFINED", "finishedTime": 0, "progress": 100.0}
        else:
            kept = f"{urlsplit(config['execution.checkpointing.dir']).path}/{config['cluster.id']}"
            if self.flink != "FINISHED" and "execution.checkpointing.interval" in config:
                for name in ("chk-9/_metadata", "chk-10/_metadata", "chk-11/incomplete"):
                    self._put(f"{kept}/{name}", b"x")
            self._flink_ends(app, folder, config["cluster.id"], self.flink)

    def _flink_ends(self, app: dict[str, Any], folder: str, name: str, how: str) -> None:
        status = how if how == "FINISHED" else "FAILED"
        told = {f"/applications/{name}": {"id": name, "status": status}}
        if status == "FAILED":
            told[f"/applications/{name}/exceptions"] = {"exceptionHistory": {"entries": [{"stacktrace": how}]}}
        summary = {"archive": [{"path": path, "json": json.dumps(each)} for path, each in told.items()]}
        if status == "FINISHED" or f"{folder}/archive/{name}/applications" in self._folders:
            self._put(f"{folder}/archive/{name}/applications/{name}/application-summary", json.dumps(summary).encode())
        else:  # what of a job that did not begin is there before, and stays
            self._put(f"{folder}/archive/{name}", b"{}")
        final = "SUCCEEDED" if status == "FINISHED" else "FAILED"
        app |= {"state": "FINISHED", "finalStatus": final, "finishedTime": int(self.clock() * 1000)}

    def _jobmanager(self, method: str, path: str) -> Reply:
        """Flink's REST API, of the program that runs."""
        if path == "/jobs/overview":
            more = {} if self.flink_tasks is None else {"tasks": self.flink_tasks}
            jobs = [{"jid": f"{number:032x}", "state": state, **more} for number, state in enumerate(self.flink_jobs)]
            return 200, {"jobs": jobs}, {}
        if "/exceptions" in path:
            entries = [] if self.flink_failure is None else [{"stacktrace": self.flink_failure}]
            return 200, {"exceptionHistory": {"entries": entries}}, {}
        if "/metrics" in path:
            return 200, [{"id": "numRestarts", "value": "0" if self.flink_failure is None else "3"}], {}
        if path == "/overview":
            return 200, {"taskmanagers": 2, "slots-total": 4}, {}
        if method == "POST" and path.endswith("/stop"):
            return 202, {"request-id": "request"}, {}
        if "/savepoints/" in path and "://" not in self.savepoint:
            operation: dict[str, Any] = {"failure-cause": {"stack-trace": self.savepoint}}
            return 200, {"status": {"id": "COMPLETED"}, "operation": operation}, {}
        if "/savepoints/" in path:
            for app in self._apps.values():
                if app["state"] == "RUNNING":
                    (started,) = [each for each in self.files if each.endswith(f"/{app['id']}/started")]
                    folder = started.rpartition("/")[0]
                    name = json.loads(self.files[f"{folder}/config.yaml"])["cluster.id"]
                    self._flink_ends(app, folder, name, "FINISHED")
                    told = json.dumps({"latest": {"savepoint": {"external_path": self.savepoint}}})
                    odd = [None, {"path": 5}, "x"]  # passed over
                    job = {"archive": [*odd, {"path": f"/jobs/{name}/checkpoints", "json": told}]}
                    self._put(f"{folder}/archive/{name}/applications/{name}/jobs/{name}", json.dumps(job).encode())
            return 200, {"status": {"id": "COMPLETED"}, "operation": {"location": self.savepoint}}, {}
        return _missing("NotFoundException")

    def _file_system(self, operation: str, path: str, query: dict[str, str], text: str, body: bytes) -> Reply:
        below = f"{path.rstrip('/')}/"
        if self.standby:
            return _refused("StandbyException", f"Operation category {operation} is not supported in state standby")
        if self.unsafe and operation not in ("OPEN", "GETFILESTATUS", "LISTSTATUS"):
            self.unsafe -= 1
            return _refused("SafeModeException", f"Cannot {operation} {path}. Name node is in safe mode.")
        there = any(each == path or each.startswith(below) for each in self.files)
        if path.startswith(self.read_only) and (operation == "CREATE" or (operation == "DELETE" and there)):
            return _refused("AccessControlException", f"Permission denied: user=ada, access=WRITE, inode={path}")
        if path.startswith(self.private) and operation in ("OPEN", "GETFILESTATUS", "LISTSTATUS"):
            return _refused("AccessControlException", f"Permission denied: user=ada, access=EXECUTE, inode={path}")
        file = next((each for each in self.files if path.startswith(f"{each}/")), None)
        if file is not None and operation in ("OPEN", "GETFILESTATUS", "LISTSTATUS"):
            return _refused("AccessControlException", f"{file} (is not a directory)")
        if operation in ("APPEND", "OPEN") and path in self.files and "at" not in query:
            return 307, {}, {"Location": f"{self.url}/webhdfs/v1{quote(path)}?{text}&at=node"}
        if operation == "APPEND" and path in self.files:
            self.files[path] += body
            return 200, {}, {}
        if operation == "OPEN" and path in self.files:
            begin = int(query.get("offset", 0))
            return 200, self.files[path][begin:][: int(query.get("length", len(self.files[path])))], {}
        if operation == "MKDIRS":
            for end in (number for number, each in enumerate(f"{path}/") if each == "/" and number):
                self.permissions.setdefault(path[:end], query.get("permission", "755"))
            self._folders.add(path)
            return 200, {"boolean": True}, {}
        if operation == "CREATE" and "at" not in query:
            return 307, {}, {"Location": f"{self.url}/webhdfs/v1{quote(path)}?{text}&at=node"}
        if operation == "CREATE":
            self.files[path] = body
            return 201, {}, {}
        if operation == "RENAME":
            if path not in self.files or query["destination"] in self.files:
                return 200, {"boolean": False}, {}
            self.files[query["destination"]] = self.files.pop(path)
            self.created.append(query["destination"])
            return 200, {"boolean": True}, {}
        if operation == "DELETE":
            gone = {each for each in (*self.files, *self._folders) if each == path or each.startswith(below)}
            self.files = {each: data for each, data in self.files.items() if each not in gone}
            self._folders -= gone
            return 200, {"boolean": bool(gone)}, {}
        if operation == "GETFILESTATUS" and path in self.files:
            changed = int(self.times.get(path, 86_400) * 1000)
            status = {"length": len(self.files[path]), "modificationTime": changed, "type": "FILE"}
            return 200, {"FileStatus": status}, {}
        if operation == "GETFILESTATUS" and path in self._folders:
            return 200, {"FileStatus": {"length": 0, "modificationTime": 0, "type": "DIRECTORY"}}, {}
        if operation == "LISTSTATUS" and path in self._folders:
            every = (*self.files, *self._folders)
            names = {each.removeprefix(below).partition("/")[0] for each in every if each.startswith(below)}
            return 200, {"FileStatuses": {"FileStatus": [{"pathSuffix": name} for name in sorted(names)]}}, {}
        return _missing("FileNotFoundException")


def _missing(exception: str) -> Reply:
    return 404, {"RemoteException": {"exception": exception, "message": "it is not there"}}, {}


def _refused(exception: str, words: str) -> Reply:
    return 403, {"RemoteException": {"exception": exception, "message": words}}, {}
