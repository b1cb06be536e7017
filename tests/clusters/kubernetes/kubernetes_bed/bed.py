"""One bed: up, down, and what tests want of it in between."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from kubernetes_bed import (
    accounts,
    audit,
    binaries,
    cgroups,
    components,
    control,
    credentials,
    images,
    init,
    machine,
    network,
)
from kubernetes_bed.api import Api, ApiError
from kubernetes_bed.cache import SYSTEM_PATH, locked, run
from kubernetes_bed.errors import BedError
from kubernetes_bed.layout import Layout, beds_folder, folder_of, load
from kubernetes_bed.waiting import until

_SECONDS = 120.0
_ALIVE = ("running", "paused")
_DEADLY = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


class Bed:
    """The bed called ``name`` on this machine, up or not. Beds of different names run side by side."""

    def __init__(self, name: str = "test") -> None:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?", name):
            raise BedError(f"{name!r} cannot be a bed's name: at most 20 of a-z, 0-9 and, inside, -")
        self.name = name
        self.folder = folder_of(name)

    # -- up and down ---------------------------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        """Whether it runs, as a whole; single components may be down."""
        return control.is_up(self.folder)

    def up(self) -> bool:
        """Bring it up if it is not, and return when it is ready for pods; False if it was up already.

        What is missing is installed and built first: minutes the first time, nothing later.

        Raises:
            BedError: it does not come up, or is up and not whole; with what to do. Nothing is left of a new one.
        """
        if self.is_up:
            self.wait_ready()
            return False
        machine.check()
        machine.install_packages()
        binaries.kubernetes()
        binaries.s3_server()
        store = images.store()
        with locked(beds_folder() / "lock"):
            if self.is_up:  # somebody else was quicker
                return False
            self._clear()
            try:
                self._prepare(store)
                self._start_init()
            except BaseException:
                self._clear()
                raise
        try:
            for name in components.FIRST:
                self.start(name)
            self._wait("the API server", self._api_answers)
            for name in components.SECOND:
                self.start(name)
            self.wait_ready()
        except BaseException:
            self.down()
            raise
        return True

    def down(self) -> bool:
        """Take it down, with all that it has made; False if there was nothing to take down."""
        with locked(beds_folder() / "lock"):
            if not self.folder.exists():
                return False
            self._clear()
        return True

    def _prepare(self, store: Path) -> None:
        taken = [other.slot for path in beds_folder().iterdir() if path.is_dir() and (other := load(path.name))]
        slot = network.free_slot(taken)
        layout = Layout(self.name, slot, f"aiflow{secrets.token_hex(4)}", secrets.token_hex(16))
        for folder in (layout.folder, layout.conf, layout.logs):
            folder.mkdir(mode=0o700)
        layout.save()
        for path in init.PRIVATE:
            Path(path).mkdir(parents=True, exist_ok=True)
        cgroups.make(layout.cgroup)
        credentials.make(layout)
        components.configure(layout)
        binds = images.copy_store(store, layout.folder / "containerd")
        (layout.folder / "binds").write_text(json.dumps(binds))

    def _start_init(self) -> None:
        log, pid = self.layout.logs / "init.log", self.folder / "pid"
        namespaces = ["--mount", "--propagation=slave", "--net", "--pid", "--fork", "--kill-child"]
        with open(log, "a") as file:
            process = subprocess.Popen(
                ["unshare", *namespaces, sys.executable, "-I", "-S", init.__file__, str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
                env={"PATH": SYSTEM_PATH},
                cwd="/",
            )
        until(lambda: process.poll() is not None or pid.exists(), 20)
        if not pid.exists() or process.poll() is not None:
            raise BedError(f"the bed's first process does not start: {log.read_text()}")
        network.connect(self.layout, self.pid)

    def _clear(self) -> None:
        """Kill what runs and remove what is there; for whoever holds the lock of all beds."""
        if self.is_up:
            control.kill_all(self.folder)
        if layout := load(self.name):
            network.disconnect(layout)
            cgroups.remove(layout.cgroup)
        if self.folder.exists():
            run(["rm", "--recursive", "--force", self.folder])
        for path in init.PRIVATE:
            # Removing a folder would unmount what another bed has mounted there, though that is not seen here.
            if not _is_mounted(path):
                try:
                    os.rmdir(path)
                except OSError:  # it is not there, or somebody else's
                    pass

    # -- what it is ----------------------------------------------------------------------------------------------------

    @property
    def layout(self) -> Layout:
        """Its paths and addresses.

        Raises:
            BedError: it is not up.
        """
        found = load(self.name)
        if not found:
            raise BedError(f"there is no bed called {self.name}: bring it up first")
        return found

    @property
    def pid(self) -> int:
        """Its process 1, as this machine counts; ``nsenter --target`` takes it."""
        return control.init_pid(self.folder)

    @property
    def kubeconfig(self) -> Path:
        """An administrator's kubeconfig."""
        return self.layout.kubeconfig

    @property
    def api(self) -> Api:
        """A client that is an administrator."""
        pki = self.layout.pki
        return Api(self.layout.server, pki / "ca.crt", (pki / "admin.crt", pki / "admin.key"))

    @property
    def artifacts(self) -> str:
        """An artifacts URL; :attr:`s3_environment` is what it needs."""
        return f"s3://{components.BUCKET}"

    @property
    def s3_folder(self) -> Path:
        """Where the S3 server keeps what is under :attr:`artifacts`: files, by their keys."""
        return self.folder / "s3" / components.BUCKET

    @property
    def s3_environment(self) -> dict[str, str]:
        """The environment variables that S3 clients read, s3fs among them: the same in pods and on this machine."""
        return {
            "AWS_ENDPOINT_URL": self.layout.s3,
            "AWS_ACCESS_KEY_ID": self.layout.access_key,
            "AWS_SECRET_ACCESS_KEY": self.layout.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def environment(self) -> dict[str, Any]:
        """What ``bed.py env`` prints."""
        return {
            "name": self.name,
            "KUBECONFIG": str(self.kubeconfig),
            "server": self.layout.server,
            "node": self.layout.node,
            "kubectl": str(binaries.kubernetes() / "kubectl"),
            "audit_log": str(self.layout.audit),
            "logs": str(self.layout.logs),
            "images": dict(images.NAMES),
            "artifacts": self.artifacts,
            "s3_environment": self.s3_environment,
        }

    def status(self) -> dict[str, str]:
        """How each component is: ``running``, ``paused``, ``exit N``, ``signal N`` or ``not started``.

        Empty if the bed is down.
        """
        if not self.is_up:
            return {}
        known = control.ask(self.folder, list=True)["components"]
        words = {}
        for name in components.NAMES:
            record = known.get(name, {})
            ended = record.get("exit")
            if "pid" in record:
                words[name] = "paused" if record.get("paused") else "running"
            elif ended is None:
                words[name] = "not started"
            else:
                words[name] = f"exit {ended}" if ended >= 0 else f"signal {-ended}"
        return words

    # -- its parts -----------------------------------------------------------------------------------------------------

    def start(self, component: str) -> None:
        """Start a component that is down; :meth:`wait_ready` waits for its effect."""
        argv, env = components.command(component, self.layout)
        control.ask(self.folder, start=component, argv=argv, env=env)

    def kill(self, component: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to one component; returns when it is dead if the signal is one that ends a process."""
        control.ask(self.folder, signal=components.known(component), number=int(number))
        if number in _DEADLY:
            self._wait(f"the end of {component}", lambda: self.status()[component] not in _ALIVE)

    def pause(self, component: str) -> None:
        """Stop a component in its tracks: it keeps its connections and does not answer."""
        self.kill(component, signal.SIGSTOP)

    def resume(self, component: str) -> None:
        """Let it go on after :meth:`pause`."""
        self.kill(component, signal.SIGCONT)

    def cut(self) -> None:
        """Let no packet pass between this machine and the bed, as if the network were dead. Inside, all goes on."""
        network.cut(self.pid)

    def join(self) -> None:
        """Undo :meth:`cut`."""
        network.join(self.pid)

    def mend(self) -> None:
        """Undo what :meth:`kill`, :meth:`pause`, :meth:`cut` and a drained node left, and wait until all is well."""
        broken = network.join(self.pid)
        for component, word in self.status().items():
            if word == "paused":
                self.resume(component)
            elif word != "running":
                self.start(component)
            broken = broken or word != "running"
        if broken:
            self._wait("the API server", self._api_answers)
        if self.api.get(f"/api/v1/nodes/{self.layout.node}")["spec"].get("unschedulable"):
            self.kubectl("uncordon", self.layout.node)
            broken = True
        if broken:
            self.wait_ready()

    def wait_ready(self, seconds: float = _SECONDS) -> None:
        """Wait until every component works and the node takes pods.

        Raises:
            BedError: a component is down, or it takes longer than ``seconds``.
        """
        self._wait("the API server", self._api_answers, seconds)
        self._wait("the container runtime", self._runtime_answers, seconds)
        self._wait("the node to be ready", self._node_is_ready, seconds)
        self._wait("the default service account", self._has_service_account, seconds)
        self._wait("the S3 server", self._s3_answers, seconds)

    def command(self, *argv: str | Path) -> list[str]:
        """``argv`` as it has to be run on this machine to run inside the bed, where its runtime can be reached."""
        return ["nsenter", "--target", str(self.pid), "--mount", "--net", "--pid", *map(str, argv)]

    def execute(self, *argv: str | Path) -> str:
        """Run a command inside the bed and return what it prints."""
        return run(self.command(*argv))

    def enter(self, argv: Sequence[str]) -> NoReturn:
        """Become a command inside the bed."""
        command = self.command(*argv)
        os.execvp(command[0], command)

    def kubectl(self, *args: str | Path) -> str:
        """Run ``kubectl`` as an administrator and return what it prints."""
        return run([binaries.kubernetes() / "kubectl", f"--kubeconfig={self.kubeconfig}", *args])

    # -- what tests want -----------------------------------------------------------------------------------------------

    def audit_mark(self) -> int:
        """Where the audit log ends now; for :meth:`audit_log`."""
        return audit.mark(self.layout.audit)

    def audit_log(self, since: int = 0, **wanted: str) -> list[dict[str, Any]]:
        """The requests since a mark, one record each, in the order of their answers.

        A watch has a record at its start and another at its end, with the same ``auditID``; the last one counts. What
        the cluster's own components read is not in it.

        Args:
            since: what :meth:`audit_mark` returned.
            wanted: keep what has this ``user`` (its name), ``agent`` (a part of its user agent), ``namespace``,
                ``resource`` or ``verb``.
        """
        return audit.read(self.layout.audit, since, wanted)

    @contextmanager
    def namespace(self, labels: Mapping[str, str] | None = None) -> Iterator[str]:
        """A fresh Kubernetes namespace; deleted at the end, without waiting until it is gone."""
        metadata = {"generateName": "test-", "labels": dict(labels or {})}
        name: str = self.api.create("/api/v1/namespaces", {"metadata": metadata})["metadata"]["name"]
        path = f"/api/v1/namespaces/{name}"
        try:
            self._wait(f"the default service account of {name}", lambda: self._has_service_account(name))
            yield name
        finally:
            # The pods first, without their grace: the next test wants the room.
            self.api.delete(f"{path}/pods", {"gracePeriodSeconds": 0})
            self.api.delete(path)

    def service_account(
        self,
        namespace: str,
        rules: Sequence[Mapping[str, Any]],
        folder: Path,
        name: str = "tester",
        seconds: int = 3600,
    ) -> Path:
        """A kubeconfig of a new service account, which may do in its namespace what ``rules`` (a Role's) allow.

        ``seconds`` is how long its token is good for. Below 600 the token is signed here, since the API server issues
        none so short. It takes those for up to ten seconds more, since it caches its word; and to the minute by which
        it is always lenient, its own claim of its end is early.
        """
        return accounts.make(self.api, self.layout, namespace, rules, folder, name, seconds)

    # -- waiting -------------------------------------------------------------------------------------------------------

    def _wait(self, what: str, condition: Callable[[], bool], seconds: float = _SECONDS) -> None:
        if not until(condition, seconds):
            states = ", ".join(f"{name} {word}" for name, word in self.status().items())
            raise BedError(f"waited {seconds:.0f} s for {what}; {states}. Logs: {self.layout.logs}")

    def _all_run(self, *names: str) -> None:
        for name, word in self.status().items():
            if name in names and word not in (*_ALIVE, "not started"):
                raise BedError(f"{name} is down ({word}). The end of its log:\n{self._log_end(name)}")

    def _log_end(self, name: str, lines: int = 15) -> str:
        try:
            text = (self.layout.logs / f"{name}.log").read_text(errors="replace")
        except FileNotFoundError:
            return "(none)"
        return "\n".join(text.splitlines()[-lines:])

    def _api_answers(self) -> bool:
        self._all_run("etcd", "apiserver")
        try:
            return bool(self.api.request("GET", "/readyz", timeout=5) == "ok")
        except (ApiError, OSError):
            return False

    def _runtime_answers(self) -> bool:
        self._all_run("containerd")
        asked = self.command("ctr", "--address", components.CONTAINERD_SOCKET, "version")
        return subprocess.run(asked, capture_output=True).returncode == 0

    def _node_is_ready(self) -> bool:
        self._all_run("kcm", "scheduler", "kubelet", "proxy")
        path = f"/api/v1/nodes/{self.layout.node}"
        try:
            # The condition outlives the kubelet by most of a minute, so that it is asked itself, too.
            if self.api.get(f"{path}/proxy/healthz") != "ok":
                return False
            node = self.api.get(path)
        except (ApiError, OSError):
            return False
        ready = [one["status"] for one in node["status"].get("conditions", []) if one["type"] == "Ready"]
        return ready == ["True"] and not node["spec"].get("taints")

    def _has_service_account(self, namespace: str = "default") -> bool:
        try:
            self.api.get(f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
            return True
        except (ApiError, OSError):
            return False

    def _s3_answers(self) -> bool:
        self._all_run("s3")
        host, port = self.layout.s3.removeprefix("http://").split(":")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError:
            return False
        return True


def _is_mounted(path: str) -> bool:
    """Whether something is mounted there in any mount namespace of this machine."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                lines = Path(entry.path, "mountinfo").read_text().splitlines()
            except OSError:  # it has ended
                continue
            if any(line.split(" ", 5)[4] == path for line in lines):
                return True
    return False
