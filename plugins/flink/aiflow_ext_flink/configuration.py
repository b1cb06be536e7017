"""The configuration of a cluster that runs one job: Flink's keys, from the job's config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiflow_ext.plugin import BaseJobConfig, ExecutionMode
from aiflow_ext_flink.config import MIB, FlinkKeys


def configuration(
    config: BaseJobConfig, flink_id: str, *, archive: str, savepoints: str, checkpoints: str, restore_from: str | None
) -> dict[str, Any]:
    """Flink's configuration of the cluster of one job, as config.yaml has it. A platform adds addresses and ports.

    Args:
        config: the job's, with FlinkKeys.
        flink_id: the id of the attempt (``ids.flink_id``).
        archive: URL of the folder for the summaries of jobs and application, which outlive the cluster. Its folder
            ``CLUSTER/applications`` is better made before: Flink makes it for two archives at once, and one may fail.
        savepoints: URL of the folder for savepoints, where the config names none.
        checkpoints: URL of the folder for checkpoints, likewise.
        restore_from: the savepoint or checkpoint that this attempt begins with; None for none.
    """
    assert isinstance(config, FlinkKeys)
    stream = config.exec_mode is ExecutionMode.STREAM
    workers = config.taskmanagers
    found: dict[str, Any] = {
        # How fast a cluster of one job is up, and how soon it notices that a process is gone.
        "cluster.registration.error-delay": "300 ms",
        "cluster.registration.initial-timeout": "100 ms",
        "execution.runtime-mode": "STREAMING" if stream else "BATCH",
        "parallelism.default": config.parallelism or workers.count * workers.slots,
        "taskmanager.numberOfTaskSlots": workers.slots,
        "jobmanager.memory.process.size": f"{config.jobmanager.memory // MIB} mb",
        "taskmanager.memory.process.size": f"{workers.memory // MIB} mb",
        **(STREAM if stream else {}),
        **config.flink,
        "execution.checkpointing.dir": config.checkpoints or checkpoints,
        "execution.checkpointing.savepoint-dir": config.savepoints or savepoints,
        "jobmanager.archive.fs.dir": archive,
        "cluster.id": flink_id,
        "$internal.application.id": flink_id,
        "execution.attached": True,
        "execution.shutdown-on-attached-exit": False,
    }
    if stream:  # a batch program may submit several jobs, and each needs an id of its own
        found["$internal.pipeline.job-id"] = flink_id
        # With it Flink refuses a second job. Else it gives that an id of its own, and nobody would save or stop it.
        found["execution.submit-failed-job-on-application-error"] = True
    if restore_from is not None:
        found["execution.state-recovery.path"] = restore_from
        found["execution.state-recovery.ignore-unclaimed-state"] = config.allow_non_restored_state
    return found


# Unless the config says otherwise: a job that does not end can be continued after a failure.
STREAM = {
    "execution.checkpointing.interval": "10 s",
    "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
}


def java_options(heap: int, direct: int, metaspace: int) -> list[str]:
    """The options of one of Flink's JVMs, with these bytes."""
    return [f"-Xmx{heap}", f"-Xms{min(heap, 64 * MIB)}", f"-XX:MaxDirectMemorySize={direct}",
            f"-XX:MaxMetaspaceSize={metaspace}", *JVM]  # fmt: skip


def _opened() -> list[str]:
    base = [f"java.base/{each}=ALL-UNNAMED" for each in _PACKAGES]
    javac = [
        f"jdk.compiler/com.sun.tools.javac.{each}=ALL-UNNAMED" for each in ("api", "file", "parser", "tree", "util")
    ]
    exports = ["java.rmi/sun.rmi.registry=ALL-UNNAMED", "java.security.jgss/sun.security.krb5=ALL-UNNAMED", *javac]
    return [*(f"--add-exports={each}" for each in exports), *(f"--add-opens={each}" for each in base)]


_PACKAGES = (
    "java.lang", "java.net", "java.io", "java.nio", "sun.nio.ch", "java.lang.reflect", "java.text", "java.time",
    "java.util", "java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks",
)  # fmt: skip
# The packages of Java that Flink uses: env.java.opts.all of the config.yaml that Flink comes with.
OPENED = _opened()
# What each of its JVMs gets: that, and the time in which RPC must have started. That is 10 s by default, too short on a
# busy machine, and Flink's key for it (pekko.startup-timeout) has no effect.
JVM = ("-Dpekko.remote.classic.startup-timeout=120s", *OPENED)
QUICK = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")  # for a JVM whose start is most of its work


def stop_mode(config: BaseJobConfig) -> str:
    """What stopping a job does: ``savepoint``, ``drain`` or ``cancel``."""
    assert isinstance(config, FlinkKeys)
    return config.on_stop or ("savepoint" if config.exec_mode is ExecutionMode.STREAM else "cancel")


def has_tls(configuration: Mapping[str, Any]) -> bool:
    """Whether Flink's configuration has the REST API speak TLS."""
    return str(configuration.get("security.ssl.rest.enabled")).lower() == "true"


def jobmanager_sizes(process: int) -> tuple[int, int, int]:
    """Of a JobManager's process: the bytes of its heap, of its direct memory and of its metaspace, for its JVM's
    options, as Flink's own scripts divide it."""
    metaspace, direct = 256 * MIB, 128 * MIB
    return process - metaspace - direct - _overhead(process), direct, metaspace


def taskmanager_sizes(process: int) -> tuple[dict[str, str], tuple[int, int, int]]:
    """Of a TaskManager's process, where no script of Flink's divides its memory: the keys that name each part, and the
    bytes of its JVM's heap, direct memory and metaspace."""
    metaspace, framework, overhead = 256 * MIB, 128 * MIB, _overhead(process)
    flink = process - metaspace - overhead
    network = min(max(flink // 10, 64 * MIB), 1024 * MIB)
    managed = max(flink * 4 // 10 if flink > 1024 * MIB else flink // 6, 32 * MIB)
    heap = flink - network - managed - 2 * framework
    sizes = {
        "taskmanager.memory.framework.heap.size": framework,
        "taskmanager.memory.framework.off-heap.size": framework,
        "taskmanager.memory.task.heap.size": heap,
        "taskmanager.memory.task.off-heap.size": 0,
        "taskmanager.memory.network.min": network,
        "taskmanager.memory.network.max": network,
        "taskmanager.memory.managed.size": managed,
        "taskmanager.memory.jvm-metaspace.size": metaspace,
        "taskmanager.memory.jvm-overhead.min": overhead,
        "taskmanager.memory.jvm-overhead.max": overhead,
    }
    return {key: f"{size} bytes" for key, size in sizes.items()}, (framework + heap, framework + network, metaspace)


def _overhead(process: int) -> int:
    return min(max(process // 10, 192 * MIB), 1024 * MIB)
