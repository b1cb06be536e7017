"""The bed's daemons: started, killed, waited for and administered, by tests and by bed.py."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import shlex
import shutil
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yarn_hadoop as hadoop
import yarn_settings as settings
from yarn_hadoop import BedError
from yarn_kerberos import REALM, Realm
from yarn_tls import Certificate

# Daemon -> (heap in MB, class). zk and nn2 are there only in a bed of pairs, rm2 there and with --ha, nm2 and httpfs
# only where they were started.
DAEMONS = {
    "zk": (96, "org.apache.zookeeper.server.ZooKeeperServerMain"),
    "nn": (256, "org.apache.hadoop.hdfs.server.namenode.NameNode"),
    "nn2": (256, "org.apache.hadoop.hdfs.server.namenode.NameNode"),
    "dn": (192, "org.apache.hadoop.hdfs.server.datanode.DataNode"),
    "rm": (384, "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager"),
    "rm2": (384, "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager"),
    "nm": (256, "org.apache.hadoop.yarn.server.nodemanager.NodeManager"),
    "nm2": (192, "org.apache.hadoop.yarn.server.nodemanager.NodeManager"),
    "jhs": (192, "org.apache.hadoop.mapreduce.v2.hs.JobHistoryServer"),
    "httpfs": (128, "org.apache.hadoop.fs.http.server.HttpFSServerWebServer"),
}
RMADMIN = "org.apache.hadoop.yarn.client.cli.RMAdminCLI"
HAADMIN = "org.apache.hadoop.hdfs.tools.DFSHAAdmin"
IDS = {"rm": "rm1", "rm2": "rm2", "nn": "nn1", "nn2": "nn2"}  # as the configuration calls them
# Maven has no newer one.
HTTPFS = ("org.apache.hadoop:hadoop-hdfs-httpfs:3.4.2", "com.googlecode.json-simple:json-simple:1.1.1")
JVM = (
    "--add-opens=java.base/java.lang=ALL-UNNAMED",  # the web servers of RM, NM and JHS make classes, on Java 17 too
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xss512k",
    "-Djava.net.preferIPv4Stack=true",
)


class Bed:
    """The daemons of one bed, whoever started them.

    Args:
        name: beds of different names stand side by side, each with ports of its own.
        base: the first of its hundred ports.
        kerberos: whether it is secured, with a realm of its own.
        tls: whether its web ports speak HTTPS, with a certificate of its own.
        pairs: whether it has two NameNodes, which fail over by command, and two ResourceManagers, of which ZooKeeper
            elects one.
    """

    def __init__(self, name: str, base: int, *, kerberos: bool = False, tls: bool = False, pairs: bool = False) -> None:
        self.name, self.ports, self.pairs = name, settings.Ports(base), pairs
        self.folder = hadoop.cache() / f"yarn-{name}"
        self.realm = Realm(self.folder / "realm", base + 88) if kerberos else None
        self.host = "localhost" if kerberos else settings.HOST  # the services' principals have a name, no address
        self.tls = Certificate(self.folder / "tls") if tls else None
        self._scheme = "https" if tls else "http"
        self.conf = self.folder / "conf"
        self._killed: set[str] = set()
        self._children: list[subprocess.Popen[bytes]] = []  # kept, or their end would be a warning

    @classmethod
    def chosen(cls) -> Bed:
        """The bed that YARN_BED=NAME:BASE in the environment says; ``main``, if nothing does."""
        name, _, base = os.environ.get("YARN_BED", "main:28000").partition(":")
        return cls(name, int(base))

    # -- addresses --------------------------------------------------------------------------------------------------

    @property
    def rm(self) -> str:
        """The (first) ResourceManager's web address."""
        return f"{self._scheme}://{self.host}:{self.ports.rm_web}"

    @property
    def rm2(self) -> str:
        """The second ResourceManager's web address; it is there with ``ha`` only."""
        return f"{self._scheme}://{self.host}:{self.ports.rm2_web}"

    @property
    def schedulers(self) -> list[str]:
        """Where application masters speak to the ResourceManagers."""
        ports = [self.ports.rm_scheduler] + ([self.ports.rm2_scheduler] if self.options["ha"] else [])
        return [f"{self.host}:{port}" for port in ports]

    @property
    def webhdfs(self) -> str:
        """The root of the file system over HTTP, at the active NameNode."""
        return f"{self._namenode}/webhdfs/v1"

    @property
    def _namenode(self) -> str:
        return self._namenodes[(self.active_namenode if self.pairs else None) or "nn"]

    @property
    def nm(self) -> str:
        """The NodeManager's web address."""
        return f"{self._scheme}://{self.host}:{self.ports.nm_web}"

    @property
    def httpfs(self) -> str:
        """The HttpFS server's web address; it is there once ``start_httpfs`` was called."""
        return f"http://{self.host}:{self.ports.httpfs}"

    @property
    def history(self) -> str:
        """The JobHistoryServer's web address."""
        return f"{self._scheme}://{self.host}:{self.ports.jhs_web}"

    @property
    def options(self) -> dict[str, Any]:
        """What it was configured with, as ``configure`` takes it."""
        found: dict[str, Any] = {"protection": "authentication", "ha": self.pairs, "stopped": [], "sites": {}}
        with contextlib.suppress(FileNotFoundError):
            found.update(json.loads((self.folder / "options.json").read_text()))
        return found

    @property
    def daemons(self) -> list[str]:
        """The daemons of this configuration, in the order of their start."""
        left_out = {"nm2", "httpfs"}
        left_out |= set() if self.pairs else {"zk", "nn2"}
        left_out |= set() if self.options["ha"] else {"rm2"}
        return [name for name in DAEMONS if name not in left_out]

    # -- up and down ------------------------------------------------------------------------------------------------

    def up(
        self,
        *,
        protection: str | None = None,
        ha: bool | None = None,
        sites: dict[str, dict[str, Any]] | None = None,
        timeout: float = 300,
    ) -> None:
        """Start what is not running, and wait until jobs can be submitted; arguments as for ``configure``.

        Where they change something, YARN's daemons restart. Raises BedError with the daemon's words.
        """
        with self._locked():
            hadoop.install()
            if self.realm is not None:
                self.folder.mkdir(parents=True, exist_ok=True)
                self.realm.up()
                os.environ.update(self.realm.ticket())
            if self.tls is not None:
                self.tls.make()
            if self.configure(protection=protection, ha=ha, sites=sites):
                # The history server asks ResourceManagers too; one that knows only a standby keeps its clients waiting.
                for name in ("rm", "rm2", "nm", "nm2", "jhs"):
                    self.kill(name, signal.SIGTERM)
            for name in ("zk", "nn", "nn2", "dn", "rm", "rm2"):
                self.start(name)
            if self.pairs:
                self._activate(timeout)
            # A NodeManager that starts before HDFS takes writes never aggregates its applications' logs.
            self.wait_hdfs(timeout)
            for name in ("nm", "jhs"):
                self.start(name)
            if self.options["ha"] and not self.pairs:
                self._elect()
            self.wait_ready(timeout)

    def just(self, **options: Any) -> None:
        """``up`` with these options, and as it is by default otherwise."""
        self.up(**{"protection": "authentication", "ha": self.pairs, "sites": {}, **options})

    def down(self) -> None:
        """End the daemons and everything that they started, and remove their data."""
        if not self.folder.exists():
            return
        with self._locked():
            for name in reversed(DAEMONS):
                self.kill(name, signal.SIGTERM, wait=False)
            for name in DAEMONS:
                self._wait_gone(name, 10)
                self.kill(name)
            for pid in self.strays():  # containers outlive a NodeManager that recovers them
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self.realm is not None:
                self.realm.down()
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock_file.unlink(missing_ok=True)

    def configure(
        self,
        *,
        protection: str | None = None,
        ha: bool | None = None,
        stopped: list[str] | None = None,
        sites: dict[str, dict[str, Any]] | None = None,
    ) -> bool:
        """Write the configuration, for daemons that start from now on; whether it has changed. None: as it was.

        Args:
            protection: hadoop.rpc.protection.
            ha: two ResourceManagers.
            stopped: queues that take no application.
            sites: more of the configuration, by file: ``{"yarn": {...}}`` goes into yarn-site.xml.
        """
        before = self.options
        given = {"protection": protection, "ha": ha, "stopped": stopped, "sites": sites}
        after = {**before, **{key: value for key, value in given.items() if value is not None}}
        if after["protection"] not in settings.PROTECTIONS:
            raise BedError(f"--protection is one of {', '.join(settings.PROTECTIONS)}")
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "options.json").write_text(json.dumps(after))
        sites: dict[str, dict[str, Any]] = {}
        if self.realm is not None:
            _merge(sites, settings.secured(self.folder, REALM, self.realm.keytab))
        if self.tls is not None:
            _merge(sites, settings.encrypted(self.ports, self.tls.keystore, self.tls.password))
        if self.pairs:
            _merge(sites, settings.pairs(self.folder, self.ports))
            (self.folder / "zoo.cfg").write_text(settings.zookeeper(self.folder, self.ports))
        _merge(sites, after["sites"])
        settings.write(self.folder, self.ports, **{**after, "sites": sites, "host": self.host})
        return after != before

    # -- daemons ----------------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Start one daemon where it is not running, or let it go on; does not wait until it answers."""
        if name in ("zk", "nn2", "rm2") and name not in self.daemons:
            return
        if self.alive(name):
            self.kill(name, signal.SIGCONT)
            return
        self._killed.discard(name)
        for folder in ("run", "logs", "data"):
            (self.folder / folder).mkdir(exist_ok=True)
        if name in ("nn", "nn2") and not (self.folder / "data" / name / "current").is_dir():
            self._format(name)
        heap, main = DAEMONS[name]
        argv = [*self._java(heap, *(HTTPFS if name == "httpfs" else ())), main]
        if self.options["ha"] and name in ("rm", "rm2"):
            argv += ["-D", f"yarn.resourcemanager.ha.id={IDS[name]}"]
        if self.pairs and name in ("nn", "nn2"):
            argv += ["-D", f"dfs.ha.namenode.id={IDS[name]}"]
        if name == "zk":
            argv += [str(self.folder / "zoo.cfg")]
        if name == "nm2":
            own = settings.second_node(self.folder, self.ports)
            argv += [part for key, value in own.items() for part in ("-D", f"{key}={value}")]
        with (self.folder / "logs" / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, env=self._env(),
                start_new_session=True,
            )  # fmt: skip
        self._children.append(process)
        (self.folder / "run" / name).write_text(f"{process.pid} {_started(process.pid)}")

    def start_second_node(self, timeout: float = 300) -> None:
        """Start another NodeManager, and wait until it is known."""
        self.start("nm2")
        nodes = f"{self.active()}/ws/v1/cluster/nodes?states=RUNNING"
        self._wait(lambda: len((self.json(nodes)["nodes"] or {"node": []})["node"]) == 2, timeout, ("nm2",))

    def start_httpfs(self, timeout: float = 300) -> None:
        """Start the HttpFS server, and wait until it answers."""
        for folder in ("log", "temp"):
            (self.folder / "httpfs" / folder).mkdir(parents=True, exist_ok=True)
        self.start("httpfs")
        url = f"{self.httpfs}/webhdfs/v1/?op=LISTSTATUS&user.name=root"
        self._wait(lambda: self.answers(url), timeout, ("httpfs",))

    def kill(self, name: str, number: int = signal.SIGKILL, *, wait: bool = True) -> None:
        """Signal one daemon, where it is alive, and wait for its end; one that ignores SIGTERM gets SIGKILL."""
        pid = self.pid(name)
        if pid is None:
            return
        if number in (signal.SIGKILL, signal.SIGTERM):
            self._killed.add(name)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if wait and number in (signal.SIGKILL, signal.SIGTERM):
            self._wait_gone(name, 20)
            if number == signal.SIGTERM:
                self.kill(name)

    def pid(self, name: str) -> int | None:
        """The pid of a daemon that is alive."""
        try:
            pid, started = (self.folder / "run" / name).read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        return int(pid) if _started(int(pid)) == started else None

    def alive(self, name: str) -> bool:
        """Whether a daemon's process lives; it need not answer."""
        return self.pid(name) is not None

    def status(self) -> dict[str, int | None]:
        """Daemon -> pid, or None where it is not running."""
        return {name: self.pid(name) for name in self.daemons}

    def log(self, name: str) -> str:
        """All that a daemon has said."""
        return (self.folder / "logs" / f"{name}.log").read_text(errors="replace")

    def strays(self) -> list[int]:
        """Processes of this bed's containers."""
        mark = f"{self.folder}/data/nm-".encode()
        found = []
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if mark in Path(entry.path, "environ").read_bytes():
                        found.append(int(entry.name))
        return found

    # -- readiness --------------------------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Whether jobs can be submitted, run, and their logs be read, now."""
        return self.hdfs_ready() and self.yarn_ready() and self.answers(f"{self.history}/ws/v1/history/info")

    def hdfs_ready(self) -> bool:
        """Whether HDFS takes writes: out of safe mode, with its DataNode, and a byte can be written."""
        jmx = f"{self._namenode}/jmx?qry=Hadoop:service=NameNode,name="
        try:
            info = self.json(f"{jmx}NameNodeInfo")["beans"][0]
            state = self.json(f"{jmx}FSNamesystemState")["beans"][0]
            if info["Safemode"] or state["NumLiveDataNodes"] != 1:
                return False
            # A DataNode that has just come back is live before it has told which disks it has.
            options = "op=CREATE&overwrite=true&noredirect=true&user.name=root"
            where = self.json(f"{self.webhdfs}/tmp/ready?{options}", "PUT")["Location"]
            with self.open(urllib.request.Request(where, b"x", method="PUT")):
                return True
        except (OSError, ValueError, LookupError):
            return False

    def yarn_ready(self) -> bool:
        """Whether a ResourceManager is active, not just reachable, and has its node."""
        for address in (self.rm, self.rm2) if self.options["ha"] else (self.rm,):
            try:
                if self.json(f"{address}/ws/v1/cluster/info")["clusterInfo"]["haState"] != "ACTIVE":
                    continue
                nodes = self.json(f"{address}/ws/v1/cluster/nodes")["nodes"] or {"node": []}
            except (OSError, ValueError, LookupError):
                continue
            return any(node["state"] == "RUNNING" for node in nodes["node"])
        return False

    def active(self) -> str:
        """The web address of the active ResourceManager; the first one's where none is."""
        return self.rm2 if self.active_resourcemanager == "rm2" else self.rm

    @property
    def active_resourcemanager(self) -> str:
        """``rm`` or ``rm2``; the first one where neither is active."""
        for name, address in (("rm", self.rm), ("rm2", self.rm2)) if self.options["ha"] else ():
            try:
                if self.json(f"{address}/ws/v1/cluster/info")["clusterInfo"]["haState"] == "ACTIVE":
                    return name
            except (OSError, ValueError, LookupError):
                continue
        return "rm"

    @property
    def active_namenode(self) -> str | None:
        """``nn`` or ``nn2``; None where neither is active."""
        return next((name for name in self._namenodes if self._namenode_state(name) == "active"), None)

    def _namenode_state(self, name: str) -> str:
        """``active``, ``standby``, or another word where it is not there yet."""
        try:
            told = self.json(f"{self._namenodes[name]}/jmx?qry=Hadoop:service=NameNode,name=NameNodeStatus")
            return str(told["beans"][0]["State"])
        except (OSError, ValueError, LookupError):
            return "away"

    @property
    def _namenodes(self) -> dict[str, str]:
        """Their web addresses."""
        ports = {"nn": self.ports.nn_http, **({"nn2": self.ports.nn2_http} if self.pairs else {})}
        return {name: f"{self._scheme}://{self.host}:{port}" for name, port in ports.items()}

    def wait_hdfs(self, timeout: float = 300) -> None:
        """Wait until HDFS takes writes."""
        self._wait(self.hdfs_ready, timeout, ("nn", "dn"))

    def wait_ready(self, timeout: float = 300) -> None:
        """Wait until jobs can be submitted."""
        self._wait(self.ready, timeout, self.daemons)

    def answers(self, url: str) -> bool:
        """Whether a GET of the URL succeeds."""
        try:
            with self.open(urllib.request.Request(url, headers=self._who()), timeout=5):
                return True
        except OSError:
            return False

    def json(self, url: str, method: str = "GET", body: Any = None) -> Any:
        """The JSON answer to a request. Raises OSError (HTTPError) for a refusal."""
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json", "Accept": "application/json", **self._who()}
        request = urllib.request.Request(url, data, headers, method=method)
        with self.open(request) as answer:
            return json.loads(answer.read() or b"null")

    def open(self, request: urllib.request.Request, timeout: float = 10) -> Any:
        """A request's answer, as ``urlopen`` gives it; the bed's own certificate is trusted."""
        context = ssl.create_default_context(cafile=str(self.tls.ca)) if self.tls is not None else None
        return urllib.request.urlopen(request, timeout=timeout, context=context)

    def _who(self) -> dict[str, str]:
        """The header that says who asks, on a secured bed."""
        if self.realm is None:
            return {}
        import spnego

        token = spnego.client(hostname=self.host, service="HTTP", protocol="kerberos").step() or b""
        return {"Authorization": f"Negotiate {base64.b64encode(token).decode()}"}

    # -- what an administrator does ---------------------------------------------------------------------------------

    def admin(self, main: str, *args: str) -> str:
        """Run one of Hadoop's command line tools to its end; about a second."""
        done = subprocess.run(
            self.tool(main, *args), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, env=self._env(), cwd=self.folder,
        )  # fmt: skip
        if done.returncode:
            raise BedError(f"{main} {shlex.join(args)} failed:\n{done.stdout.strip()[-2000:]}")
        return done.stdout

    def tool(self, main: str, *args: str) -> list[str]:
        """How one of Hadoop's command line tools is called."""
        return [*self._java(128), main, *args]

    def safe_mode(self, on: bool) -> None:
        """Put the NameNode into safe mode (reads only), or take it out."""
        self.admin("org.apache.hadoop.hdfs.tools.DFSAdmin", "-safemode", "enter" if on else "leave")

    def queue(self, name: str, running: bool) -> None:
        """Stop a queue (it takes no new application), or open it again."""
        stopped = set(self.options["stopped"]) - {name} | (set() if running else {name})
        self.configure(stopped=sorted(stopped))
        self.admin(RMADMIN, "-refreshQueues")

    def transition(self, active: str) -> None:
        """Make one of a pair the active one, and the other one, where it lives, the standby.

        ``active``: ``nn``, ``nn2``, or, where no ZooKeeper elects, ``rm``, ``rm2``.
        """
        other = active.removesuffix("2") if active.endswith("2") else f"{active}2"
        tool = HAADMIN if active in ("nn", "nn2") else RMADMIN
        if self.alive(other):
            self.admin(tool, "-transitionToStandby", IDS[other])
            self.admin(tool, "-transitionToActive", IDS[active])
        else:  # nobody is there who could be asked whether it is active
            self.admin(tool, "-transitionToActive", "--forceactive", IDS[active])

    # -- inside -----------------------------------------------------------------------------------------------------

    def _elect(self) -> None:
        self._wait(
            lambda: all(self.answers(f"{address}/ws/v1/cluster/info") for address in (self.rm, self.rm2)),
            300,
            ("rm", "rm2"),
        )
        for address in (self.rm, self.rm2):
            if self.json(f"{address}/ws/v1/cluster/info")["clusterInfo"]["haState"] == "ACTIVE":
                return
        self.admin(RMADMIN, "-transitionToActive", "rm1")

    def _activate(self, timeout: float) -> None:
        """Make the first NameNode the active one, if neither is."""
        names = tuple(self._namenodes)
        self._wait(lambda: all(self._namenode_state(name) in ("active", "standby") for name in names), timeout, names)
        if self.active_namenode is None:
            self.admin(HAADMIN, "-transitionToActive", IDS["nn"])

    def _java(self, heap: int, *extra: str) -> list[str]:
        home = hadoop.install()
        jars = "".join(f":{hadoop.extra(each)}" for each in extra)
        path = f"{self.conf}:{home}/webroot:{home}/lib/*{jars}"
        places = {
            "hadoop.log.dir": f"{self.folder}/logs",
            "yarn.log.dir": f"{self.folder}/logs",
            "hadoop.home.dir": home,
            "httpfs.home.dir": f"{self.folder}/httpfs",
            "httpfs.config.dir": self.conf,
            "httpfs.log.dir": f"{self.folder}/httpfs/log",
            "httpfs.temp.dir": f"{self.folder}/httpfs/temp",
        }
        if self.realm is not None:
            places["java.security.krb5.conf"] = self.realm.conf
        return [
            hadoop.java(), *JVM, f"-Xmx{heap}m", *(f"-D{key}={value}" for key, value in places.items()),
            "-Dhadoop.root.logger=INFO,console", "-cp", path,
        ]  # fmt: skip

    def _env(self) -> dict[str, str]:
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("HADOOP_", "YARN_", "AIFLOW_"))
        }
        return {**inherited, "HADOOP_CONF_DIR": str(self.conf)}

    def _format(self, name: str) -> None:
        if name == "nn2":  # it begins with what the first one has
            shutil.copytree(self.folder / "data/nn", self.folder / "data/nn2", ignore=shutil.ignore_patterns("in_use*"))
            return
        heap, main = DAEMONS["nn"]
        done = subprocess.run(
            [*self._java(heap), main, *(["-D", "dfs.ha.namenode.id=nn1"] if self.pairs else []), "-format",
             "-nonInteractive"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self._env(),
        )  # fmt: skip
        if done.returncode:
            raise BedError(f"the NameNode could not be formatted:\n{done.stdout.strip()[-2000:]}")

    def _wait(self, met: Callable[[], bool], timeout: float, names: tuple[str, ...] | list[str]) -> None:
        deadline = time.monotonic() + timeout
        while not met():
            dead = [
                name
                for name in names
                if name in (*self.daemons, "nm2", "httpfs") and name not in self._killed and not self.alive(name)
            ]
            if dead or time.monotonic() > deadline:
                what = f"{', '.join(dead)} ended" if dead else f"not ready after {timeout:g} s"
                raise BedError(f"{what}; {self._last_words(dead or list(names))}")
            time.sleep(0.1)

    def _last_words(self, names: list[str]) -> str:
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                errors = [line for line in self.log(name).splitlines() if " ERROR " in line or " FATAL " in line]
                if errors:
                    return f"{name} says: {errors[-1]}"
        return f"its logs are in {self.folder / 'logs'}"

    def _wait_gone(self, name: str, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while self.alive(name) and time.monotonic() < deadline:
            time.sleep(0.02)

    @property
    def _lock_file(self) -> Path:
        return self.folder.with_suffix(".lock")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._lock_file.parent.mkdir(parents=True, exist_ok=True)
        with self._lock_file.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield


def _merge(sites: dict[str, dict[str, Any]], more: Mapping[str, Mapping[str, Any]]) -> None:
    for name, values in more.items():
        sites.setdefault(name, {}).update(values)


def _started(pid: int) -> str | None:
    """When a living process started: with its pid, its name for good."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[19] if fields[0] not in "ZX" else None
