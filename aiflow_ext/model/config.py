"""Job configs: what every job can say about how it wants to be run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from aiflow_ext.model.jsonable import Jsonable
from aiflow_ext.model.states import ExecutionMode


class PeriodicConfig(Jsonable):
    """When a job fires by itself: a cron expression or an interval, in a time zone. Only data here.

    Args:
        cron: five-field cron expression; exactly one of ``cron`` and ``interval`` is given.
        interval: seconds between two firings.
        time_zone: IANA name in which ``cron`` is read; UTC by default.

    Raises ValueError unless exactly one of cron and interval is given.
    """

    def __init__(self, cron: str | None = None, interval: float | None = None, time_zone: str = "UTC") -> None:
        if (cron is None) == (interval is None):
            raise ValueError("say either cron or interval")
        self.cron, self.interval, self.time_zone = cron, interval, time_zone


class RetryDelay(Jsonable):
    """Waits that grow from one attempt to the next. Only data here.

    Args:
        first: seconds before the second attempt.
        factor: how many times longer each wait is than the one before; at least 1.
        max: seconds that no wait is longer than.
    """

    def __init__(self, first: float, factor: float = 2.0, max: float = 600.0) -> None:
        self.first, self.factor, self.max = first, factor, max


class Grow(Jsonable):
    """How much more an attempt gets after one that ran out of it. Only data here.

    Args:
        memory: how many times the memory of the last attempt; more than 1.
        max: bytes that no attempt gets more than; None for no limit.
    """

    def __init__(self, memory: float, max: int | None = None) -> None:
        self.memory, self.max = memory, max


class Ready(Jsonable):
    """When a STREAM job, which serves others, can be used by them. Only data here.

    Args:
        command: a check that runs where the job runs; the job is ready once it has ended with exit code 0. A string is
            run as the job's ``shell`` says, a list as it is. Exactly one of ``command`` and ``port`` is given.
        port: a TCP port there; the job is ready once it takes connections.
        within: seconds from its start in which the job must be ready, else it has failed.
        every: seconds between two checks.

    Raises ValueError unless exactly one of command and port is given.
    """

    def __init__(
        self,
        command: str | Sequence[str] | None = None,
        port: int | None = None,
        within: float = 300.0,
        every: float = 1.0,
    ) -> None:
        if (command is None) == (port is None):
            raise ValueError("say either command or port")
        self.command = command if command is None or isinstance(command, str) else tuple(command)
        self.port, self.within, self.every = port, within, every

    def __str__(self) -> str:
        if self.port is not None:
            return f"port {self.port}"
        return self.command if isinstance(self.command, str) else " ".join(self.command or ())


class BaseJobConfig(Jsonable):
    """What every job's config has. A plugin's own config type adds its own keys.

    Subclass it as a plain class with an ``__init__`` or as an attrs class. A subclass need not call
    ``super().__init__``: the host sets these attributes on every config it builds.

    Args:
        platform: where the job runs, by the platform's name.
        engine: what kind of job it is, by the engine's name.
        job_name: the job's name [default: the key in workflow.yaml].
        periodic_config: when the job fires by itself; None for a job that runs once a run.
        exec_mode: BATCH (default) or STREAM.
        properties: the team's own parameters; scalars, lists and maps.
        env: environment variables of the job; a value is a string or ``{"secret": REFERENCE}``.
        cpu: cores that the job needs, fractions allowed; None for no demand.
        memory: how much memory it needs, in bytes; None for no demand.
        gpu: how many GPUs it needs; None for no demand.
        retries: how many further attempts a failed job gets; 0 by default.
        retry_delay: seconds before the next attempt, 0 by default; or a RetryDelay, for waits that grow.
        retry_on: which ends are tried again: any of failed, timeout, out_of_memory, lost; all but lost by default.
        grow: how much more memory an attempt gets after one that ran out of it; None for no more.
        timeout: seconds that an attempt may run; None (default) for no limit.
        python: the interpreter that the job's python runs under; None for the platform's default.
        shell: how a command that is a string is run: ``sh`` (by default; ``/bin/sh -c``), ``bash`` (``bash -c``),
            ``strict`` (``bash -euo pipefail -c``; without a bash ``sh -eu -c``), a shell's path, or the words that it
            is put after.
        ready: when a STREAM job can be used by others: jobs that wait for it to run start only then, and it is stopped
            when the last of them has ended; None: as soon as it runs, and it runs until it is stopped.
        keep: whether results that no job reads are kept; True by default. ``failed``: and what a failed attempt ran in,
            on platforms that remove it otherwise.
    """

    renamed: ClassVar[Mapping[str, str]] = {}
    """By former names of keys, their names now: the error for such a key says so."""

    # Class attributes, so that a config whose __init__ does not call super().__init__ has them too.
    platform: str | None = None
    engine: str | None = None
    job_name: str | None = None
    periodic_config: PeriodicConfig | None = None
    exec_mode: ExecutionMode = ExecutionMode.BATCH
    properties: Mapping[str, Any] = {}
    env: Mapping[str, Any] = {}
    cpu: float | None = None
    memory: int | None = None
    gpu: int | None = None
    retries: int = 0
    retry_delay: float | RetryDelay = 0.0
    retry_on: Sequence[str] = ("failed", "timeout", "out_of_memory")
    grow: Grow | None = None
    timeout: float | None = None
    python: str | None = None
    shell: str | Sequence[str] = "sh"
    ready: Ready | None = None
    keep: bool | str = True

    def __init__(
        self,
        platform: str | None = None,
        engine: str | None = None,
        job_name: str | None = None,
        periodic_config: PeriodicConfig | None = None,
        exec_mode: ExecutionMode = ExecutionMode.BATCH,
        properties: Mapping[str, Any] | None = None,
        *,
        env: Mapping[str, Any] | None = None,
        cpu: float | None = None,
        memory: int | None = None,
        gpu: int | None = None,
        retries: int = 0,
        retry_delay: float | RetryDelay = 0.0,
        retry_on: Sequence[str] = ("failed", "timeout", "out_of_memory"),
        grow: Grow | None = None,
        timeout: float | None = None,
        python: str | None = None,
        shell: str | Sequence[str] = "sh",
        ready: Ready | None = None,
        keep: bool | str = True,
    ) -> None:
        self.platform, self.engine, self.job_name = platform, engine, job_name
        self.periodic_config, self.exec_mode = periodic_config, exec_mode
        self.properties, self.env = dict(properties or {}), dict(env or {})
        self.cpu, self.memory, self.gpu = cpu, memory, gpu
        self.retries, self.retry_delay, self.retry_on = retries, retry_delay, tuple(retry_on)
        self.grow, self.timeout, self.python, self.ready, self.keep = grow, timeout, python, ready, keep
        self.shell = shell if isinstance(shell, str) else tuple(shell)


AbstractJobConfig = BaseJobConfig
