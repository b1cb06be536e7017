"""The bed's Hadoop configuration: real names and values, as they go into the XML files of its HADOOP_CONF_DIR."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from xml.sax.saxutils import escape

HOST = "127.0.0.1"
PROTECTIONS = ("authentication", "integrity", "privacy")
QUEUES = {"default": 75, "small": 25}
SERVICE = "bed"  # of two NameNodes
SESSION = 5  # seconds of silence after which ZooKeeper takes a ResourceManager for dead

LOG4J = """log4j.rootLogger=INFO,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n
"""


class Ports:
    """Where the daemons listen: a block below the kernel's ephemeral ports, away from Hadoop's own defaults."""

    def __init__(self, base: int = 28000) -> None:
        self.base = base
        self.rm_scheduler, self.rm_tracker, self.rm, self.rm_admin, self.rm_web = (
            base + n for n in (30, 31, 32, 33, 34)
        )
        self.rm2_scheduler, self.rm2_tracker, self.rm2, self.rm2_admin, self.rm2_web = (
            base + n for n in (40, 41, 42, 43, 44)
        )
        self.nm_localizer, self.nm, self.nm_web, self.nm_collector = (base + n for n in (50, 51, 52, 53))
        self.nm2_localizer, self.nm2, self.nm2_web, self.nm2_collector = (base + n for n in (54, 55, 56, 57))
        self.dn_http, self.dn, self.dn_ipc = (base + n for n in (64, 66, 67))
        self.nn, self.nn_http = base + 20, base + 70
        self.nn2, self.nn2_http = base + 21, base + 71
        self.httpfs, self.zk = base + 80, base + 81
        self.jhs, self.jhs_admin, self.jhs_web = (base + n for n in (10, 11, 12))


def core(folder: Path, ports: Ports, protection: str) -> dict[str, object]:
    """core-site.xml. Without the authentication filter the web services refuse every write."""
    return {
        "fs.defaultFS": f"hdfs://{HOST}:{ports.nn}",
        "hadoop.tmp.dir": folder / "data/tmp",
        "hadoop.rpc.protection": protection,
        "hadoop.http.filter.initializers": "org.apache.hadoop.security.AuthenticationFilterInitializer",
        "hadoop.http.authentication.type": "simple",
        "hadoop.http.authentication.simple.anonymous.allowed": "true",
        "ipc.client.connect.max.retries": 10,
        "hadoop.proxyuser.root.hosts": "*",  # HttpFS speaks for its users
        "hadoop.proxyuser.root.groups": "*",
    }


def hdfs(folder: Path, ports: Ports) -> dict[str, object]:
    """hdfs-site.xml: one replica, and a NameNode that is out of safe mode as soon as its blocks are there."""
    return {
        "dfs.namenode.rpc-address": f"{HOST}:{ports.nn}",
        "dfs.namenode.http-address": f"{HOST}:{ports.nn_http}",
        "dfs.namenode.rpc-bind-host": HOST,
        "dfs.datanode.address": f"{HOST}:{ports.dn}",
        "dfs.datanode.ipc.address": f"{HOST}:{ports.dn_ipc}",
        "dfs.datanode.http.address": f"{HOST}:{ports.dn_http}",
        "dfs.datanode.hostname": "localhost",
        "dfs.namenode.name.dir": f"file://{folder}/data/nn",
        "dfs.datanode.data.dir": f"file://{folder}/data/dn",
        "dfs.replication": 1,
        "dfs.permissions.enabled": "true",
        "dfs.namenode.safemode.extension": 0,
        "dfs.namenode.safemode.threshold-pct": 0.999,
        "dfs.webhdfs.enabled": "true",
        "dfs.heartbeat.interval": 1,
        "dfs.namenode.heartbeat.recheck-interval": 5000,
        "dfs.namenode.datanode.registration.ip-hostname-check": "false",
    }


def yarn(folder: Path, ports: Ports, ha: bool) -> dict[str, object]:
    """yarn-site.xml: recovery and log aggregation on, short intervals, and two ResourceManagers where ``ha``.

    Failover is by command (``Bed.transition``): an election would need ZooKeeper. The state store is a folder that both
    ResourceManagers see.
    """
    scheduler = "org.apache.hadoop.yarn.server.resourcemanager.scheduler.capacity.CapacityScheduler"
    store = "org.apache.hadoop.yarn.server.resourcemanager.recovery.FileSystemRMStateStore"
    executor = "org.apache.hadoop.yarn.server.nodemanager.DefaultContainerExecutor"
    found: dict[str, object] = {
        "yarn.resourcemanager.recovery.enabled": "true",
        "yarn.resourcemanager.store.class": store,
        "yarn.resourcemanager.fs.state-store.uri": f"file://{folder}/data/rmstate",
        "yarn.resourcemanager.work-preserving-recovery.scheduling-wait-ms": 1000,
        "yarn.resourcemanager.am.max-attempts": 2,
        "yarn.resourcemanager.application-timeouts.monitor.interval-ms": 500,
        "yarn.resourcemanager.nodemanagers.heartbeat-interval-ms": 200,
        "yarn.resourcemanager.connect.retry-interval.ms": 500,  # the default lets a NodeManager sleep for 30 s
        "yarn.resourcemanager.scheduler.class": scheduler,
        "yarn.scheduler.minimum-allocation-mb": 128,
        "yarn.scheduler.maximum-allocation-mb": 4096,
        "yarn.scheduler.maximum-allocation-vcores": 8,
        "yarn.cluster.max-application-priority": 10,
        "yarn.am.liveness-monitor.expiry-interval-ms": 20000,
        "yarn.nm.liveness-monitor.expiry-interval-ms": 15000,
        "yarn.nodemanager.hostname": HOST,
        "yarn.nodemanager.bind-host": HOST,
        "yarn.nodemanager.address": f"{HOST}:{ports.nm}",
        "yarn.nodemanager.localizer.address": f"{HOST}:{ports.nm_localizer}",
        "yarn.nodemanager.webapp.address": f"{HOST}:{ports.nm_web}",
        "yarn.nodemanager.collector-service.address": f"{HOST}:{ports.nm_collector}",
        "yarn.nodemanager.container-executor.class": executor,
        "yarn.nodemanager.local-dirs": folder / "data/nm-local",
        "yarn.nodemanager.log-dirs": folder / "data/nm-logs",
        "yarn.nodemanager.resource.memory-mb": 8192,
        "yarn.nodemanager.resource.cpu-vcores": 32,
        "yarn.nodemanager.pmem-check-enabled": "false",
        "yarn.nodemanager.vmem-check-enabled": "false",
        "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": 99.5,
        "yarn.nodemanager.recovery.enabled": "true",
        "yarn.nodemanager.recovery.dir": folder / "data/nm-recovery",
        "yarn.nodemanager.recovery.supervised": "true",
        "yarn.nodemanager.env-whitelist": "JAVA_HOME,PATH,LANG,TZ",
        "yarn.log-aggregation-enable": "true",
        "yarn.nodemanager.remote-app-log-dir": "/app-logs",
        "yarn.log-aggregation.retain-seconds": 86400,
        "yarn.log.server.url": f"http://{HOST}:{ports.jhs_web}/jobhistory/logs",
        "yarn.log.server.web-service.url": f"http://{HOST}:{ports.jhs_web}/ws/v1/history",
        "yarn.resourcemanager.bind-host": HOST,
    }
    if ha:
        found.update(
            {
                "yarn.resourcemanager.ha.enabled": "true",
                "yarn.resourcemanager.ha.automatic-failover.enabled": "false",
                "yarn.resourcemanager.cluster-id": "bed",
                "yarn.resourcemanager.ha.rm-ids": "rm1,rm2",
                "yarn.client.failover-sleep-base-ms": 200,
                "yarn.client.failover-sleep-max-ms": 500,
            }
        )
    for id, prefix in (("rm1", "rm"), ("rm2", "rm2")) if ha else (("", "rm"),):
        dot = f".{id}" if id else ""
        found[f"yarn.resourcemanager.hostname{dot}"] = HOST
        for key, port in (
            ("address", prefix),
            ("scheduler.address", f"{prefix}_scheduler"),
            ("resource-tracker.address", f"{prefix}_tracker"),
            ("admin.address", f"{prefix}_admin"),
            ("webapp.address", f"{prefix}_web"),
        ):
            found[f"yarn.resourcemanager.{key}{dot}"] = f"{HOST}:{getattr(ports, port)}"
    return found


def second_node(folder: Path, ports: Ports) -> dict[str, object]:
    """What a second NodeManager on this machine has of its own."""
    return {
        "yarn.nodemanager.address": f"{HOST}:{ports.nm2}",
        "yarn.nodemanager.localizer.address": f"{HOST}:{ports.nm2_localizer}",
        "yarn.nodemanager.webapp.address": f"{HOST}:{ports.nm2_web}",
        "yarn.nodemanager.collector-service.address": f"{HOST}:{ports.nm2_collector}",
        "yarn.nodemanager.local-dirs": folder / "data/nm-2/local",
        "yarn.nodemanager.log-dirs": folder / "data/nm-2/logs",
        "yarn.nodemanager.recovery.dir": folder / "data/nm-2/recovery",
    }


def widgets() -> dict[str, dict[str, object]]:
    """What it takes for nodes to have another resource, by file: two of ``widget`` each."""
    calculator = "org.apache.hadoop.yarn.util.resource.DominantResourceCalculator"
    return {
        "yarn": {"yarn.nodemanager.resource-type.widget": 2},
        "capacity-scheduler": {"yarn.scheduler.capacity.resource-calculator": calculator},
        "resource-types": {"yarn.resource-types": "widget", "yarn.resource-types.widget.maximum-allocation": 2},
    }


def labelled(folder: Path) -> dict[str, dict[str, object]]:
    """Widgets, and a node label ``fast`` that the queue ``default`` may use, and ``small`` may not."""
    root = "yarn.scheduler.capacity.root"
    found = widgets()
    found["yarn"] |= {
        "yarn.node-labels.enabled": "true",
        "yarn.node-labels.fs-store.root-dir": f"file://{folder}/data/labels",
    }
    found["capacity-scheduler"] |= {
        f"{root}.accessible-node-labels": "*",
        f"{root}.accessible-node-labels.fast.capacity": 100,
        f"{root}.default.accessible-node-labels": "fast",
        f"{root}.default.accessible-node-labels.fast.capacity": 100,
        f"{root}.small.accessible-node-labels": " ",
    }
    return found


def strict() -> dict[str, dict[str, object]]:
    """A cluster that enforces: memory is watched, queues take from each other and have access lists; and one that does
    without: no recovery of ResourceManager and NodeManagers, no aggregation of logs. Hadoop 3.4 watches memory only
    where cgroups are said not to (``resource.memory.enforced``)."""
    queue, monitor = "yarn.scheduler.capacity.root", "yarn.resourcemanager.monitor.capacity.preemption"
    return {
        "yarn": {
            "yarn.nodemanager.pmem-check-enabled": "true",
            "yarn.nodemanager.resource.memory.enforced": "false",
            "yarn.nodemanager.container-monitor.interval-ms": 300,
            "yarn.nodemanager.resource.memory-mb": 2048,
            "yarn.nodemanager.recovery.enabled": "false",
            "yarn.resourcemanager.recovery.enabled": "false",
            "yarn.log-aggregation-enable": "false",
            "yarn.resourcemanager.scheduler.monitor.enable": "true",
            f"{monitor}.monitoring_interval": 500,
            f"{monitor}.max_wait_before_kill": 1000,
            f"{monitor}.total_preemption_per_round": 1.0,
            f"{monitor}.natural_termination_factor": 1.0,
            "yarn.acl.enable": "true",
            "yarn.admin.acl": "root",
        },
        "capacity-scheduler": {
            f"{queue}.acl_submit_applications": " ",
            f"{queue}.default.acl_submit_applications": "root,ada",
            f"{queue}.small.acl_submit_applications": "root",
        },
    }


def administered() -> dict[str, dict[str, object]]:
    """The same, where root alone administers queues: whoever does may see and kill all that is in them."""
    found = strict()
    found["capacity-scheduler"]["yarn.scheduler.capacity.root.acl_administer_queue"] = "root"
    return found


def without_images(folder: Path) -> dict[str, dict[str, object]]:
    """A NodeManager that has LinuxContainerExecutor and allows its containers no image.

    Maven does not have the native binary, which none of what is tried here comes to: a script that only succeeds
    stands for it.
    """
    script = folder / "container-executor"
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    return {
        "yarn": {
            "yarn.nodemanager.container-executor.class": (
                "org.apache.hadoop.yarn.server.nodemanager.LinuxContainerExecutor"
            ),
            "yarn.nodemanager.linux-container-executor.path": str(script),
            "yarn.nodemanager.linux-container-executor.group": "root",
            "yarn.nodemanager.linux-container-executor.nonsecure-mode.limit-users": "false",
        }
    }


def pairs(folder: Path, ports: Ports) -> dict[str, dict[str, object]]:
    """What two NameNodes and an election of ResourceManagers take, by file.

    The NameNodes share a folder of edits, and fail over by command; ZooKeeper has the ResourceManagers' state, and
    elects one.
    """
    found: dict[str, object] = {
        "dfs.nameservices": SERVICE,
        f"dfs.ha.namenodes.{SERVICE}": "nn1,nn2",
        f"dfs.client.failover.proxy.provider.{SERVICE}": (
            "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider"
        ),
        "dfs.client.failover.sleep.base.millis": 200,
        "dfs.client.failover.sleep.max.millis": 1000,
        "dfs.namenode.shared.edits.dir": f"file://{folder}/data/edits",
        "dfs.ha.fencing.methods": "shell(/bin/true)",
        "dfs.ha.tail-edits.period": 1,
    }
    for id, rpc, http, data in (("nn1", ports.nn, ports.nn_http, "nn"), ("nn2", ports.nn2, ports.nn2_http, "nn2")):
        found[f"dfs.namenode.rpc-address.{SERVICE}.{id}"] = f"{HOST}:{rpc}"
        found[f"dfs.namenode.http-address.{SERVICE}.{id}"] = f"{HOST}:{http}"
        found[f"dfs.namenode.name.dir.{SERVICE}.{id}"] = f"file://{folder}/data/{data}"
    yarn = {
        "yarn.resourcemanager.ha.automatic-failover.enabled": "true",
        "yarn.resourcemanager.store.class": "org.apache.hadoop.yarn.server.resourcemanager.recovery.ZKRMStateStore",
        "hadoop.zk.address": f"{HOST}:{ports.zk}",
        # On a busy machine an election may take long: nothing is to be given up meanwhile.
        "yarn.am.liveness-monitor.expiry-interval-ms": 120000,
        "yarn.nm.liveness-monitor.expiry-interval-ms": 120000,
        "hadoop.zk.timeout-ms": SESSION * 1000,
        "yarn.resourcemanager.zk-timeout-ms": SESSION * 1000,
    }
    return {"core": {"fs.defaultFS": f"hdfs://{SERVICE}"}, "hdfs": found, "yarn": yarn}


def zookeeper(folder: Path, ports: Ports) -> str:
    """zoo.cfg."""
    return (
        f"tickTime=1000\ndataDir={folder}/data/zk\nclientPort={ports.zk}\nclientPortAddress={HOST}\n"
        "admin.enableServer=false\nforceSync=no\n"
    )


def fair(folder: Path) -> dict[str, dict[str, object]]:
    """The fair scheduler, by file, with two queues of the same name below two others."""
    queues = "".join(f'<queue name="{each}"><queue name="ml"/></queue>' for each in "ab")
    allocations = folder / "fair-scheduler.xml"
    share = "<queueMaxAMShareDefault>-1.0</queueMaxAMShareDefault>"
    allocations.write_text(f'<?xml version="1.0"?>\n<allocations>{queues}{share}</allocations>\n')
    scheduler = "org.apache.hadoop.yarn.server.resourcemanager.scheduler.fair.FairScheduler"
    return {
        "yarn": {
            "yarn.resourcemanager.scheduler.class": scheduler,
            "yarn.scheduler.fair.allocation.file": str(allocations),
            "yarn.scheduler.fair.allow-undeclared-pools": "false",
            # What it would recover is in queues of the other scheduler.
            "yarn.resourcemanager.recovery.enabled": "false",
        }
    }


def proxied() -> dict[str, dict[str, object]]:
    """Web services that accept requests for another user (doAs) without Kerberos, by file."""
    initializer = "org.apache.hadoop.security.authentication.server.ProxyUserAuthenticationFilterInitializer"
    return {"core": {"hadoop.http.filter.initializers": initializer}}


def mapred(ports: Ports) -> dict[str, object]:
    """mapred-site.xml, for the JobHistoryServer alone."""
    return {
        "mapreduce.jobhistory.address": f"{HOST}:{ports.jhs}",
        "mapreduce.jobhistory.bind-host": HOST,
        "mapreduce.jobhistory.admin.address": f"{HOST}:{ports.jhs_admin}",
        "mapreduce.jobhistory.webapp.address": f"{HOST}:{ports.jhs_web}",
        "yarn.app.mapreduce.am.staging-dir": "/mr-staging",
    }


def capacity(stopped: Collection[str]) -> dict[str, object]:
    """capacity-scheduler.xml: all of a queue's memory may go to application masters, for the jobs live inside them."""
    prefix = "yarn.scheduler.capacity"
    calculator = "org.apache.hadoop.yarn.util.resource.DefaultResourceCalculator"
    found: dict[str, object] = {
        f"{prefix}.maximum-applications": 10000,
        f"{prefix}.maximum-am-resource-percent": 1.0,
        f"{prefix}.resource-calculator": calculator,
        f"{prefix}.root.queues": ",".join(QUEUES),
        f"{prefix}.node-locality-delay": -1,
        f"{prefix}.per-node-heartbeat.maximum-offswitch-assignments": 100,
    }
    for queue, share in QUEUES.items():
        found[f"{prefix}.root.{queue}.capacity"] = share
        found[f"{prefix}.root.{queue}.maximum-capacity"] = 100
        found[f"{prefix}.root.{queue}.user-limit-factor"] = 100
        found[f"{prefix}.root.{queue}.state"] = "STOPPED" if queue in stopped else "RUNNING"
    return found


