"""What a caller of the supervisor gives (a process to start) and gets (what became of it)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from aiflow_ext.supervise.journal import ENDED


@dataclass(frozen=True)
class ProcessSpec:
    """A process to start.

    Args:
        id: its name in the run's folder; a name starts at most one process, ever.
        argv: the command and its arguments; a command without a slash is sought on the ``PATH`` of ``env``.
        env: its environment, over that of ``base``. It travels over a socket and is never written to disk.
        cwd: an existing folder.
        stdout: a file to append to, made with mode 0600 where it does not exist.
        stderr: the same.
        mark: the value of ``AIFLOW_MARK`` in ``env``; whatever still carries it is ended with the process.
        base: the variables that many processes share; the same object for all of them travels once.
    """

    id: str
    argv: list[str]
    env: dict[str, str] = field(repr=False)
    cwd: str
    stdout: str
    stderr: str
    mark: str
    base: Mapping[str, str] = field(default_factory=dict, repr=False)

    def own(self) -> dict[str, Any]:
        """All of it but ``base``."""
        return {name: value for name, value in vars(self).items() if name != "base"}


@dataclass(frozen=True)
class ProcessRecord:
    """What is known of a process.

    Args:
        state: ``starting``, ``running``; then one of ``ended``, ``not_started`` (``error`` says why), ``cancelled``
            (stopped before it was started), ``lost`` (gone, and nobody saw how; ``error`` says why). ``unknown``: only
            from a stop that had to do without a supervisor and found no record.
        pid, start_time, boot_id: these three name the process for good.
        started_at, ended_at: seconds since the epoch.
        exit_code, signal: one of the two after an ``ended``: how the main process itself ended.
        stop_requested: a stop was asked for before the end was known.
        error: why it could not be started, is lost, or could not be ended, in words.
        rusage: ``user`` and ``system`` seconds and ``max_rss_kb`` of the process and the children it waited for;
            the kernel counts the moment before the exec too, so ``max_rss_kb`` is never less than our own 13 MB.
        unsaved: why this is not on disk yet (a full disk); it will be as soon as there is room.
        seq: the number of its last change; unique and growing in a folder.
    """

    id: str
    state: str = "unknown"
    pid: int | None = None
    start_time: int | None = None
    boot_id: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    stop_requested: bool = False
    error: str | None = None
    rusage: dict[str, float] | None = None
    mark: str = ""
    unsaved: str | None = None
    seq: int = 0

    @property
    def ended(self) -> bool:
        """Whether it runs no more, or never will."""
        return self.state in ENDED

    @classmethod
    def of(cls, data: dict[str, Any]) -> ProcessRecord:
        """The record that a journal's merged changes describe; what a newer version added is left out."""
        return cls(**{name: value for name, value in data.items() if name in _FIELDS})


_FIELDS = frozenset(each.name for each in fields(ProcessRecord))
