"""The keys of a flink job that are the same on every platform."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from aiflow_ext.plugin import Jsonable, parse_memory

Scalar = str | int | float | bool
OnStop = Literal["savepoint", "drain", "cancel"]
MIB = 1024**2
MOST_PARALLEL = 32768  # Flink's own limit: KeyGroupRangeAssignment.UPPER_BOUND_MAX_PARALLELISM
# What a JVM of Flink needs at least with its own default sizes of metaspace, framework and overhead.
LEAST = {"jobmanager": 640 * MIB, "taskmanagers": 896 * MIB}

# Flink's own keys that a key of ours, or the platform, decides; what to write instead.
_OWNED = {
    "parallelism.default": "parallelism",
    "jobmanager.memory.process.size": "jobmanager: {memory: ...}",
    "taskmanager.memory.process.size": "taskmanagers: {memory: ...}",
    "taskmanager.numberOfTaskSlots": "taskmanagers: {slots: ...}",
    "execution.checkpointing.savepoint-dir": "savepoints",
    "state.savepoints.dir": "savepoints",
    "execution.checkpointing.dir": "checkpoints",
    "state.checkpoints.dir": "checkpoints",
    "execution.state-recovery.path": "restore_from",
    "execution.savepoint.path": "restore_from",
    "pipeline.jars": "jars",
    "execution.runtime-mode": "exec_mode",
    "jobmanager.archive.fs.dir": None,
    "jobmanager.rpc.address": None,
    "jobmanager.rpc.port": None,
    "rest.address": None,
    "rest.port": None,
    "cluster.id": None,
}


class JobManager(Jsonable):
    """The JobManager's process.

    Args:
        memory: of the whole process, such as ``1Gi``.
    """

    def __init__(self, memory: str = "1Gi") -> None:
        self.memory = _size("jobmanager", memory)


class TaskManagers(Jsonable):
    """The processes that the job's tasks run in.

    Args:
        count: how many there are.
        slots: how many slots each has: so many tasks of one operator it runs at once.
        memory: of each process, such as ``2Gi``.
    """

    def __init__(self, count: int = 1, slots: int = 1, memory: str = "1Gi") -> None:
        if count < 1 or slots < 1:
            raise ValueError(f"count and slots must be at least 1, not {min(count, slots)}")
        if count * slots > MOST_PARALLEL:
            raise ValueError(f"count times slots must be at most {MOST_PARALLEL}: Flink runs no more tasks at once")
        self.count, self.slots, self.memory = count, slots, _size("taskmanagers", memory)


class FlinkKeys(Jsonable):
    """The keys of a flink job, to be mixed into a platform's config class, before it:
    ``class LocalFlinkJobConfig(FlinkKeys, LocalJobConfig)``.

    Args:
        parallelism: how many tasks of each operator run at once; by default as many as the TaskManagers have slots.
        flink: any keys of Flink's own configuration.
        jobmanager: the memory of the job's own JobManager; or ``host:port``, the REST address of a session cluster to
            submit the job to.
        taskmanagers: how many TaskManagers, their slots and memory.
        savepoints: folder for savepoints, a path or URL that all of the cluster's processes reach; by default one of
            the job's, beside its checkpoints.
        checkpoints: folder for checkpoints; by default the one that all attempts of the job in its run share.
        restore_from: a savepoint or retained checkpoint that the first attempt of a STREAM job begins with.
        allow_non_restored_state: begin although that holds state of operators that the program no longer has.
        on_stop: what stopping the job does: ``savepoint`` (the default of STREAM jobs: take one, then end), ``drain``
            (the same, after all windows and timers have fired), or ``cancel`` (BATCH jobs have no other way).
        jars: further jars for the job: connectors, functions. Paths in the project, or URLs that the cluster reads.

    Attributes:
        session: the address of the session cluster; None where the job gets a cluster of its own.
    """

    def __init__(
        self,
        parallelism: int | None = None,
        flink: Mapping[str, Scalar] | None = None,
        jobmanager: JobManager | str | None = None,
        taskmanagers: TaskManagers | None = None,
        savepoints: str | None = None,
        checkpoints: str | None = None,
        restore_from: str | None = None,
        allow_non_restored_state: bool = False,
        on_stop: OnStop | None = None,
        jars: Sequence[str] = (),
        **others: Any,
    ) -> None:
        super().__init__(**others)
        self.parallelism, self.flink = parallelism, dict(flink or {})
        self.session = jobmanager if isinstance(jobmanager, str) else None
        self.jobmanager = jobmanager if isinstance(jobmanager, JobManager) else JobManager()
        self.taskmanagers = taskmanagers or TaskManagers()
        self.savepoints, self.checkpoints, self.restore_from = savepoints, checkpoints, restore_from
        self.allow_non_restored_state, self.on_stop = allow_non_restored_state, on_stop
        self.jars = list(jars)
        if self.session is not None and taskmanagers is not None:
            raise ValueError("taskmanagers is for a cluster of the job's own: a session cluster has its own ones")
        if problems := [*self._flink_problems()]:
            raise ValueError("; ".join(problems))

    def _flink_problems(self) -> Iterator[str]:
        if self.parallelism is not None and self.parallelism < 1:
            yield f"parallelism must be at least 1, not {self.parallelism}"
        if self.parallelism is not None and self.parallelism > MOST_PARALLEL:
            yield f"parallelism must be at most {MOST_PARALLEL}"
        for key in self.flink:
            if key in _OWNED:
                instead = _OWNED[key]
                yield f"flink: {key!r} is " + (f"given by the key {instead}" if instead else "the platform's to give")
            elif key.startswith("$"):
                yield f"flink: {key!r} is an internal key of Flink's"
            elif any(char.isspace() for char in key) or not key:
                yield f"flink: {key!r} is no key"
        if self.session is not None and self.session.startswith("https:"):
            yield (
                f"jobmanager: {self.session}: jobs are submitted to session clusters without TLS alone; name host:port "
                "of a REST API that speaks plain HTTP, such as a proxy before the cluster, or take jobmanager out, so "
                "that the job gets a cluster of its own"
            )
        elif self.session is not None and not _is_address(self.session):
            yield (
                "jobmanager must be host:port of a session cluster's REST address, such as flink:8081, or "
                f"{{memory: ...}}, not {self.session!r}"
            )


def _is_address(text: str) -> bool:
    match = re.fullmatch(r"(?:[^\s/:@?#]+|\[[0-9a-fA-F:]+\]):(\d{1,5})", text)
    return match is not None and 0 < int(match[1]) < 65536


def _size(of: str, memory: str) -> int:
    """Bytes of a process."""
    try:
        size = parse_memory(memory)
    except ValueError as error:
        raise ValueError(f"memory of {of} {error}") from error
    if size < LEAST[of]:
        raise ValueError(
            f"memory of {of} must be at least {LEAST[of] // MIB}Mi, not {memory}: Flink's own parts need it"
        )
    return size