def secured(folder: Path, realm: str, keytab: Path) -> dict[str, dict[str, object]]:
    """What Kerberos takes, by file: every service under a principal of ``realm`` for ``localhost``, all in one keytab.

    DataNodes of a secured cluster want privileged ports or TLS; Hadoop's own tests switch that off, as is done here.
    Secured NodeManagers read logs by Hadoop's native library alone, which Maven does not have: without it the first log
    that is to be aggregated ends them.
    """
    spnego = f"HTTP/localhost@{realm}"
    secret = folder / "http-secret"
    secret.write_text("any text will do")
    principals = {name: f"{name}/localhost@{realm}" for name in ("nn", "dn", "rm", "nm", "jhs")}
    return {
        "core": {
            "hadoop.security.authentication": "kerberos",
            # The daemons of this bed are one user, the superuser; others keep their names.
            "hadoop.security.auth_to_local": "RULE:[2:$1](.*)s/.*/root/\nDEFAULT",
            "hadoop.http.authentication.type": "kerberos",
            "hadoop.http.authentication.simple.anonymous.allowed": "false",
            "hadoop.http.authentication.kerberos.principal": spnego,
            "hadoop.http.authentication.kerberos.keytab": keytab,
            "hadoop.http.authentication.signature.secret.file": secret,
            "hadoop.http.authentication.token.validity": 5,  # seconds that a cookie is taken for a ticket
        },
        "hdfs": {
            "dfs.block.access.token.enable": "true",
            "dfs.namenode.kerberos.principal": principals["nn"],
            "dfs.namenode.keytab.file": keytab,
            "dfs.namenode.kerberos.internal.spnego.principal": spnego,
            "dfs.web.authentication.kerberos.principal": spnego,
            "dfs.web.authentication.kerberos.keytab": keytab,
            "dfs.datanode.kerberos.principal": principals["dn"],
            "dfs.datanode.keytab.file": keytab,
            "ignore.secure.ports.for.testing": "true",
            "dfs.permissions.enabled": "false",  # nobody has made a home for ada
        },
        "yarn": {
            "yarn.resourcemanager.principal": principals["rm"],
            "yarn.resourcemanager.keytab": keytab,
            "yarn.resourcemanager.webapp.spnego-principal": spnego,
            "yarn.resourcemanager.webapp.spnego-keytab-file": keytab,
            "yarn.nodemanager.principal": principals["nm"],
            "yarn.nodemanager.keytab": keytab,
            "yarn.nodemanager.webapp.spnego-principal": spnego,
            "yarn.nodemanager.webapp.spnego-keytab-file": keytab,
            "yarn.log-aggregation-enable": "false",
        },
        "mapred": {
            "mapreduce.jobhistory.principal": principals["jhs"],
            "mapreduce.jobhistory.keytab": keytab,
            "mapreduce.jobhistory.webapp.spnego-principal": spnego,
            "mapreduce.jobhistory.webapp.spnego-keytab-file": keytab,
        },
    }


def encrypted(ports: Ports, keystore: Path, password: str) -> dict[str, dict[str, object]]:
    """What TLS on every web port takes, by file; the ports stay the same."""
    return {
        "hdfs": {
            "dfs.http.policy": "HTTPS_ONLY",
            "dfs.namenode.https-address": f"{HOST}:{ports.nn_http}",
            "dfs.datanode.https.address": f"{HOST}:{ports.dn_http}",
        },
        "yarn": {
            "yarn.http.policy": "HTTPS_ONLY",
            "yarn.resourcemanager.webapp.https.address": f"{HOST}:{ports.rm_web}",
            "yarn.nodemanager.webapp.https.address": f"{HOST}:{ports.nm_web}",
            "yarn.log.server.web-service.url": f"https://{HOST}:{ports.jhs_web}/ws/v1/history",
        },
        "mapred": {
            "mapreduce.jobhistory.http.policy": "HTTPS_ONLY",
            "mapreduce.jobhistory.webapp.https.address": f"{HOST}:{ports.jhs_web}",
        },
        "ssl-server": {
            "ssl.server.keystore.location": keystore,
            "ssl.server.keystore.type": "PKCS12",
            "ssl.server.keystore.password": password,
            "ssl.server.keystore.keypassword": password,
        },
    }


def write(
    folder: Path,
    ports: Ports,
    *,
    protection: str,
    ha: bool,
    stopped: Collection[str],
    sites: Mapping[str, Mapping[str, object]],
    host: str = HOST,
) -> None:
    """Write all of the bed's configuration to ``folder``/conf, for daemons that are known as ``host``."""
    conf = folder / "conf"
    conf.mkdir(parents=True, exist_ok=True)
    files: Mapping[str, Mapping[str, object]] = {
        "core-site": core(folder, ports, protection),
        "hdfs-site": hdfs(folder, ports),
        "yarn-site": yarn(folder, ports, ha),
        "mapred-site": mapred(ports),
        "capacity-scheduler": capacity(stopped),
        "resource-types": {},
        "ssl-server": {},
        "httpfs-site": {
            "httpfs.http.hostname": HOST,
            "httpfs.http.port": ports.httpfs,
            "httpfs.hadoop.config.dir": conf,
        },
    }
    for name, values in files.items():
        items = "".join(
            f"<property><name>{key}</name><value>{escape(str(value).replace(HOST, host))}</value></property>\n"
            for key, value in {**values, **sites.get(name.removesuffix("-site"), {})}.items()
        )
        (conf / f"{name}.xml").write_text(f'<?xml version="1.0"?>\n<configuration>\n{items}</configuration>\n')
    (conf / "log4j.properties").write_text(LOG4J)
